"""A sweep's jobs, and many sweeps, as tables for a terminal."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from wrnexp.errors import diverged_briefly, is_diverged, is_out_of_time
from wrnexp.process.terminal import safe_text
from wrnexp.runs.ownership import STUDY
from wrnexp.sweeps.sweep_json import JobEntry, Sweep, completed_record

STYLES = {
    "completed": "green",
    "failed": "red",
    "diverged": "red",
    "interrupted": "yellow",
    "running": "cyan",
    "pending": "dim",
}
RETRY_DIVERGED = " (sweep.retry_diverged=true trains it again)"  # not in a search: there it is an answer


def jobs_table(
    jobs: Iterable[JobEntry],
    folder: Path,
    left: Mapping[tuple[str, str], str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Table:
    """Return a row a job: label, seed, state, test accuracy, and the first line of its error.

    Args:
        jobs: with their states.
        folder: the sweep's.
        left: what to say of the time that a job still needs, by its `key`; None leaves the column out.
        notes: by its folder, why a job was not started.
    """
    table = Table(box=None, pad_edge=False)
    for name in ("arm", "seed", "state", "test accuracy"):
        table.add_column(name, justify="right" if name in ("seed", "test accuracy") else "left")
    if left is not None:
        table.add_column("time left", justify="right")
    table.add_column("run or error", overflow="fold")
    is_search = (folder / STUDY).exists()
    for job in jobs:
        state = Text(shown := shown_state(job), STYLES[shown])
        cells: list[Text | str] = [safe_text(job.label), str(job.seed), state, _accuracy(job, folder)]
        cells += [left.get(job.key, "")] if left is not None else []
        table.add_row(*cells, reason(job, (notes or {}).get(job.folder), "" if is_search else RETRY_DIVERGED))
    return table


def reason(job: JobEntry, note: str | None, retry: str) -> Text:
    """Return why a job is not completed: what was noted, else the first line of its error, else its folder.

    The error of one that diverged is followed by `retry`.
    """
    if note and job.state in ("pending", "interrupted"):
        return safe_text(note, "yellow")
    if job.error:
        if shown_state(job) == "diverged":
            return safe_text(f"{diverged_briefly(job.error)}{retry}", "red")
        return safe_text(job.error.splitlines()[0], "yellow" if is_out_of_time(job.error) else "red")
    return safe_text(job.folder)


def shown_state(job: JobEntry) -> str:
    """Return a job's state as tables show it: `diverged` for a failed job whose training diverged."""
    return "diverged" if job.state == "failed" and is_diverged(job.error) else job.state


def sweeps_table(rows: Sequence[tuple[Path, Sweep, str]]) -> Table:
    """Return a row a sweep: its folder, how far it is, how many failed, the time left, its question."""
    table = Table(box=None, pad_edge=False)
    for name in ("sweep", "completed", "running", "failed", "left", "time left"):
        table.add_column(name, justify="left" if name == "sweep" else "right")
    table.add_column("question", overflow="fold")
    for folder, sweep, left in rows:
        states = Counter(map(shown_state, sweep.jobs))
        failed = Text(str(states["failed"]), "red" if states["failed"] else "")
        failed.append(f", {states['diverged']} diverged" if states["diverged"] else "", "red")
        open_ = str(sum(job.state in ("pending", "interrupted") and not job.over for job in sweep.jobs))
        done = f"{states['completed']}/{len(sweep.jobs)}"
        table.add_row(
            safe_text(str(folder)), done, str(states["running"]), failed, open_, left, safe_text(sweep.question or "")
        )
    return table


def duration(seconds: float | None, unknown: str = "not measured") -> str:
    """Return a time in words, to two or three figures: `50 s`, `12 min`, `3.4 h`; `unknown` for None."""
    if seconds is None:
        return unknown
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def totals(jobs: Sequence[JobEntry]) -> str:
    """Return how many jobs are in each state, in words: `11 of 12 jobs completed, 1 failed`."""
    states = Counter(map(shown_state, jobs))
    stopped = sum(job.over for job in jobs) - states["completed"]
    states["interrupted"] -= stopped
    others = [f"{states[state]} {state}" for state in STYLES if state != "completed" and states[state]]
    others += [f"{stopped} stopped by the search"] if stopped else []
    return ", ".join([f"{states['completed']} of {len(jobs)} jobs completed", *others])


def _accuracy(job: JobEntry, sweep: Path) -> str:
    record = completed_record(sweep / job.folder, job.run_id) if job.state == "completed" else None
    accuracy = record.metrics.get("test_accuracy") if record else None
    return "" if accuracy is None else f"{accuracy:.2%}"
