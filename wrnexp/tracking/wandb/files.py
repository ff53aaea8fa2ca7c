"""What W&B keeps of a run on this machine: a folder for each process that has trained it, its fragments."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wrnexp.errors import one_line
from wrnexp.process.terminal import warn
from wrnexp.runs.media import AUGMENTED, FOLDER

NAME = "wandb"  # of W&B's folder, beside the runs' folders


@dataclass(frozen=True)
class Fragment:
    """What one process has told W&B of a run, as it stands in the file that W&B writes.

    Attributes:
        folder: W&B's, for instance `outputs/wandb/offline-run-20260101_120000-0123456789`.
        epochs: those that it holds a row of, in their order.
        keys: names of what was logged, pictures among them.
    """

    folder: Path
    epochs: list[int]
    keys: frozenset[str]


def folder_of(run: Path) -> Path:
    """Return where W&B's files of the run in the folder `run` lie, or would."""
    run = run.resolve()
    # outputs/<label>/<run_id> has a folder a label in between.
    beside, above = run.parent / NAME, run.parent.parent / NAME
    return above if above.is_dir() and not beside.is_dir() else beside


def fragments(folder: Path, identity: str) -> list[Fragment]:
    """Read the fragments of a W&B run, oldest first; one that W&B itself cannot read is left out.

    Args:
        folder: W&B's.
        identity: of the W&B run.
    """
    return [fragment for path in _folders(folder, identity) if (fragment := _read(path)) is not None]


def last_told(folder: Path, identity: str) -> tuple[int, frozenset[str]]:
    """Return the last epoch and the pictures that W&B's files hold of a run; reads no more of them than it must.

    Args:
        folder: W&B's.
        identity: of the W&B run.
    """
    found = _folders(folder, identity)
    for path in reversed(found):
        fragment = _read(path)
        if fragment is not None and fragment.epochs:
            # The grid comes before the first epoch, in this process's file or an earlier one's.
            return max(fragment.epochs), fragment.keys | {f"{FOLDER}/{AUGMENTED}"}
    return 0, frozenset()


def _folders(folder: Path, identity: str) -> list[Path]:
    """Return the folders of a run's fragments, oldest first."""
    found = sorted(folder.resolve().glob("*run-*"), key=lambda path: path.name.removeprefix("offline-"))
    return [path for path in found if path.name.endswith(f"-{identity}") and path.is_dir()]


def wandb_command(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command of W&B in an empty folder.

    Where it runs, it imports modules, takes `wandb/settings`, which may send the API key to any server, and follows
    links when it writes its log to `wandb/`: none of that may be a folder of runs, which may be someone else's.

    Args:
        arguments: of `wandb`; paths are absolute.
        seconds: that it may take.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started, or takes longer.
    """
    command = [sys.executable, "-m", "wandb", *arguments]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        return subprocess.run(
            command, cwd=empty, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )


def epochs_of(found: Iterable[Fragment]) -> list[int]:
    """Return the epochs of fragments, in the order in which W&B would get them."""
    return [epoch for fragment in found for epoch in fragment.epochs]


def _read(folder: Path) -> Fragment | None:
    """Read a fragment through W&B's own reader; a file that a kill has cut short ends where it was cut."""
    try:
        done = wandb_command(["leet", "inspect", "--json", str(folder)], 60)
    except (OSError, subprocess.SubprocessError) as error:
        warn(f"W&B: {folder} cannot be read ({one_line(error)})")
        return None
    entries = list(_entries(done.stdout))
    if not entries:
        return None
    items = [entry["history"].get("item", {}) for entry in entries if entry.get("type") == "history"]
    epochs = [int(item["epoch"]) for item in items if "epoch" in item]
    # A picture's item has a key for each of its facts: `media/augmented.path` and so on.
    return Fragment(folder, epochs, frozenset(key.split(".")[0] for item in items for key in item))


def _entries(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
