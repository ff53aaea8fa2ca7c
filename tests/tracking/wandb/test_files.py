"""What W&B keeps of a run on this machine, in a folder that someone else may have made."""

from pathlib import Path

import pytest

from wrnexp.publishing.runs import _sync
from wrnexp.tracking.wandb.files import _folders, fragments

CODE = "from pathlib import Path\n\nPath({canary!r}).touch()\n"


@pytest.mark.parametrize(
    "reader", [lambda wandb: fragments(wandb, "abc"), lambda wandb: _sync(["--help"], wandb.parent, 60)]
)
def test_a_module_in_the_folder_is_not_imported(tmp_path: Path, reader: object) -> None:
    wandb, canary = tmp_path / "outputs" / "wandb", tmp_path / "canary"
    (wandb / "offline-run-20260101_000000-abc").mkdir(parents=True)
    for place in (wandb / "__init__.py", wandb / "__main__.py", wandb.parent / "click.py"):
        place.write_text(CODE.format(canary=str(canary)))
    assert callable(reader)
    reader(wandb)
    assert not canary.exists()


def test_an_id_is_no_pattern(tmp_path: Path) -> None:
    wandb = tmp_path / "wandb"
    (wandb / "offline-run-20260101_000000-abc").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    assert [path.name for path in _folders(wandb, "abc")] == ["offline-run-20260101_000000-abc"]
    for identity in ("*", "a*", "**", "abc/../../elsewhere", "../../elsewhere", "[a]bc"):
        assert _folders(wandb, identity) == []
