"""Which combinations of a sweep are the same run, and that no two runs have the same folder."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from wrnexp.config import identity
from wrnexp.config.differences import Difference, differences, format_value
from wrnexp.errors import UserError
from wrnexp.sweeps.jobs import Composer, Job, SweepArm

SHOWN = 3  # keys and labels in a message
NAMES = ("label", "name")  # told to a job that does not name itself


def merged(composer: Composer, combinations: Iterable[tuple[SweepArm, Sequence[str]]]) -> tuple[list[Job], str | None]:
    """Return one job per run, numbered from 0, and a line about the combinations that are the same run.

    Args:
        composer: of the sweep.
        combinations: each arm with its overrides.

    Returns:
        The jobs, each with the label of its first combination, and the line; None if no two combinations are one run.

    Raises:
        UserError: runs would share a folder.
        HydraException: overrides do not compose.
    """
    jobs: dict[str, Job] = {}
    repeats: list[tuple[Job, Job]] = []
    for arm, overrides in combinations:
        job = composer.job(overrides, arm, number=len(jobs))
        if (first := jobs.setdefault(job.run_id, job)) is not job:
            repeats.append((first, job))
    require_own_folders(jobs.values())
    return list(jobs.values()), _merge_note(list(jobs.values()), repeats)


def require_own_folders(jobs: Iterable[Job]) -> None:
    """Refuse a layout that gives two runs one folder.

    Raises:
        UserError: the message names the folder, the keys in which the runs differ, and a layout that works.
    """
    folders: dict[str, dict[str, Job]] = {}
    for job in jobs:
        folders.setdefault(os.path.normpath(job.folder), {}).setdefault(job.run_id, job)
    shared = {folder: list(runs.values()) for folder, runs in folders.items() if len(runs) > 1}
    if not shared:
        return
    folder, runs = next(iter(shared.items()))
    subdir = runs[0].config.hydra.sweep.subdir
    others = f", and {len(shared) - 1} more folders are shared" if len(shared) > 1 else ""
    raise UserError(
        f"hydra.sweep.subdir={subdir}: {len(runs)} runs would share the folder {short(Path(folder))} ({_values(runs)})"
        f"{others}; leave hydra.sweep.subdir out, or let it depend on the run: 'hydra.sweep.subdir=${{hydra.job.num}}'"
    )


def short(folder: Path) -> str:
    """Return a folder as seen from the working directory where it lies below that."""
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def _merge_note(jobs: Sequence[Job], repeats: Sequence[tuple[Job, Job]]) -> str | None:
    if not repeats:
        return None
    keys = sorted({one.key for first, job in repeats for one in _given_differences(first, job)})
    verb = "does" if len(keys) == 1 else "do"
    why = f"{_listed(keys)} {verb} not change a result" if keys else "the others repeat a configuration"
    labels = {job.label for job in jobs}
    unused = list(dict.fromkeys(job.label for _, job in repeats if job.label not in labels))
    count = f"{len(jobs)} run{'s' if len(jobs) > 1 else ''}"
    line = f"{len(jobs) + len(repeats)} combinations are {count}: {why}"
    return f"{line}; no run has the label {_listed(unused)}" if unused else line


def _given_differences(first: Job, second: Job) -> list[Difference]:
    """Return the settings in which two jobs differ, without names that they did not give themselves."""
    given = {override.partition("=")[0].lstrip("+") for override in (*first.overrides, *second.overrides)}
    found = differences(first.values, second.values)
    return [one for one in found if one.key not in NAMES or one.key in given]


def _values(runs: Sequence[Job]) -> str:
    """Return the keys in which runs differ, each with its values."""
    first, *others = [identity.identity_config(job.values) for job in runs]
    values: dict[str, list[str]] = {}
    for other in others:
        for one in differences(first, other):
            values.setdefault(one.key, [format_value(one.a, "absent")]).append(format_value(one.b, "absent"))
    return "; ".join(f"{key}={_listed(dict.fromkeys(texts))}" for key, texts in list(values.items())[:SHOWN])


def _listed(texts: Iterable[str]) -> str:
    """Return the first few texts with commas between them, and how many more there are."""
    every = list(texts)
    more = [f"{len(every) - SHOWN} more"] if len(every) > SHOWN else []
    return ", ".join([*every[:SHOWN], *more])
