"""`wrnexp predict`, against Pillow, numpy and the weights."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from safetensors.torch import load_file
from scipy.special import softmax

from wrnexp import cli
from wrnexp.data import load
from wrnexp.data.sources.shapes import draw
from wrnexp.models import WideResNet
from wrnexp.runs.media import read_mistakes

DATA = load("shapes", None, 0, None, None, False)


def call(*arguments: str | Path) -> int:
    return cli.main(["predict", *map(str, arguments), "--device", "cpu"])


@torch.no_grad()
def by_hand(folder: Path, image: Image.Image) -> list[tuple[str, float]]:
    model = WideResNet(10, 1, 0.3, 0.0, num_classes=24).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    normal = (np.asarray(image) / 255 - DATA.mean) / DATA.std
    logits = model.double()(torch.from_numpy(normal.transpose(2, 0, 1)[None].copy()))[0]
    likely = softmax(logits.numpy())
    return [(DATA.classes[label], float(likely[label])) for label in np.argsort(-likely)[:5]]


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Image.Image]:
    """Files of many forms, each with the 32x32 RGB image that the network shall see."""
    drawn = [Image.fromarray(image) for image in draw("test", 240).images[:4]]
    grey, alpha = drawn[1].convert("L"), drawn[2].convert("RGBA")
    alpha.putalpha(grey)
    drawn[3].resize((50, 40)).save(tmp_path / "large.jpg")
    large = Image.open(tmp_path / "large.jpg").convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    drawn[0].save(tmp_path / "plain.png")
    grey.save(tmp_path / "grey.png")
    alpha.save(tmp_path / "alpha.png")
    return {
        str(tmp_path / "plain.png"): drawn[0],
        str(tmp_path / "grey.png"): grey.convert("RGB"),
        str(tmp_path / "alpha.png"): drawn[2],
        str(tmp_path / "large.jpg"): large,
    }


def test_classes_and_probabilities(
    trained_run: Path, pictures: dict[str, Image.Image], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(trained_run, *pictures, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["image"] for one in found] == list(pictures)
    assert [(one["width"], one["height"]) for one in found] == [(32, 32)] * 3 + [(50, 40)]
    for one, image in zip(found, pictures.values(), strict=True):
        expected = by_hand(trained_run, image)
        assert [entry["class"] for entry in one["classes"]] == [name for name, _ in expected]
        likely = [entry["probability"] for entry in one["classes"]]
        assert likely == pytest.approx([value for _, value in expected], rel=1e-4)


def test_what_is_printed(
    trained_run: Path, pictures: dict[str, Image.Image], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(trained_run, *pictures) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * 6
    plain, *_, large = lines[::6]
    assert plain.endswith("plain.png")
    assert large.endswith("large.jpg (resized from 50x40 to 32x32)")
    name, value = by_hand(trained_run, next(iter(pictures.values())))[0]
    assert lines[1].split() == [name, f"{100 * value:.2f}%"]


def test_files_that_are_no_images_do_not_stop_the_others(
    trained_run: Path, pictures: dict[str, Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("no image")
    plain = next(iter(pictures))
    assert call(trained_run, tmp_path / "text.png", plain, tmp_path / "nowhere.png") == 2
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == plain
    text, nowhere = shown.err.splitlines()
    assert text.startswith(f"error: {tmp_path}/text.png cannot be read as an image (")
    assert nowhere.startswith(f"error: {tmp_path}/nowhere.png cannot be read as an image (")
    assert call(trained_run, tmp_path / "text.png") == 2
    assert capsys.readouterr().out == ""


def test_no_program_is_run_for_an_image(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PostScript is a program, whatever the file is called; Pillow hands it to Ghostscript."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/canary\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    Image.new("RGB", (32, 32)).save(tmp_path / "x.png", "EPS")
    assert call(trained_run, tmp_path / "x.png") == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {tmp_path}/x.png cannot be read as an image (it is PostScript")
    assert shown.count("\n") == 1
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "mistakes.json").write_text('{"tile": 4, "columns": 8, "mistakes": [{}]}')
    Image.new("RGB", (32, 4)).save(tmp_path / "media" / "mistakes.png", "EPS")
    with pytest.raises(ValueError, match="is not a picture"):
        read_mistakes(tmp_path)
    assert not (tmp_path / "canary").exists()


def test_neither_data_set_nor_cache_is_needed(
    trained_run: Path,
    pictures: dict[str, Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "none"))
    assert call(trained_run, next(iter(pictures))) == 0
    assert not (tmp_path / "none").exists()
