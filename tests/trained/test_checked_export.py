"""Export: what a file answers against the network, and what becomes of a file that answers otherwise."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wrnexp.errors import UserError
from wrnexp.models.dropout import Dropout
from wrnexp.trained import formats
from wrnexp.trained.checked_export import ExportError, export
from wrnexp.trained.classifier import Classifier
from wrnexp.trained.formats import Answer, Onnx, Pt2, SafeTensors

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
TEXTS = {"label": "base", "classes": json.dumps(["a", "ü"])}
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in formats.ONNX_PACKAGES), reason="the extra onnx"
)


def network() -> nn.Module:
    """Return a small network of the layers that a wide residual one has."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), Dropout(0.3), head)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    model = network()
    with torch.no_grad():
        model(torch.randn(32, 3, 16, 16))  # running statistics other than those of a new network
    return Classifier(model, MEAN, STD).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def by_hand(classifier: Classifier, images: Tensor) -> Tensor:
    channels = [(images[:, c] - MEAN[c]) / STD[c] for c in range(3)]
    found: Tensor = classifier.model(torch.stack(channels, 1))
    return found


class OneOff(Pt2):
    """Reads a file as one that answers with a little more than the network."""

    def __init__(self, by: float) -> None:
        self._by = by

    def read(self, path: Path) -> tuple[Answer, dict[str, str]]:
        answer, texts = super().read(path)
        return lambda images: answer(images) + self._by, texts


class Forgetful(SafeTensors):
    """Loses the metadata."""

    def read(self, path: Path) -> tuple[Answer, dict[str, str]]:
        return super().read(path)[0], {}


class Fixed(nn.Module):
    """Takes four images at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3 * 16 * 16, 7)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.out(images.reshape(4, 3 * 16 * 16))
        return logits


def test_weights_are_equal_and_carry_texts(classifier: Classifier, images: Tensor, tmp_path: Path) -> None:
    file = tmp_path / "new" / "net.safetensors"
    form = SafeTensors(network, classifier.mean, classifier.std)
    found = export(classifier, form, images, file, TEXTS)
    assert (found.difference, found.allowed, found.images) == (0, 0, 12)
    for name, value in classifier.model.state_dict().items():
        assert torch.equal(load_file(file)[name], value)
    answer, texts = form.read(file)
    assert texts == TEXTS
    torch.testing.assert_close(answer(images), by_hand(classifier, images))
    assert list(file.parent.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_program_takes_any_number_of_images(classifier: Classifier, images: Tensor, tmp_path: Path) -> None:
    file = tmp_path / "net.pt2"
    found = export(classifier, Pt2(), images, file, TEXTS)
    assert found.difference <= found.allowed
    assert found.allowed == pytest.approx(1e-4 * max(1, float(by_hand(classifier, images).abs().max())), rel=1e-3)
    program = torch.export.load(file).module()
    for size in (1, 5, 12):
        torch.testing.assert_close(program(images[:size]), by_hand(classifier, images[:size]))


@needs_onnx
def test_onnx_takes_any_number_of_images(classifier: Classifier, images: Tensor, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    file = tmp_path / "net.onnx"
    assert export(classifier, Onnx(), images, file, TEXTS).difference < 1e-4
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["images"]
    assert session.get_inputs()[0].shape[1:] == [3, 16, 16]
    assert session.get_modelmeta().custom_metadata_map == TEXTS
    for size in (1, 5, 12):
        (found,) = session.run(["logits"], {"images": images[:size].numpy()})
        torch.testing.assert_close(torch.from_numpy(found), by_hand(classifier, images[:size]), atol=1e-5, rtol=1e-4)


@needs_onnx
def test_onnx_of_a_fixed_number(classifier: Classifier, images: Tensor, tmp_path: Path) -> None:
    import onnxruntime

    export(classifier, Onnx(), images, tmp_path / "net.onnx", TEXTS, batch=4)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [4, 3, 16, 16]


def test_a_network_of_fixed_size_needs_a_number(images: Tensor, tmp_path: Path) -> None:
    classifier = Classifier(Fixed(), MEAN, STD).eval()
    with pytest.raises(ExportError, match="cannot be exported so") as told:
        export(classifier, Pt2(), images, tmp_path / "net.pt2", TEXTS)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())
    assert export(classifier, Pt2(), images, tmp_path / "net.pt2", TEXTS, batch=4).images == 12


@pytest.mark.parametrize("by", [1e-2, -1e-2, float("nan")])
def test_a_file_that_answers_otherwise_is_not_kept(
    by: float, classifier: Classifier, images: Tensor, tmp_path: Path
) -> None:
    file = tmp_path / "net.pt2"
    file.write_text("what was there before")
    with pytest.raises(ExportError, match="the largest difference of a logit is"):
        export(classifier, OneOff(by), images, file, TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2"]
    assert file.read_text() == "what was there before"


def test_a_difference_within_what_is_allowed_is_told(classifier: Classifier, images: Tensor, tmp_path: Path) -> None:
    found = export(classifier, OneOff(3e-5), images, tmp_path / "net.pt2", TEXTS)
    assert found.difference == pytest.approx(3e-5, rel=0.05)


def test_a_file_without_its_texts_is_not_kept(classifier: Classifier, images: Tensor, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="metadata"):
        export(classifier, Forgetful(network, classifier.mean, classifier.std), images, tmp_path / "a", TEXTS)
    assert not list(tmp_path.iterdir())


def test_onnx_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "ONNX_PACKAGES", ("onnxnowhere", "json"))
    with pytest.raises(UserError, match=r"ONNX needs onnxnowhere, .*: pip install .*'\.\[onnx\]'"):
        Onnx()
