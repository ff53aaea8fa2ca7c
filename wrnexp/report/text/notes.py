"""What a reader must know beside the figures: how they were made, and what makes the runs less alike than they look."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from wrnexp.report.arms import Arm
from wrnexp.report.format import OLDER_TIMES, listed, several
from wrnexp.report.measures import times_include_start
from wrnexp.report.tables import Origin, Report, has_older_times, looks
from wrnexp.runs.record import DataInfo

PROGRAM_KEYS = ("code", "torch", "precision")  # of an entry of `provenance.programs`: what can change a result


def notes(report: Report) -> list[str]:
    """Say how the figures were made and how far they can be trusted."""
    return [
        "Test accuracy is that of the last epoch's weights (of their average where the recipe keeps one), never of an "
        f"epoch chosen on the test set. Times that the test set was read in a run: {_looks(report)}.",
        "Intervals are 95% t-intervals over seeds, differences are paired by seed, p-values are of the paired t-test, "
        f"corrected by Holm for {several(len(report.pairs), 'comparison')}. The seeds needed are for 80% power at the "
        "measured difference and spread, before that correction; both are themselves uncertain with few seeds.",
        "Training seconds are without start, compilation, evaluation and checkpoints.",
        *older_times(report.arms),
        *(["Claims are judged one by one, without a correction for their number."] if report.claims else []),
        *_labels(report.arms),
        *damaged(report),
        *warnings(report.origins),
        *recoveries(report.arms),
        *programs(report.arms),
    ]


def measured_on(arms: Sequence[Arm]) -> list[str]:
    """Name the data with their content digests, a sentence for each different use of them, the most frequent first."""
    times = Counter(_data(run.record.data) for arm in arms for run in arm.runs)
    return [f"{several(runs, 'run')} on {data}." for data, runs in times.most_common()]


def warnings(origins: Sequence[Origin]) -> list[str]:
    """Say what makes the runs less alike than their configs say."""
    dirty = sum(origin.runs for origin in origins if origin.values["git_dirty"] == "yes")
    kinds = {
        key: list(dict.fromkeys(origin.values[key] for origin in origins)) for key in ("git_commit", "device", "torch")
    }
    found = []
    if dirty:
        found.append(f"Warning: {several(dirty, 'run')} had uncommitted changes: the code was not that of the commit.")
    if len(kinds["device"]) > 1:
        found.append(
            f"Warning: the runs were made on different devices ({listed(kinds['device'])}): their seconds, images/s "
            "and memory do not compare."
        )
    if len(kinds["git_commit"]) > 1 or len(kinds["torch"]) > 1:
        found.append("Warning: the runs were made with different code or versions, see the table above.")
    return found


def recoveries(arms: Sequence[Arm]) -> list[str]:
    """Say in which arms training recovered from steps that diverged, and how; nothing where it never did."""
    found = [text for arm in arms for text in _recoveries(arm)]
    return [f"Training recovered from steps that diverged (trainer.on_divergence): {listed(found)}."] if found else []


def programs(arms: Sequence[Arm]) -> list[str]:
    """Say which runs were resumed by another program than the one that began them, and what differs."""
    found = []
    for arm in arms:
        differing = [keys for run in arm.runs if (keys := _changed(run.record.provenance.get("programs")))]
        if differing:
            keys = [key for key in PROGRAM_KEYS if any(key in keys for keys in differing)]
            runs = f"{several(len(differing), 'run')} of {arm.label} {'was' if len(differing) == 1 else 'were'}"
            found.append(
                f"Warning: {runs} trained by more than one program, which differ in {listed(keys)}; "
                "provenance.programs of the record has the epochs of each."
            )
    return found


def damaged(report: Report) -> list[str]:
    """Name the runs of which a file is not used, with what is damaged and how to repair it."""
    runs = [run for arm in report.arms for run in arm.runs]
    text = "metrics.jsonl is damaged: its content is not what the run wrote. Curves and epoch times leave the run out"
    sentences = [f"{run.place}: {text}" for run in runs if run.has_damaged_rows]
    sentences += report.answers.problems if report.answers else []
    lost = "evaluations.json cannot be read. Its looks at the test set are not counted; restore it from a copy."
    return [
        *(f"{sentence}; its command, given again, writes the file from the checkpoint." for sentence in sentences),
        *(f"{run.place}: {lost}" for run in runs if run.evaluations is None),
    ]


def _recoveries(arm: Arm) -> list[str]:
    """Return how many steps were skipped, and how many led to a rollback, with the number of runs."""
    texts = []
    for action, verb in (("skip", "skipped"), ("rollback", "rolled back")):
        counts = [sum(step.action == action for step in run.record.recoveries) for run in arm.runs]
        runs = sum(count > 0 for count in counts)
        if runs:
            texts.append(f"{several(sum(counts), 'step')} {verb} in {several(runs, 'run')} of {arm.label}")
    return texts


def _changed(entries: Any) -> list[str]:
    """Return the keys of `PROGRAM_KEYS` in which the programs of a run differ."""
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return [key for key in PROGRAM_KEYS if len({str(entry.get(key)) for entry in known}) > 1]


def older_times(arms: Sequence[Arm]) -> list[str]:
    """Say which arms have times of earlier versions, and whether others do not; nothing where none has."""
    older = [arm.label for arm in arms if has_older_times(arm)]
    mixed = not all(times_include_start(run) for arm in arms for run in arm.runs)
    runs = f"runs of {listed(older)}" if mixed else "all runs"
    text = (
        f"{OLDER_TIMES} An earlier version trained {runs}: their training seconds and seconds to an accuracy include "
        "start and compilation"
    )
    return [f"{text}, those of the other runs do not: they do not compare." if mixed else f"{text}."] if older else []


def _data(data: DataInfo | None) -> str:
    if data is None:
        return "data that the records do not name"
    sizes = f"{data.train:,} images to train, {data.val:,} to validate, {data.test:,} to test"
    digests = listed([f"{split} {digest}" for split, digest in sorted(data.digest.items())])
    return f"{data.name}: {sizes}; content digests: {digests}"


def _labels(arms: Sequence[Arm]) -> list[str]:
    """Say where labels and arms are not one to one in the records."""
    times = Counter(name for arm in arms for name in arm.names)
    shared = [
        f"{count} arms are labelled {name} by their records: what tells them apart was added to the label."
        for name, count in sorted(times.items())
        if count > 1
    ]
    return shared + [f"Runs of {arm.label} are labelled {listed([*arm.names])}." for arm in arms if len(arm.names) > 1]


def _looks(report: Report) -> str:
    ranges = [(arm.label, *looks(arm)) for arm in report.arms]
    return ", ".join(f"{label} {low}" if low == high else f"{label} {low} to {high}" for label, low, high in ranges)
