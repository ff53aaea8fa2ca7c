"""A run folder from someone else runs no code, whichever command opens it; own classes are allowed by name."""

import copy
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from wrnexp import app, cli
from wrnexp.errors import UserError
from wrnexp.trained import dataset, network, open_run, opening
from wrnexp.trained.allowed_targets import check_targets

Edit = Callable[[dict[str, Any]], object]

COMMANDS = {
    "predict": lambda folder: ["predict", folder, folder.parent / "image.png", "--device", "cpu"],
    "evaluate": lambda folder: ["evaluate", folder, "--device", "cpu"],
    "export": lambda folder: ["export", folder, "--format", "safetensors"],
}
MODULE = """
from pathlib import Path

from torch import nn

from wrnexp.data import load

CANARY = Path(__file__).with_name("canary")
CANARY.touch()


class Net(nn.Module):
    def __init__(self, hidden, num_classes, inner=None):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3072, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))

    def forward(self, images):
        return self.layers(images)
"""

# What a `_target_` may do: {canary} is the file that must not appear, {file} one that must not change.
CALLS: dict[str, dict[str, Any]] = {
    "numpy.load": {"file": "{pickle}", "allow_pickle": True},
    "torch.load": {"f": "{pickle}", "weights_only": False},
    "pathlib.Path.write_text": {"self": {"_target_": "pathlib.Path", "_args_": ["{canary}"]}, "data": "x"},
    "pathlib.Path.unlink": {"self": {"_target_": "pathlib.Path", "_args_": ["{file}"]}},
    "urllib.request.urlretrieve": {"url": "file://{file}", "filename": "{canary}"},
    "numpy.savetxt": {"fname": "{canary}", "X": [1.0]},
    "wrnexp.runs.record.write_atomic": {"path": {"_target_": "pathlib.Path", "_args_": ["{canary}"]}, "data": "x"},
    "wrnexp.runs.record.write_json": {"path": {"_target_": "pathlib.Path", "_args_": ["{canary}"]}, "value": 1},
    "torch.utils.cpp_extension.load_inline": {"name": "x", "cpp_sources": "#include <none>"},
    "os.system": {"command": "touch {canary}"},
    "builtins.open": {"file": "{canary}", "mode": "w"},
    "planted.Net": {"hidden": 4},
    "planted.nowhere.Net": {},
}
# Paths that begin as a class of torch.nn or wrnexp.models does and lead elsewhere, or to what is no layer.
BESIDE = [
    "torch.nn.functional.torch.load", "torch.nn.modules.module.warnings.warn",
    "torch.nn.modules.container.operator.call",
    "wrnexp.models.wide_resnet.torch.hub.load", "wrnexp.models.wide_resnet.nn.Linear", "torch.nn.functional.relu",
    "torch.nn.init.normal_", "torch.nn.Parameter", "torch.nn.utils.parametrize.ParametrizationList",
    "torch.nn.parallel.DistributedDataParallel", "torch.nn.DataParallel", "torch.nn.Linear.forward", "torch.nn.nowhere",
    "torch.nn.Module.__init__.__globals__", "torch.nn", "torch.nn.", "wrnexp.models.multiply_adds", "wrnexp.models",
    "torch.nnevil.Linear", "wrnexp.models_evil.Net", "torch.nn.modules.planted.Net", "wrnexp.models.planted.Net",
    "torch.nn.quantized.Linear", " torch.nn.Linear", "torch.nn.Linear ", "torch.nn..Linear", "", "Linear",
    "wrnexp.data.load", "wrnexp.trained.allowed_targets.nn.Linear",
]  # fmt: skip


@pytest.fixture
def planted(copied_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run folder; beside it an image, a pickle that runs code, and a module on Python's path that runs code."""
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "image.png")
    (tmp_path / "planted.py").write_text(MODULE)
    (tmp_path / "evil.pkl").write_bytes(f"cposix\nsystem\n(S'touch {tmp_path}/canary'\ntR.".encode())
    (tmp_path / "file").write_text("precious")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield copied_run
    sys.modules.pop("planted", None)


def filled(value: Any, folder: Path) -> Any:
    text = json.dumps(value)
    for name, path in (("canary", "canary"), ("pickle", "evil.pkl"), ("file", "file")):
        text = text.replace(f"{{{name}}}", str(folder / path))
    return json.loads(text)


def change(folder: Path, edit: Edit) -> None:
    raw = json.loads((folder / "record.json").read_text())
    edit(raw["config"])
    (folder / "record.json").write_text(json.dumps(raw))


def call(command: str, folder: Path, *more: str) -> int:
    return cli.main([*map(str, COMMANDS[command](folder)), *more])


def nothing_ran(folder: Path) -> bool:
    top = folder.parent
    exported = [*folder.glob("exported.*"), *folder.glob("evaluations.json")]
    return not (top / "canary").exists() and (top / "file").read_text() == "precious" and not exported


PLACES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "the model": lambda config, node: config.update(model=node),
    "the model, partial": lambda config, node: config.update(model=node | {"_partial_": True}),
    "the data": lambda config, node: config.update(data=node),
    "an argument of the model": lambda config, node: config["model"].update(dropout=node),
    "an argument of the data": lambda config, node: config["data"].update(root=node),
    "a list": lambda config, node: config["model"].update(dropout=[0.1, {"deep": [node]}]),
    "positional arguments": lambda config, node: config["model"].update(_args_=[node]),
    "a node that is not recursive": lambda config, node: config["model"].update(_recursive_=False, dropout=node),
}


@pytest.mark.parametrize("target", CALLS)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_a_record_names_is_called(
    planted: Path, target: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    node = filled({"_target_": target} | CALLS[target], planted.parent)
    change(planted, lambda config: PLACES[place](config, node))
    for command in COMMANDS:
        assert call(command, planted) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        group = "data" if "data" in place else "model"
        assert error.startswith(f"error: {group}")
        assert f"_target_={target} is not made from a record" in error
        assert f"allow it with --allow-target {target}; nothing was run" in error
        assert nothing_ran(planted)
        assert "planted" not in sys.modules


@pytest.mark.parametrize("target", BESIDE)
def test_a_path_that_begins_like_a_layer_s_is_none(planted: Path, target: str) -> None:
    change(planted, lambda config: config["model"].update(_target_=target))
    with pytest.raises(UserError, match=r"model\._target_=.* is not made from a record"):
        open_run(planted)
    assert nothing_ran(planted)


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "a ${seed} b", "${oc.create:{_target_:os.getcwd}}", "${"])
@pytest.mark.parametrize("group", ["model", "data"])
def test_interpolations_are_not_resolved(planted: Path, text: str, group: str) -> None:
    for place in ({"dropout": text}, {"dropout": [{"x": text}]}, {text: 1}, {"_target_": text}):
        before = (planted / "record.json").read_text()
        change(planted, lambda config, place=place: config[group].update(place))  # type: ignore[misc]
        with pytest.raises(UserError, match=rf"^{group}\..* (holds an interpolation|is not made from a record)"):
            open_run(planted)
        (planted / "record.json").write_text(before)


@pytest.mark.parametrize(
    "place",
    [
        {"_target_": 3}, {"_target_": None}, {"_target_": ["torch.nn.Linear"]}, {"_args_": "text"}, {"_args_": {}},
        {"_partial_": "yes"}, {"_partial_": None}, {"_recursive_": 0}, {"_convert_": "anything"}, {"_call_": True},
        {"dropout": {"_target_": {}}}, {"dropout": [{"_mode_": 1}]},
    ],
)  # fmt: skip
def test_odd_values_of_hydra_s_keys_are_refused(planted: Path, place: dict[str, Any]) -> None:
    change(planted, lambda config: config["model"].update(place))
    with pytest.raises(UserError, match=r"^model\..*_\w+_=.* of the run's record is not what Hydra writes there"):
        open_run(planted)


def test_a_group_without_a_target_is_refused(planted: Path) -> None:
    change(planted, lambda config: config["model"].pop("_target_"))
    with pytest.raises(UserError, match=r"its config has no model\._target_"):
        open_run(planted)


def test_other_groups_are_never_made(planted: Path) -> None:
    node = {"_target_": "planted.Net", "x": "${oc.env:HOME}"}
    for group in ("optim", "loader", "augment", "tracking", "something"):
        change(planted, lambda config, group=group: config.update({group: node}))  # type: ignore[misc]
    change(planted, lambda config: config["trainer"].update(node))
    for command in COMMANDS:
        assert call(command, planted) == 0
    assert "planted" not in sys.modules


def test_the_parts_refuse_by_themselves(planted: Path) -> None:
    run = open_run(planted)
    for group in ("model", "data"):
        run.record.config[group] = {"_target_": "planted.Net", "_partial_": True}
    with pytest.raises(UserError, match=r"model\._target_=planted\.Net"):
        network(run.record, run.signature)
    with pytest.raises(UserError, match=r"data\._target_=planted\.Net"):
        dataset(run.record)
    assert "planted" not in sys.modules


@pytest.mark.parametrize("target", ["x; rm -rf ~" + "x" * 10_000, "t\u03bfrch.nn.Linear"])  # a Greek o
def test_a_target_that_is_no_path_is_not_offered_to_be_allowed(planted: Path, target: str) -> None:
    change(planted, lambda config: config["model"].update(_target_=target))
    with pytest.raises(UserError, match="nothing was run") as raised:
        open_run(planted)
    assert "--allow-target" not in str(raised.value)
    assert len(str(raised.value)) < 500


def test_layers_of_torch_and_our_own_classes_are_made() -> None:
    good: dict[str, Any] = {
        "_target_": "torch.nn.Sequential",
        "_args_": [
            {"_target_": "torch.nn.modules.linear.Linear", "in_features": 3, "out_features": 2},
            {"_target_": "wrnexp.models.dropout.Dropout", "_partial_": False},
        ],
        "x": {"_target_": "wrnexp.models.wide_resnet.WideResNet", "_convert_": "all", "_recursive_": True},
    }
    before = copy.deepcopy(good)
    check_targets(good, "model")
    assert good == before
    check_targets({"_target_": "wrnexp.data.load", "name": "shapes"}, "data")


def test_every_public_layer_is_made_and_nothing_else_of_torch_nn_is() -> None:
    """Compared with torch's own list of what `torch.nn` offers."""
    layers = {name for name in torch.nn.modules.__all__ if issubclass(getattr(torch.nn, name), torch.nn.Module)}
    for name in layers:
        check_targets({"_target_": f"torch.nn.{name}"}, "model")
    for name in sorted(set(vars(torch.nn)) - layers):
        with pytest.raises(UserError):
            check_targets({"_target_": f"torch.nn.{name}"}, "model")


def test_a_network_of_the_users_own_is_allowed_by_its_name(
    tiny: Callable[..., DictConfig], planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = tiny("optim.epochs=1", "optim.schedule.warmup_epochs=0")
    cfg.model = OmegaConf.create({"_target_": "planted.Net", "_partial_": True, "hidden": 4})
    folder = planted.parent / "own"
    app.run(cfg, folder)
    (planted.parent / "canary").unlink()
    del sys.modules["planted"]
    capsys.readouterr()
    for command in COMMANDS:
        assert call(command, folder) == 2
        assert "model._target_=planted.Net is not made from a record" in capsys.readouterr().err
        assert call(command, folder, "--allow-target", "planted") == 2
        assert call(command, folder, "--allow-target", "planted.Ne") == 2
    assert nothing_ran(planted)
    capsys.readouterr()
    for command in COMMANDS:
        assert call(command, folder, "--allow-target", "other.Net", "--allow-target", "planted.Net") == 0
    assert type(open_run(folder, allow=["planted.Net"]).model).__module__ == "planted"
    # What is allowed as the model allows nothing within it.
    change(folder, lambda config: config["model"].update(inner={"_target_": "os.getcwd"}))
    with pytest.raises(UserError, match=r"model\.inner\._target_=os\.getcwd is not made"):
        open_run(folder, allow=["planted.Net"])


def test_the_data_of_the_users_own_are_allowed_by_their_name(planted: Path) -> None:
    change(planted, lambda config: config["data"].update(_target_="planted.load"))
    assert call("evaluate", planted) == 2
    assert "planted" not in sys.modules
    assert call("evaluate", planted, "--allow-target", "planted.load") == 0
    assert opening.dataset(open_run(planted, allow=("planted.load",)).record, None, ("planted.load",)).name == "shapes"
