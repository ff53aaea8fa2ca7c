"""Checkpoints: all that resuming needs, copied between two steps, written by a thread, loaded with `weights_only=True`.

A file is written under another name and renamed, so that a kill at any moment leaves a whole one. Each file carries a
digest of itself; the checkpoint before the last one stays, for the case that the last one is damaged.
"""

import copy
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wrnexp.engine.sealed import DamagedError, load_sealed, save_sealed
from wrnexp.errors import TrainingError, UserError, one_line
from wrnexp.process.terminal import warn
from wrnexp.runs.ownership import describes_run, set_aside

State = Mapping[str, Any]

SHARE = 0.01  # of the time that checkpoints may take where no interval is given
PARTS = {"model", "average", "optimizer", "rows", "test_looks"}  # of a state that can be resumed
WITHIN_EPOCH = 60.0  # least seconds between two checkpoints within one epoch: each waits for the device


class Checkpoints:
    """The checkpoint files of one run's folder, and the thread that writes them.

    Args:
        folder: of the files; made with the first one.
        seconds: least time between the starts of two writes; None: so long that copying and writing take less than
            `SHARE` of the time.

    Attributes:
        last: file of the newest state.
        previous: file of the one before it.
        best: file of the state with the best validation accuracy.
        opened: file that `open` has read.
        epochs: complete in the state in it.
        begun: epochs that are complete in it or under way.
    """

    def __init__(self, folder: Path, seconds: float | None = None) -> None:
        self.last = folder / "last.pt"
        self.previous = folder / "previous.pt"
        self.best = folder / "best.pt"
        self.seconds = seconds
        self._newest: State | None = None  # copied, not yet handed to the thread
        self._newest_best: State | None = None  # not yet on the disk
        self._thread: ThreadPoolExecutor | None = None
        self._write: Future[tuple[float, State | None]] | None = None
        self._copying = self._cost = 0.0  # seconds of the newest copy; of the last copy and write together
        self._last_write: float | None = None
        self._opened = time.monotonic()
        self._loaded: dict[str, Any] | None = None
        self._is_open = False
        self.opened = self.last
        self.epochs = self.begun = 0

    def update(self, state: State, *, best: bool = False) -> None:
        """Copy the state of training; start writing it where a write is due.

        A state that is not written now is written by a later `update` or by `close`, unless a newer one replaces it.

        Args:
            state: tensors of any device, plain values, and dicts and lists of them. The caller may change them
                afterwards.
            best: the validation accuracy is the best so far.

        Raises:
            TrainingError: an earlier write failed.
        """
        start = time.monotonic()
        self._newest = snapshot(state)
        self._copying = time.monotonic() - start
        if best:
            self._newest_best = self._newest
        if self._due():
            self._start_write()

    def due_within_epoch(self) -> bool:
        """True if the last write is long ago, though the epoch has not ended."""
        return self._due(WITHIN_EPOCH)

    def close(self) -> None:
        """Wait until the newest state is on disk.

        Raises:
            TrainingError: a write failed.
        """
        try:
            earlier = self._write
            if self._newest is not None:
                self._start_write()  # queued behind the earlier one, so that no interruption of the waiting loses it
            if earlier is not None:
                self._await(earlier)
            self._await_write()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def open(self, *, required: bool = False) -> Mapping[str, Any] | None:
        """Read the last state; return what it says of its run, empty in those of earlier versions, None without one.

        A damaged file is renamed and the one before it is read instead, with a line on stderr.

        Args:
            required: training does not start again without a state.

        Raises:
            UserError: a file cannot be read.
        """
        problems = []
        self._is_open = True
        for path in (self.last, self.previous):
            try:
                self._loaded = _checked(load_sealed(path))
            except FileNotFoundError:
                problems += [f"{path} is not there"] if path == self.last and self.previous.exists() else []
            except DamagedError as error:
                problems.append(f"{path} is damaged ({error}) and was renamed to {set_aside(path).name}")
            except OSError as error:
                raise UserError(
                    f"{path} cannot be read ({one_line(error)}): make it readable, or use rerun=true"
                ) from error
            else:
                self.opened = path
                break
        if problems:
            source = "the start" if self._loaded is None else f"{path.name}, {_position(self._loaded)}"
            resumed = "" if required and self._loaded is None else f": training resumes from {source}"
            warn("; ".join(problems) + resumed)
        if self._loaded is None:
            return None
        self.epochs = len(self._loaded["rows"])
        self.begun = self.epochs + ("progress" in self._loaded)
        about: Mapping[str, Any] = self._loaded.get("run", {})
        return about

    def take(self) -> dict[str, Any] | None:
        """Return the state that `open` reads, once: nothing holds it in memory afterwards."""
        if not self._is_open:
            self.open()
        state, self._loaded = self._loaded, None
        return state

    def drop_previous(self) -> None:
        """Remove the checkpoint before the last: a completed run needs one only."""
        self.previous.unlink(missing_ok=True)

    def _due(self, least: float = 0.0) -> bool:
        if self._write is not None and not self._write.done():
            return False
        if self._write is not None:
            self._await_write()
        if self._last_write is None and not least:
            return True  # the first one tells what a write costs
        interval = self._cost / SHARE if self.seconds is None else self.seconds
        return time.monotonic() - (self._last_write or self._opened) >= max(interval, least)

    def _start_write(self) -> None:
        assert self._newest is not None
        self._thread = self._thread or ThreadPoolExecutor(1, "checkpoint")
        self._write = self._thread.submit(self._write_files, self._newest, self._newest_best)
        self._newest = None
        self._last_write = time.monotonic()

    def _await_write(self) -> None:
        write, self._write = self._write, None
        if write is not None:
            self._await(write)

    def _await(self, write: "Future[tuple[float, State | None]]") -> None:
        try:
            seconds, best = write.result()
        except (OSError, RuntimeError) as error:
            raise TrainingError(
                f"the checkpoint {self.last} cannot be written ({one_line(error)}); the one before is whole: make room "
                "on the disk and run the same command again"
            ) from error
        self._cost = self._copying + seconds
        if best is self._newest_best:
            self._newest_best = None

    def _write_files(self, newest: State, best: State | None) -> tuple[float, State | None]:
        """Write both files; return the seconds, and the best state.

        The best one first: a kill between them repeats the epochs that lead to it.
        """
        start = time.monotonic()
        self.last.parent.mkdir(parents=True, exist_ok=True)
        if best is not None and best is not newest:
            _written(best, self.best).replace(self.best)
        written = _written(newest, self.last)
        if best is newest:
            _link(written, self.best)
        if self.last.exists():
            _link(self.last, self.previous)
        written.replace(self.last)
        return time.monotonic() - start, best


def snapshot(state: State) -> State:
    """Return a deep copy with all tensors on the CPU.

    From a GPU tensors go to page-locked memory, several times faster than to ordinary memory; the host waits once.
    """
    devices: set[torch.device] = set()
    copied: State = _copied(state, devices)
    for device in devices:
        torch.cuda.synchronize(device)
    return copied


def _copied(value: Any, devices: set[torch.device]) -> Any:
    """Copy nested dicts, lists and tensors; add the GPUs whose copies are under way to `devices`."""
    if isinstance(value, Tensor):
        pinned = value.device.type == "cuda"
        devices |= {value.device} if pinned else set()
        target = torch.empty_like(value, device="cpu", pin_memory=pinned, requires_grad=False)
        return target.copy_(value.detach(), non_blocking=pinned)
    if isinstance(value, dict):
        copied = copy.copy(value)  # with the versions of modules that torch stores as an attribute of a state dict
        copied.update((key, _copied(part, devices)) for key, part in value.items())
        return copied
    if isinstance(value, list | tuple):
        return type(value)(_copied(element, devices) for element in value)
    return value


def _checked(state: Any) -> dict[str, Any]:
    """Return a state that has all its parts.

    Raises:
        DamagedError: it has not.
    """
    whole = isinstance(state, dict) and state.keys() >= PARTS and isinstance(state["rows"], list)
    if not whole or type(state["test_looks"]) is not int or not describes_run(state.get("run", {})):
        raise DamagedError("it is not a checkpoint of training")
    epochs = [row.get("epoch") for row in state["rows"] if isinstance(row, dict)]
    if epochs != list(range(1, len(state["rows"]) + 1)):
        raise DamagedError("its epochs are not numbered from 1")
    return state  # type: ignore[no-any-return]


def _position(state: Mapping[str, Any]) -> str:
    progress = state.get("progress")
    within = f", step {progress['steps']} of the next" if progress else ""
    return f"epoch {len(state['rows'])}{within}"


def _written(state: State, target: Path) -> Path:
    """Write `state` under another name than `target`, down to the disk; return where."""
    temporary = target.with_suffix(".writing")
    temporary.unlink(missing_ok=True)  # a named pipe there would be waited for
    try:
        save_sealed(state, temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)  # a full disk needs the room
        raise
    return temporary


def _link(source: Path, target: Path) -> None:
    """Give `source` a second name, atomically; a copy where the file system has no hard links."""
    temporary = target.with_suffix(".writing2")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(source)
    except OSError:
        temporary.write_bytes(source.read_bytes())
    temporary.replace(target)
