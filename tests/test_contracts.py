"""The import contracts hold, and break when an import is added the wrong way round."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("importlinter") is None, reason="import-linter is of the development group"
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "wrnexp", tmp_path / "wrnexp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold(copied: Path) -> None:
    done = lint(copied)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("report/build.py", "import torch"),
        ("engine/step.py", "from wrnexp.optim import SGDRecipe"),
        ("engine/step.py", "import hydra"),
        ("models/cost.py", "import wandb"),
        ("report/build.py", "import wandb_workspaces"),
        ("wandb_publish/views.py", "import torch"),
        ("report/build.py", "import wrnexp.wandb_publish"),
        ("report/build.py", "import optuna"),
        ("runs/record.py", "from wrnexp.report import build"),
        ("data/splits.py", "import wrnexp.app"),
        ("sweeps/grid.py", "import wrnexp.engine"),
        ("config/keys.py", "def keys() -> None:\n    import wrnexp.runs.record"),
    ],
)
def test_an_import_the_wrong_way_round_breaks_a_contract(copied: Path, module: str, line: str) -> None:
    path = copied / "wrnexp" / module
    path.write_text(path.read_text() + f"\n{line}\n")
    done = lint(copied)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout


def test_a_module_that_no_layer_names_breaks_a_contract(copied: Path) -> None:
    (copied / "wrnexp" / "utils.py").write_text("")
    done = lint(copied)
    assert done.returncode == 1
    assert "utils" in done.stdout
