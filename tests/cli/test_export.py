"""`wrnexp export`: files that others read, and what is refused. The formats themselves: tests/engine/test_export.py."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from wrnexp import cli
from wrnexp.runs.record import read_record
from wrnexp.trained import formats

ELSEWHERE = """
import json, sys, torch
extra = {"wrnexp.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
with torch.no_grad():
    logits = program(torch.full((3, 3, 32, 32), 0.25))
print(json.dumps([logits.tolist(), json.loads(extra["wrnexp.json"])["classes"], "wrnexp" in sys.modules]))
"""


def call(*arguments: str | Path) -> int:
    return cli.main(["export", *map(str, arguments)])


def test_weights_for_the_class(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(copied_run, "--format", "safetensors") == 0
    file = copied_run / "exported.safetensors"
    assert "The largest difference of a logit from the network's, on 64 drawn images, is 0 (allowed: 0)." in (
        capsys.readouterr().out
    )
    own, kept = load_file(copied_run / "model.safetensors"), load_file(file)
    assert own.keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in own.items())
    record = read_record(copied_run)
    assert record.data is not None
    assert record.data.signature is not None
    with safe_open(file, "pt") as opened:
        texts = opened.metadata()
    assert json.loads(texts["config"]) == record.config
    assert json.loads(texts["classes"]) == record.data.signature.classes
    assert json.loads(texts["mean"]) == list(record.data.signature.mean)
    assert (texts["run_id"], texts["label"]) == (record.run_id, "base")


def test_a_program_runs_where_this_package_is_not(trained_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.pt2"
    assert call(trained_run, "--format", "pt2", "--out", file, "--batch", "3") == 0
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", ELSEWHERE, str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    logits, classes, seen = json.loads(done.stdout.splitlines()[-1])
    assert not seen
    assert len(json.loads(classes)) == 24
    assert np.shape(logits) == (3, 24)


def test_a_bad_file_is_not_kept(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(formats.SafeTensors, "tolerance", -1.0)
    file = tmp_path / "net.safetensors"
    assert call(trained_run, "--format", "safetensors", "--out", file) == 1
    assert not list(tmp_path.iterdir())
    error = capsys.readouterr().err
    assert error.startswith("error: the file answers otherwise than the network")
    assert error.count("\n") == 1


def test_without_onnx(trained_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(formats, "ONNX_PACKAGES", ("onnxnowhere",))
    assert call(trained_run, "--format", "onnx") == 2
    assert "pip install -c constraints.txt -e '.[onnx]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("net.pt", r"the name of a file in this format ends in .safetensors"),
        ("{run}/model.safetensors", "is the run's own file of weights"),
        ("{run}/checkpoints.safetensors", "is a folder"),
    ],
)
def test_places_that_are_refused(copied_run: Path, out: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    (copied_run / "checkpoints.safetensors").mkdir()
    assert call(copied_run, "--format", "safetensors", "--out", out.format(run=copied_run)) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("batch", ["0", "-1", "two"])
def test_impossible_batches(trained_run: Path, batch: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        call(trained_run, "--format", "pt2", f"--batch={batch}")
    assert stop.value.code == 2
    assert "neither a number of images from 1 nor dynamic" in capsys.readouterr().err
