"""The life of a run's folder: whose it is, what is resumed there, and what is complete already."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from wrnexp import identity, provenance
from wrnexp.data import Dataset
from wrnexp.digests import damaged_files
from wrnexp.engine import Checkpoints
from wrnexp.errors import UserError
from wrnexp.launch.naming import Job
from wrnexp.objects import external_code, make
from wrnexp.ownership import RESTORE, require_no_results, require_own_checkpoint, require_same_data
from wrnexp.provenance import Programs
from wrnexp.records import SCHEMA_VERSION, Record, read_metrics, write_record
from wrnexp.terminal import Terminal, printable
from wrnexp.tracking import retell
from wrnexp.tracking.console import print_summary


@dataclass(frozen=True)
class Saved:
    """What a checkpoint says of the run so far.

    Attributes:
        epochs: that are complete in it.
        data: content digest of each split that the run began with; empty where earlier versions wrote it.
        programs: that trained these epochs, as `provenance.Programs` has them.
    """

    epochs: int = 0
    data: Mapping[str, str] = field(default_factory=dict)
    programs: Sequence[Mapping[str, Any]] = ()

    @property
    def program(self) -> Mapping[str, Any]:
        """The last of the programs."""
        return self.programs[-1] if self.programs else {}


def claim_folder(
    checkpoints: Checkpoints, folder: Path, config: dict[str, Any], earlier: Record | None
) -> Saved | None:
    """Read the checkpoint, before anything is written; None if there is none.

    Raises:
        UserError: the folder holds another run, or results that would be lost.
    """
    about = checkpoints.open()
    if not about and earlier is None:
        require_no_results(folder, checkpoints.last)
    if about is None:
        if earlier is not None and earlier.status == "completed":
            raise UserError(f"there is no checkpoint in {folder} to write its damaged files from: {RESTORE}")
        return None
    require_own_checkpoint(checkpoints.last, about, config)
    if about or earlier is None:
        return Saved(checkpoints.epochs, about["data"], about["programs"])
    # A checkpoint of an earlier version; the record has the last program only.
    data = {} if earlier.data is None else earlier.data.digest
    return Saved(checkpoints.epochs, data, [earlier.provenance | {"epochs": [1, checkpoints.epochs]}])


@contextmanager
def keep_completed(earlier: Record | None, folder: Path) -> Iterator[None]:
    """Put the record of a completed run back if writing its damaged files again fails."""
    try:
        yield
    except BaseException:
        if earlier is not None and earlier.status == "completed":
            write_record(folder, earlier)
        raise


def new_record(config: dict[str, Any], job: Job, earlier: Record | None) -> Record:
    """Return the record of a run that starts or resumes in this process.

    Args:
        config: resolved; may be wrong.
        job: what is known of the command.
        earlier: the record that was in the folder.
    """
    seed, label = config["seed"], config["label"] or job.recipe
    return Record(
        run_id=identity.run_id(config),
        arm_id=identity.arm_id(config),
        label=str(label),
        sweep=job.sweep,
        seed=seed if isinstance(seed, int) else -1,  # a wrong config has a record too: a failed one
        overrides=job.overrides,
        config=config,
        provenance={"recipe": job.recipe} | provenance.collect(Path(__file__).parent) | _begun(earlier),
    )


def _begun(earlier: Record | None) -> dict[str, Any]:
    """Return when a run that is resumed was first started, when it was resumed, and which W&B run is its own.

    That is the agent's where a W&B sweep's agent asks, from the record's first byte on: a run that ends before W&B was
    reached is published as the agent's too.
    """
    agents = provenance.agents_run()
    known: dict[str, Any] = {} if earlier is None else earlier.provenance | {"resumed": provenance.now()}
    if agents is not None:
        known["wandb_run"] = agents
    return {name: known[name] for name in ("started", "resumed", "wandb_run") if name in known}


def training_programs(record: Record, saved: Saved, *, say: bool) -> Programs:
    """Return the programs that train the run; say in one line what differs from the one before."""
    record.provenance["external_code"] = external_code(record.config)
    programs = Programs(saved.programs, record.provenance, saved.epochs + 1)
    if say and (changes := programs.changes):
        texts = [f"{key} {then} then, {now} now" for key, (then, now) in changes.items()]
        line = (
            f"the epochs so far were trained by another program or machine ({'; '.join(texts)}): results may differ "
            "from those of an uninterrupted run; record.json has both under provenance.programs"
        )
        print(printable(line), file=sys.stderr)
    return programs


def describe_checkpoint(record: Record, programs: Programs, epochs: int) -> dict[str, Any]:
    """Return what a checkpoint says of its run once `epochs` epochs are begun."""
    assert record.data is not None
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": record.run_id,
        "config": identity.effective(record.config),
        "data": dict(record.data.digest),
        "programs": programs.upto(epochs),
    }


def completed_record(cfg: DictConfig, folder: Path, job: Job, record: Record | None) -> Record | None:
    """Return the record of a run that is complete, after saying so to all who wait for it.

    None where it is not, or where its files are damaged: then they are written again.

    Raises:
        UserError: the images are not those of the run.
    """
    if record is None or record.status != "completed":
        return None
    if record.data is not None and not identity.has_known_content(record.config):
        data: Dataset = make(cfg.data, "data")
        require_same_data(folder, record.data.digest, data.digest)
    if damaged := damaged_files(folder, record):
        names = ", ".join(damaged)
        print(printable(f"{folder}: damaged, and written again from the checkpoint: {names}"), file=sys.stderr)
        return None
    terminal = Terminal()
    line = (
        f"complete already, {len(read_metrics(folder))} epochs: {folder} (rerun=true trains it again in a new folder)"
    )
    terminal.print(printable(line))
    print_summary(terminal, record)
    _retell(cfg, record, folder, job)
    return record


def _retell(cfg: DictConfig, record: Record, folder: Path, job: Job) -> None:
    """Give a W&B sweep's agent the result that it waits for: its W&B run becomes that of the complete run."""
    agents, node = provenance.agents_run(), OmegaConf.select(cfg, "tracking.wandb")
    if agents is None or node is None:
        return
    record.provenance["wandb_run"] = agents
    # No code: the program that trained the run may have been another.
    given = {"record": record, "shared": job.shared or folder.parent, "folder": folder, "code": False}
    retell(partial(make, node, "tracking.wandb", **given), record, folder)
