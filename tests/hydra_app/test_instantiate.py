"""A `_target_` that cannot be made ends with one line: what is wrong, where, and what would be right."""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from wrnexp.errors import TrainingError, UserError, causes
from wrnexp.hydra_app.instantiate import make

OWN = """
from torch import nn

from wrnexp.errors import TrainingError, UserError

NUMBER = 3


class Net(nn.Module):
    def __init__(self, num_classes, inner=None):
        super().__init__()
        self.inner = inner


def raises(**settings):
    raise RuntimeError("boom\\nand more")


def refuses(**settings):
    raise UserError("refused in its own words")


def diverges(**settings):
    raise TrainingError("of no use")
"""
NET = {"_target_": "own_targets.Net", "_partial_": True}


@pytest.fixture(autouse=True)
def _own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_targets.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("raise RuntimeError('at import')")
    (tmp_path / "own_needs.py").write_text("import nowhere")
    monkeypatch.syspath_prepend(str(tmp_path))
    with monkeypatch.context() as patch:
        for name in ("own_targets", "own_broken", "own_needs"):
            patch.delitem(sys.modules, name, raising=False)
        yield


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"_target_": "nowhere.Nope"},
            r"model\._target_=nowhere\.Nope cannot be imported \(.*No module named 'nowhere'\)",
        ),
        (
            NET | {"_target_": "own_targets.Net.Nope"},
            r"cannot be imported \(AttributeError: .* has no attribute 'Nope'\)",
        ),
        (NET | {"_target_": "own_targets.Nett"}, r"model\._target_=own_targets\.Nett cannot be imported"),
        (NET | {"_target_": "own_broken.Net"}, r"cannot be imported \(RuntimeError: at import\)"),
        (NET | {"_target_": "own_needs.Net"}, r"cannot be imported \(ModuleNotFoundError: No module named 'nowhere'\)"),
        (NET | {"_target_": ".Net"}, r"model\._target_=\.Net cannot be imported"),
        (NET | {"_target_": "own_targets.NUMBER"}, r"model\._target_=own_targets\.NUMBER is not allowed .*'3'"),
        (NET | {"_target_": "os.system"}, r"model\._target_=os\.system is not allowed"),
        (NET | {"inner": {"_target_": "nowhere.Deep"}}, r"model\.inner\._target_=nowhere\.Deep cannot be imported"),
        (
            NET | {"inner": {"a": [{}, {"_target_": "nowhere.Deep"}]}},
            r"model\.inner\.a\[1\]\._target_=nowhere\.Deep cannot",
        ),
        (
            NET | {"inner": [{"_target_": "own_targets.raises"}]},
            r"model\.inner\[0\]: own_targets\.raises cannot be made: Runt",
        ),
        (
            {"_target_": "own_targets.raises", "_partial_": True},
            r"model: own_targets\.raises cannot be made: .*boom and more",
        ),
        (NET | {"droput": 1}, r"model: own_targets\.Net cannot be made: TypeError: .*'droput'"),
        ({"_target_": "own_targets.Net"}, r"cannot be made: TypeError: .*num_classes.*`_partial_: true` is missing"),
        (
            {"_target_": "builtins.dict", "_partial_": True},
            r"builtins\.dict returns a dict, which has no forward, parameters",
        ),
    ],
)
@pytest.mark.parametrize("form", [dict, OmegaConf.create], ids=["plain", "omegaconf"])
def test_one_line_says_what_is_wrong_and_where(form: Any, node: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        make(form(node), "model", num_classes=2)
    assert "\n" not in str(raised.value)
    assert len(list(causes(raised.value))) < 10  # no circle


@pytest.mark.parametrize(("name", "kind"), [("refuses", UserError), ("diverges", TrainingError)])
@pytest.mark.parametrize("called", [True, False], ids=["partial", "at once"])
def test_errors_with_a_message_of_their_own_keep_it(name: str, kind: type[Exception], called: bool) -> None:
    node = {"_target_": f"own_targets.{name}", "_partial_": called}
    keywords = {"num_classes": 2} if called else {}
    with pytest.raises(kind, match=r"^(refused in its own words|of no use)$") as raised:
        make(node, "augment", **keywords)
    assert all(error.__context__ is not raised.value for error in causes(raised.value))


def test_a_defect_of_wrnexp_s_own_is_not_called_the_user_s_mistake() -> None:
    with pytest.raises(TypeError, match="cardinality"):
        make({"_target_": "wrnexp.models.WideResNet", "cardinality": 3}, "model")
    inner = {"_target_": "nowhere.Schedule"}
    with pytest.raises(UserError, match=r"optim\.schedule\._target_=nowhere\.Schedule cannot be imported"):
        make({"_target_": "wrnexp.optim.SGDRecipe", "schedule": inner}, "optim")


def test_what_is_right_is_made_with_plain_values() -> None:
    config = OmegaConf.create({"net": NET | {"inner": {"sizes": ["${width}"]}}, "width": 4})
    assert isinstance(make(config.net, "net"), partial)
    net: Any = make(config.net, "model", num_classes=2)
    assert net.inner == {"sizes": [4]}
    assert type(net.inner) is dict
