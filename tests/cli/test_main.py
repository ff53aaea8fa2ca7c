"""`wrnexp`: exit codes, help, what is imported; doctor and bench."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wrnexp import __version__, cli
from wrnexp.cli.bench import alternate

COMMANDS = ["report", "compare", "ablate", "evaluate", "predict", "export", "data", "bench", "doctor"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"wrnexp {command}" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "nowhere" in error
    assert error.count("\n") == 1


def test_an_unknown_command_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["reprot"])
    assert stop.value.code == 2


def test_modules_in_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("argparse", "json", "numpy", "rich"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    command = [sys.executable, "-m", "wrnexp", "--version"]
    path = {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__
    assert not (tmp_path / "canary").exists()


def test_help_imports_neither_torch_nor_wandb() -> None:
    code = "import sys; from wrnexp.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'wandb', 'scipy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.splitlines()[-1] == "[]"


def test_doctor_says_what_a_run_would_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for words in (
        "Python",
        "torch",
        "device",
        "CUDA graphs",
        "compiled kernels",
        "matrix peak",
        "cores",
        "W&B",
        "disk",
    ):
        assert words in text


def test_sides_alternate_and_the_ratio_is_of_pairs() -> None:
    order: list[str] = []
    values = iter([10.0, 5.0, 40.0, 10.0, 30.0, 10.0])

    def side(name: str) -> float:
        order.append(name)
        return next(values)

    assert alternate(lambda: side("a"), lambda: side("b"), 3) == (30.0, 10.0, 3.0)
    assert order == ["a", "b"] * 3
