"""A completed run's weights on its test set once more, on mirror images beside, and on corrupted test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import nn

from wrnexp.data import Dataset, EvalBatches, ImageSet
from wrnexp.data.corruptions import BENCHMARK, EXTRA, SEVERITIES, Corrupted, find_corrupted
from wrnexp.data.progress import tracked
from wrnexp.engine import Evaluation, Hardware, evaluate
from wrnexp.engine.results import final_metrics
from wrnexp.runs import provenance
from wrnexp.runs.cache import cache_folder
from wrnexp.runs.record import CorruptionFigures, LaterEvaluation, Record
from wrnexp.runs.strict_json import finite
from wrnexp.trained.classifier import Mirrored
from wrnexp.trained.opening import Trained, dataset, hardware

# What may make the same weights answer otherwise, as records name it.
TOLD = {name: name for name in ("device", "precision", "channels_last", "compile", "torch")}


@dataclass(frozen=True)
class _Answers:
    """Gives a network's answers on images of a data set."""

    data: Dataset
    hardware: Hardware

    def __call__(self, model: nn.Module, images: ImageSet) -> Evaluation:
        return evaluate(model, EvalBatches(images, self.data, self.hardware.device), self.hardware)


def evaluate_run(
    run: Trained, *, device: str = "auto", root: str | None = None, mirrored: bool = False, corruptions: bool = False
) -> LaterEvaluation:
    """Read the test set of a run once more.

    Args:
        run: whose weights answer, in the precision of the run where the kind of device is the same.
        device: `auto`, `cpu`, `cuda`, `cuda:<index>` or `mps`.
        root: in place of the record's `data.root`.
        mirrored: also average over each image and its mirror image.
        corruptions: also read the corrupted test images.

    Raises:
        UserError: the device, the data set or the corrupted images are not there; nothing was evaluated.
    """
    settled = hardware(run.record, device)
    data = dataset(run.record, root, run.allow)
    corrupted = _corrupted(run, root) if corruptions else None
    told = provenance.collect(Path(__file__).parents[1]) | settled.described()
    answers, model = _Answers(data, settled), settled.to_device(run.model)
    with settled.settings():
        metrics = _figures(answers(model, data.test))
        found = LaterEvaluation(
            metrics=metrics,
            equal_to_record=not differences(run.record, metrics),
            mirrored=_figures(answers(Mirrored(model).eval(), data.test)) if mirrored else None,
            corruptions=None if corrupted is None else _under_corruptions(corrupted, answers, model),
        )
    found.provenance = told | {"finished": provenance.now()}
    return found


def differences(record: Record, metrics: dict[str, float | None]) -> dict[str, float]:
    """Return by how much figures are above the record's, those that differ at all."""
    pairs = {name: (value, record.metrics.get(name)) for name, value in metrics.items()}
    return {name: a - b for name, (a, b) in pairs.items() if a is not None and b is not None and a != b}


def reasons(record: Record, told: dict[str, Any]) -> list[str]:
    """Return what is another than in training and may change figures, in words."""
    past = record.provenance
    return [
        f"{words} {told.get(key)} instead of {past[key]}"
        for key, words in TOLD.items()
        if key in past and told.get(key) != past[key]
    ]


def _figures(found: Evaluation) -> dict[str, float | None]:
    figures: dict[str, float | None] = finite(final_metrics(found))
    return figures


def _corrupted(run: Trained, root: str | None) -> Corrupted:
    place = root if root is not None else run.record.config["data"].get("root")
    name = run.record.data.name if run.record.data else ""
    where = None if place is None else Path(place).expanduser()
    found = find_corrupted(name, where, cache_folder(), len(run.signature.classes))
    for one in found.names:
        found.images(one, SEVERITIES)  # a damaged array ends this before hours of evaluation, not after
    return found


def _under_corruptions(corrupted: Corrupted, answers: _Answers, model: nn.Module) -> CorruptionFigures:
    """Evaluate on every corruption and severity."""
    jobs = list(product(corrupted.names, range(1, SEVERITIES + 1)))
    accuracy: dict[str, list[float]] = {name: [] for name in corrupted.names}
    for name, severity in tracked(jobs, "corruptions"):
        accuracy[name].append(answers(model, corrupted.images(name, severity)).accuracy)
    return CorruptionFigures(
        name=corrupted.folder.name,
        images=len(corrupted.labels),
        accuracy=accuracy,
        mean_error=_mean_error(accuracy, BENCHMARK),
        mean_error_all=_mean_error(accuracy, (*BENCHMARK, *EXTRA)),
    )


def _mean_error(accuracy: dict[str, list[float]], names: Sequence[str]) -> float | None:
    """Return the mean of 1 - accuracy over corruptions and severities; None where a corruption is absent."""
    if any(name not in accuracy for name in names):
        return None
    return 1 - fmean(value for name in names for value in accuracy[name])
