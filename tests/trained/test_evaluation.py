"""Evaluating a completed run once more, against the record and against a plain computation."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import log_softmax, softmax

from wrnexp.data import corruptions, load
from wrnexp.data.corruptions import BENCHMARK
from wrnexp.models import WideResNet
from wrnexp.trained import differences, evaluate_run, open_run, reasons

DATA = load("shapes", None, 0, 96, 48, False)


@torch.no_grad()
def by_hand(folder: Path, pixels: np.ndarray) -> np.ndarray:
    """Return the logits of uint8 images [N, H, W, 3], float64."""
    model = WideResNet(10, 1, 0.3, 0.0, num_classes=24)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    normal = (pixels / 255 - DATA.mean) / DATA.std
    found: np.ndarray = model.eval().double()(torch.from_numpy(normal.transpose(0, 3, 1, 2).copy())).numpy()
    return found


def test_figures(trained_run: Path) -> None:
    run = open_run(trained_run)
    found = evaluate_run(run, device="cpu", mirrored=True)
    assert found.equal_to_record
    assert found.metrics == {name: run.record.metrics[name] for name in found.metrics}
    assert set(found.metrics) == {"test_accuracy", "test_top5_accuracy", "test_nll", "test_ece"}
    assert found.test_looks == 1
    assert not run.model.training
    assert found.corruptions is None
    pixels, labels = DATA.test.gather(np.arange(48)), DATA.test.labels
    logits, turned = by_hand(trained_run, pixels), by_hand(trained_run, pixels[:, :, ::-1])
    assert found.metrics["test_nll"] == pytest.approx(-log_softmax(logits, 1)[np.arange(48), labels].mean(), rel=1e-5)
    mean = (softmax(logits, 1) + softmax(turned, 1)) / 2
    assert found.mirrored is not None
    assert found.mirrored["test_nll"] == pytest.approx(-np.log(mean[np.arange(48), labels]).mean(), rel=1e-5)
    assert found.mirrored["test_accuracy"] == (mean.argmax(1) == labels).mean()
    assert found.metrics["test_nll"] != found.mirrored["test_nll"]
    assert {"device", "precision", "code", "git_commit", "torch", "started"} <= set(found.provenance)


def test_differences_are_told_with_what_may_be_the_reason(trained_run: Path) -> None:
    run = open_run(trained_run)
    run.record.metrics["test_nll"] = 3.0
    run.record.provenance |= {"device": "NVIDIA H200", "torch": "1.0"}
    found = evaluate_run(run, device="cpu")
    assert not found.equal_to_record
    nll = found.metrics["test_nll"]
    assert nll is not None
    assert differences(run.record, found.metrics) == {"test_nll": pytest.approx(nll - 3.0)}
    assert reasons(run.record, found.provenance) == [
        f"device {found.provenance['device']} instead of NVIDIA H200",
        f"torch {found.provenance['torch']} instead of 1.0",
    ]


def test_corrupted_images(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(corruptions.FOLDERS, "shapes", "SHAPES-C")
    folder = tmp_path / "cache" / "SHAPES-C"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, (5 * 6, 32, 32, 3), dtype=np.uint8) for name in (*BENCHMARK, "spatter")}
    # Labels that are right for all images of one corruption at severity 2, so that accuracies are not all 0.
    labels = by_hand(trained_run, arrays["fog"][6:12]).argmax(1)
    labels[:2] = (labels[:2] + 1) % 24
    np.save(folder / "labels.npy", np.tile(labels, 5))
    for name, images in arrays.items():
        np.save(folder / f"{name}.npy", images)
    monkeypatch.setattr("wrnexp.trained.evaluation.cache_folder", lambda: tmp_path / "cache")
    found = evaluate_run(open_run(trained_run), device="cpu", corruptions=True).corruptions
    assert found is not None
    assert (found.name, found.images, list(found.accuracy)) == ("SHAPES-C", 6, [*BENCHMARK, "spatter"])
    assert found.accuracy["fog"][1] == pytest.approx(4 / 6)
    for name, images in arrays.items():
        right = (by_hand(trained_run, images).argmax(1) == np.tile(labels, 5)).reshape(5, 6).mean(1)
        assert found.accuracy[name] == pytest.approx(right.tolist())
    mean = math.fsum(sum(found.accuracy[name]) for name in BENCHMARK) / 75
    assert found.mean_error == pytest.approx(1 - mean)
    assert found.mean_error_all is None
