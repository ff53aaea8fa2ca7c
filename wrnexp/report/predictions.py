"""What the networks say of each test image, read from `predictions.npz`, and how well their confidence is founded."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wrnexp.report.arms import Arm
from wrnexp.report.format import several
from wrnexp.report.measures import Run
from wrnexp.runs.digests import FileState, file_state
from wrnexp.runs.files import open_regular
from wrnexp.stats import metrics

FILE = "predictions.npz"
# Reading a run's answers on 10,000 images takes about a tenth of a second, fitting a temperature as much again: a
# report on hundreds of runs reads some.
MOST_READ = 30
# float16 logits can make equals of two classes, which turns few answers.
TOLERANCE = 0.005
LARGE = 100_000_000  # bytes, from which a file is suspected to be made to fill the memory
RATIO = 20  # of its bytes to those in the file; logits of a trained network hardly get smaller

NO_VALIDATION = "predictions.npz holds no validation logits, and a temperature is never fitted on the test set"


@dataclass(frozen=True)
class Calibration:
    """How well confidence is founded: negative log-likelihood in nats, and the images by confidence."""

    nll: float
    bins: metrics.Reliability


@dataclass(frozen=True)
class Answers:
    """One run's answers on the test images.

    Attributes:
        seed: the run's.
        labels: class indices, int64 `[N]`.
        predicted: the class with the largest logit, int64 `[N]`.
        before: calibration of the network as it is.
        after: with the logits divided by `temperature`; None where no validation logits were kept.
        temperature: fitted on validation images.
    """

    seed: int
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    before: Calibration
    after: Calibration | None
    temperature: float | None

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each image is answered right, `[N]`."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right


@dataclass(frozen=True)
class Predictions:
    """The answers that were read.

    Attributes:
        arms: answers by the arm's label, by seed; only arms of which a run was read.
        baseline: label of the arm that the others are compared with.
        classes: how many there are.
        scope: what was read and what was not, in sentences.
        problems: which run it is and what is wrong, for each whose file is there and cannot be used.
    """

    arms: dict[str, list[Answers]]
    baseline: str
    classes: int
    scope: list[str]
    problems: list[str]

    def common(self, label: str) -> list[tuple[Answers, Answers]]:
        """Return the answers of the baseline and of another arm, a pair for each seed that both have."""
        others = {found.seed: found for found in self.arms.get(label, [])}
        own = self.arms.get(self.baseline, [])
        return [(found, others[found.seed]) for found in own if found.seed in others]


def predictions(arms: Sequence[Arm], baseline: Arm) -> Predictions:
    """Read the answers of all runs, or of one seed an arm where there are more than `MOST_READ` runs."""
    chosen = _chosen(arms, baseline)
    read: dict[str, list[Answers]] = {}
    reasons: Counter[str] = Counter()
    problems: list[str] = []
    labels: NDArray[np.int64] | None = None
    classes = 0
    for label, runs in chosen.items():
        for run in runs:
            try:
                found, width = _read(run, labels)
            except _UnusableError as error:
                reasons[str(error)] += 1
                if not isinstance(error, _AbsentError):
                    problems.append(f"{run.place}: {error}. Comparisons by image and calibration leave the run out")
                continue
            labels, classes = found.labels, max(classes, width)
            read.setdefault(label, []).append(found)
    return Predictions(read, baseline.label, classes, _scope(arms, chosen, reasons), problems)


class _UnusableError(Exception):
    """A file of predictions that says nothing; the message is the reason."""


class _AbsentError(_UnusableError):
    """There is no such file."""


def _chosen(arms: Sequence[Arm], baseline: Arm) -> dict[str, list[Run]]:
    """Return the runs to read by label, those of the baseline first: all, or the first common seed of so many arms."""
    ordered = [baseline, *(arm for arm in arms if arm is not baseline)]
    if sum(len(arm.runs) for arm in arms) <= MOST_READ:
        return {arm.label: list(arm.runs) for arm in ordered}
    found: dict[int, Run] = {run.record.seed: run for run in baseline.runs}
    chosen: dict[str, list[Run]] = {}
    needed: dict[int, Run] = {}
    for arm in ordered[1:]:
        run = next((run for run in arm.runs if run.record.seed in found), None)
        if run and len(chosen) + len(needed | {run.record.seed: run}) < MOST_READ:
            chosen[arm.label] = [run]
            needed[run.record.seed] = found[run.record.seed]
    return {baseline.label: [needed[seed] for seed in sorted(needed)] or [baseline.runs[0]]} | chosen


def _read(run: Run, labels: NDArray[np.int64] | None) -> tuple[Answers, int]:
    """Return a run's answers and the number of classes.

    Raises:
        _UnusableError: the file is absent, damaged, of other images than `labels`, or not what the record says.
    """
    stored = _stored(run)
    logits, truth = _checked(stored, "logits", "labels")
    if labels is not None and not np.array_equal(labels, truth):
        raise _UnusableError("the test labels are not those of the other runs")
    predicted = logits.argmax(1)
    if abs(float((predicted == truth).mean()) - run.accuracy) > TOLERANCE:
        raise _UnusableError("the predictions do not give the accuracy of the record")
    temperature = None
    if "val_logits" in stored and "val_labels" in stored:
        temperature = metrics.fitted_temperature(*_checked(stored, "val_logits", "val_labels"))
    after = None if temperature is None else _calibration(logits.astype(np.float64) / temperature, truth)
    found = Answers(run.record.seed, truth, predicted, _calibration(logits, truth), after, temperature)
    return found, logits.shape[1]


def _stored(run: Run) -> Mapping[str, NDArray[Any]]:
    if file_state(run.folder, run.record, FILE) is FileState.DAMAGED:
        raise _UnusableError(f"{FILE} is damaged: its content is not what the run wrote")
    try:
        with open_regular(run.folder / FILE) as raw, np.load(raw, allow_pickle=False) as file:
            members = file.zip.infolist()
            opened = sum(member.file_size for member in members)
            if opened > LARGE and opened > RATIO * sum(member.compress_size for member in members):
                raise _UnusableError(f"{FILE} would open to {opened:,} bytes, more than {RATIO} times its size")
            return {name: file[name] for name in file.files}
    except _UnusableError:
        raise
    except FileNotFoundError as error:
        raise _AbsentError(f"there is no {FILE}") from error
    except Exception as error:  # numpy and zipfile raise many kinds for files that are not archives of arrays
        raise _UnusableError(f"{FILE} cannot be read") from error


def _checked(
    stored: Mapping[str, NDArray[Any]], logits: str, labels: str
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Return logits and labels that go together."""
    if logits not in stored or labels not in stored:
        raise _UnusableError(f"{FILE} lacks {logits} or {labels}")
    values, truth = stored[logits], stored[labels]
    whole = values.ndim == 2 and truth.shape == values.shape[:1] and len(truth) > 0 and values.shape[1] > 0
    if not whole or values.dtype.kind != "f" or truth.dtype.kind not in "iu":
        raise _UnusableError(f"{logits} and {labels} in {FILE} are not of one shape")
    if not np.isfinite(values).all():
        raise _UnusableError(f"{logits} in {FILE} are not all finite")
    if truth.min() < 0 or truth.max() >= values.shape[1]:
        raise _UnusableError(f"{labels} in {FILE} name classes that there are not")
    return values, truth.astype(np.int64)


def _calibration(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Calibration:
    return Calibration(metrics.negative_log_likelihood(logits, labels), metrics.reliability(logits, labels))


def _scope(arms: Sequence[Arm], chosen: Mapping[str, Sequence[Run]], reasons: Mapping[str, int]) -> list[str]:
    runs, wanted = sum(len(arm.runs) for arm in arms), sum(map(len, chosen.values()))
    said = []
    if wanted < runs:
        left = len(arms) - len(chosen)
        said.append(
            f"There are {runs:,} runs: only the answers of {wanted} were read, those of each arm's first seed that the "
            "baseline has too." + (f" {several(left, 'arm')} had to be left out of this." if left else "")
        )
    return said + [f"Not used: {several(count, 'run')}, {reason}." for reason, count in reasons.items()]
