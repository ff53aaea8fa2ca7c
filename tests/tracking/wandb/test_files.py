"""W&B's local files, in a folder that someone else may have made."""

from collections.abc import Callable
from pathlib import Path

import pytest

from wrnexp.tracking.wandb.files import _folders, fragments, wandb_command

CODE = "from pathlib import Path\n\nPath({canary!r}).touch()\n"
ADDRESS = "http://evil.example"


@pytest.mark.parametrize(
    "command", [lambda wandb: fragments(wandb, "abc"), lambda wandb: wandb_command(["status"], 60).stdout]
)
def test_a_command_of_wandb_takes_nothing_from_the_folder_and_writes_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Path], object]
) -> None:
    wandb, canary = tmp_path / "outputs" / "wandb", tmp_path / "canary"
    (wandb / "offline-run-20260101_000000-abc").mkdir(parents=True)
    (wandb / "settings").write_text(f"[default]\nbase_url = {ADDRESS}\n")
    for module_path in (wandb / "__init__.py", wandb / "__main__.py", wandb.parent / "click.py"):
        module_path.write_text(CODE.format(canary=str(canary)))
    monkeypatch.chdir(wandb.parent)
    before = sorted(tmp_path.rglob("*"))
    output = command(wandb)
    assert sorted(tmp_path.rglob("*")) == before
    assert output == [] or ("base_url" in str(output) and ADDRESS not in str(output))


def test_an_id_is_not_a_glob_pattern(tmp_path: Path) -> None:
    wandb = tmp_path / "wandb"
    (wandb / "offline-run-20260101_000000-abc").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    assert [path.name for path in _folders(wandb, "abc")] == ["offline-run-20260101_000000-abc"]
    for identity in ("*", "a*", "**", "abc/../../elsewhere", "../../elsewhere", "[a]bc"):
        assert _folders(wandb, identity) == []
