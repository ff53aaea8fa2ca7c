"""W&B's local files of a run: one folder per process that trained it, called a fragment here."""

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

NAME = "wandb"  # name of W&B's local folder, next to the runs' folders


@dataclass(frozen=True)
class Fragment:
    """What one process logged to W&B, read from W&B's local file.

    Attributes:
        folder: for instance `outputs/wandb/offline-run-20260101_120000-0123456789`.
        epochs: epochs with a row, in the order logged.
        keys: names of everything logged, including pictures.
    """

    folder: Path
    epochs: list[int]
    keys: frozenset[str]


def wandb_folder(run_folder: Path) -> Path:
    """Return W&B's local folder for a run; it may not exist."""
    run_folder = run_folder.resolve()
    # One level up from the run's folder, or two for outputs/<label>/<run_id>.
    sibling, above = run_folder.parent / NAME, run_folder.parent.parent / NAME
    return above if above.is_dir() and not sibling.is_dir() else sibling


def fragments(folder: Path, identity: str) -> list[Fragment]:
    """Read the fragments of the W&B run with id `identity`, oldest first, skipping those that W&B cannot read."""
    return [fragment for path in _folders(folder, identity) if (fragment := _read(path)) is not None]


def last_logged(folder: Path, identity: str) -> tuple[int, frozenset[str]]:
    """Return the last epoch and the keys in W&B's local files of a run; reads only the newest usable fragment."""
    for path in reversed(_folders(folder, identity)):
        fragment = _read(path)
        if fragment is not None and fragment.epochs:
            # The grid of augmented images precedes the first epoch, in this fragment or an earlier one.
            return max(fragment.epochs), fragment.keys | {f"{FOLDER}/{AUGMENTED}"}
    return 0, frozenset()


def _folders(folder: Path, identity: str) -> list[Path]:
    folders = sorted(folder.resolve().glob("*run-*"), key=lambda path: path.name.removeprefix("offline-"))
    return [path for path in folders if path.name.endswith(f"-{identity}") and path.is_dir()]


def wandb_command(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run `wandb` with these arguments in an empty folder, so their paths must be absolute.

    It imports modules from the working directory, reads `wandb/settings` there, which may send the API key to any
    server, and follows links when it writes logs. It must not do so in a folder of runs, which may not be the user's.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started, or takes longer than `seconds`.
    """
    command = [sys.executable, "-m", "wandb", *arguments]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        return subprocess.run(
            command, cwd=empty, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )


def epochs_of(fragments: Iterable[Fragment]) -> list[int]:
    """Return the epochs of fragments in the order in which W&B would upload them."""
    return [epoch for fragment in fragments for epoch in fragment.epochs]


def _read(folder: Path) -> Fragment | None:
    """Read a fragment with W&B's reader, a file truncated by a kill up to where it ends."""
    try:
        completed = wandb_command(["leet", "inspect", "--json", str(folder)], 60)
    except (OSError, subprocess.SubprocessError) as error:
        warn(f"W&B: {folder} cannot be read ({one_line(error)})")
        return None
    entries = list(_entries(completed.stdout))
    if not entries:
        return None
    rows = [entry["history"].get("item", {}) for entry in entries if entry.get("type") == "history"]
    epochs = [int(row["epoch"]) for row in rows if "epoch" in row]
    # A picture has one key per field: `media/augmented.path` and so on.
    return Fragment(folder, epochs, frozenset(key.split(".")[0] for row in rows for key in row))


def _entries(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
