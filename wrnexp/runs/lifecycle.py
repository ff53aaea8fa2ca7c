"""The life of a run's folder: whose it is, what is resumed there, and what is complete already."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from wrnexp.config import identity
from wrnexp.errors import UserError
from wrnexp.process.terminal import warn
from wrnexp.runs import provenance
from wrnexp.runs.invocation import Invocation
from wrnexp.runs.ownership import (
    RESTORE,
    RESULTS,
    require_no_results,
    require_own_checkpoint,
    require_same_data,
    results_to_repair,
    set_aside,
)
from wrnexp.runs.provenance import PROGRAM, Programs
from wrnexp.runs.record import SCHEMA_VERSION, Record, write_record


class CheckpointReader(Protocol):
    """The checkpoints of a run, as `engine.Checkpoints` reads them."""

    opened: Path
    epochs: int
    begun: int

    def open(self, *, required: bool) -> Mapping[str, Any] | None:
        """Read the last state; return what it says of its run, None without one."""


class Images(Protocol):
    """The images of a run, as `data.Dataset` has them: SHA-256 by split, and the names of the classes."""

    @property
    def digest(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def classes(self) -> Sequence[str]: ...  # noqa: D102


@dataclass(frozen=True)
class ResumeState:
    """What a checkpoint says of the run so far.

    Attributes:
        epochs: that are complete in it.
        data: content digest of each split that the run began with; empty where it is not known.
        classes: names of the classes that it began with; empty where they are not known.
        programs: that trained these epochs, as `provenance.Programs` has them.
    """

    epochs: int = 0
    data: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    programs: Sequence[Mapping[str, Any]] = ()

    @property
    def program(self) -> Mapping[str, Any]:
        """The last of the programs."""
        return self.programs[-1] if self.programs else {}


def claim_folder(
    checkpoints: CheckpointReader, folder: Path, config: dict[str, Any], earlier: Record | None
) -> ResumeState | None:
    """Read the checkpoint, before anything is written; None if there is none.

    Folders in the place of results are renamed, with a line on stderr: training would end at the first one.

    Raises:
        UserError: the folder holds another run, or results that would be lost.
    """
    saved = _read_checkpoint(checkpoints, folder, config, earlier)
    for path in (folder / name for name in RESULTS):
        if path.is_dir():
            warn(f"{path} is a folder in the place of a file and was renamed to {set_aside(path).name}")
    return saved


def _read_checkpoint(
    checkpoints: CheckpointReader, folder: Path, config: dict[str, Any], earlier: Record | None
) -> ResumeState | None:
    completed = earlier is not None and earlier.status == "completed"
    about = checkpoints.open(required=completed)
    if not about and earlier is None:
        require_no_results(folder, checkpoints.opened)
    if about is None:
        if completed:
            raise UserError(f"there is no checkpoint in {folder} to write its damaged files from: {RESTORE}")
        if earlier is not None and earlier.cost.steps:
            line = f"{folder} has no checkpoint any more: training starts again, {earlier.cost.steps} steps are lost"
            warn(line)
        return None
    require_own_checkpoint(checkpoints.opened, about, checkpoints.epochs, config)
    if about or earlier is None:
        return ResumeState(checkpoints.epochs, about["data"], about["classes"], about["programs"])
    return _saved_by_earlier_version(checkpoints, earlier)


def _saved_by_earlier_version(checkpoints: CheckpointReader, record: Record) -> ResumeState:
    """Return what the record says, for a checkpoint that says nothing: of the programs it has the last one."""
    signature = record.data and record.data.signature
    program = {key: record.provenance[key] for key in PROGRAM if key in record.provenance}
    programs = record.provenance.get("programs") or [program | {"epochs": [1, checkpoints.begun]}]
    if not provenance.are_programs(programs):
        warn("the record does not say which programs trained the epochs so far: its provenance was changed by hand")
        programs = []
    return ResumeState(
        checkpoints.epochs,
        data=record.data.digest if record.data else {},
        classes=signature.classes if signature else (),
        programs=programs,
    )


@contextmanager
def keep_completed(earlier: Record | None, folder: Path) -> Iterator[None]:
    """Put the record of a completed run back if writing its damaged files again fails."""
    try:
        yield
    except BaseException:
        if earlier is not None and earlier.status == "completed":
            write_record(folder, earlier)
        raise


def new_record(
    config: dict[str, Any], invocation: Invocation, earlier: Record | None, saved: ResumeState | None
) -> Record:
    """Return the record of a run that starts or resumes in this process.

    One that resumes keeps what the earlier record says of data, figures and programs: this process may end before it
    has them.

    Args:
        config: resolved; may be wrong.
        invocation: the command.
        earlier: the record that was in the folder.
        saved: of the checkpoint; None if there is none.
    """
    seed, label = config["seed"], config["label"] or invocation.recipe
    resumed: dict[str, Any] = {}
    if earlier is not None and saved is not None:
        copy = earlier.model_copy(deep=True)
        resumed = {name: getattr(copy, name) for name in ("data", "metrics", "cost", "time_to", "test_looks")}
    programs = [] if saved is None else [dict(program) for program in saved.programs]
    return Record(
        **resumed,
        run_id=identity.run_id(config),
        arm_id=identity.arm_id(config),
        label=str(label),
        sweep=invocation.sweep,
        seed=seed if isinstance(seed, int) else -1,  # a wrong config has a record too: a failed one
        overrides=invocation.overrides,
        config=config,
        provenance={"recipe": invocation.recipe}
        | provenance.collect(Path(__file__).parents[1])
        | _begun(earlier)
        | {"programs": programs},
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


def training_programs(record: Record, saved: ResumeState, external_code: Mapping[str, str], *, say: bool) -> Programs:
    """Return the programs that train the run; say in one line what differs from the one before."""
    record.provenance["external_code"] = dict(external_code)
    programs = Programs(saved.programs, record.provenance, saved.epochs + 1)
    if say and (changes := programs.changes):
        texts = [f"{key} {then} then, {now} now" for key, (then, now) in changes.items()]
        line = (
            f"the epochs so far were trained by another program or machine ({'; '.join(texts)}): results may differ "
            "from those of an uninterrupted run; record.json has both under provenance.programs"
        )
        warn(line)
    return programs


def describe_checkpoint(record: Record, programs: Programs, epochs: int) -> dict[str, Any]:
    """Return what a checkpoint says of its run once `epochs` epochs are begun."""
    assert record.data is not None
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": record.run_id,
        "config": identity.identity_config(record.config),
        "data": dict(record.data.digest),
        "classes": record.data.signature.classes if record.data.signature else [],
        "programs": programs.upto(epochs),
    }


def completed_record(
    config: Mapping[str, Any], folder: Path, record: Record | None, load_images: Callable[[], Images]
) -> Record | None:
    """Return the record of a run that is complete.

    None where it is not, or where its files are damaged: then they are written again.

    Raises:
        UserError: the images are not those of the run.
    """
    if record is None or record.status != "completed":
        return None
    _compare_images(config, folder, record, load_images)
    if names := results_to_repair(folder, record):
        line = f"{folder}: damaged or absent, to be written again from the checkpoint: {', '.join(names)}"
        warn(line)
        return None
    return record


def _compare_images(config: Mapping[str, Any], folder: Path, record: Record, load_images: Callable[[], Images]) -> None:
    """Compare the images of a completed run with those that are there now, if their name does not say which they are.

    Raises:
        UserError: they are others.
    """
    if record.data is None or identity.has_known_content(record.config):
        return
    data = config.get("data")
    root = data.get("root") if isinstance(data, Mapping) else None
    if isinstance(root, str) and not Path(root).expanduser().exists():
        line = f"{folder}: data.root={root} is not there: that its images are those of the run was not checked"
        warn(line)
        return
    images = load_images()
    classes = record.data.signature.classes if record.data.signature else ()
    require_same_data(folder, record.data.digest, images.digest, classes, images.classes)
