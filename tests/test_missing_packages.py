"""Without the packages of sinks, pictures and extras, tests collect, runs train, commands say what is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY
from tests.optional_packages import OPTIONAL

ROOT = Path(__file__).parents[1]
# Tests that need such a package for their module, for a fixture or in their body, and their neighbours that do not.
CHOSEN = "test_factorial or test_account or test_sink or test_predictions or test_views or damaged_parquet_file"
Answers = dict[str, tuple[Any, str]]
INSTALL = "not installed here: pip install -c constraints.txt -e"

# Trains a run, then gives commands in the same process, which spares imports; prints what each returned and said.
COMMANDS = """
import contextlib, io, json, sys
from pathlib import Path
from hydra import compose, initialize_config_dir
from wrnexp import app
from wrnexp.cli import main

conf, overrides, commands = json.loads(sys.argv[1])
answers = []
with contextlib.redirect_stderr(io.StringIO()) as errors, initialize_config_dir(conf, version_base="1.3"):
    record = app.run(compose("config", overrides=overrides), Path("run"))
answers.append((record.status, errors.getvalue()))
for command in commands:
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()):
        code = main(command)
    answers.append((code, errors.getvalue()))
print(json.dumps(answers))
"""


def without_packages(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python command as if the optional packages were not installed."""
    path = os.pathsep.join([str(ROOT / "tests" / "without_packages"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "WITHOUT_PACKAGES": ",".join(OPTIONAL)}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def test_the_packages_are_hidden(tmp_path: Path) -> None:
    code = (
        "import importlib.util, subprocess, sys\n"
        f"assert not [name for name in {OPTIONAL} if importlib.util.find_spec(name)]\n"
        "try: import wandb.sdk\n"
        "except ModuleNotFoundError as error: sys.exit(error.name != 'wandb')\n"
        "sys.exit(1)"
    )
    assert without_packages(tmp_path, "-c", code).returncode == 0


def test_the_suite_collects_and_skips_with_a_reason() -> None:
    done = without_packages(ROOT, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-k", CHOSEN)
    assert done.returncode == 0, done.stdout
    for reason in (
        "tests/report/test_factorial.py: needs statsmodels, not installed here",
        "needs vl_convert, not installed here",
        "needs optuna, not installed here",
        "No module named 'wandb'",
        "No module named 'pyarrow'",
        "a W&B workspace or report needs wandb_workspaces, not installed here",
    ):
        assert reason in done.stdout


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Return what a tiny run with default tracking and each command returned and said on stderr."""
    folder = tmp_path_factory.mktemp("without")
    commands = {
        "report": ["report", "run"],
        "doctor": ["doctor"],
        "publish": ["publish", "run"],
        "onnx": ["export", "run", "--format", "onnx"],
    }
    overrides = [one for one in TINY if not one.startswith("tracking.wandb")]
    given = json.dumps([str(ROOT / "conf"), overrides, list(commands.values())])
    done = without_packages(folder, "-c", COMMANDS, given)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "report" / "report.md").exists()
    assert not (folder / "run" / "report" / "index.html").exists()
    return dict(zip(["run", *commands], json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize(
    ("name", "returned", "line"),
    [
        ("run", "completed", f"W&B: logging the run needs wandb, {INSTALL} .; the record is not affected"),
        ("report", 0, f"left out: the report's page index.html needs vl_convert, {INSTALL} ."),
        ("doctor", 0, ""),
        ("publish", 2, f"error: wrnexp publish needs wandb, {INSTALL} ."),
        ("onnx", 2, f"error: ONNX needs onnx, onnxscript, onnxruntime, {INSTALL} '.[onnx]'"),
    ],
)
def test_one_line_says_what_to_install(answers: Answers, name: str, returned: Any, line: str) -> None:
    result, errors = answers[name]
    assert result == returned, errors
    assert errors.startswith(line)
    assert len(errors.splitlines()) == (1 if line else 0)
