"""Files of a run as W&B artifacts: the program, and on request the final weights and predictions."""

import io
import json
import zipfile
from pathlib import Path

import wandb

from wrnexp.process.terminal import warn
from wrnexp.runs.digests import FileState, file_state
from wrnexp.runs.provenance import code_digest
from wrnexp.runs.record import Record, write_atomic

SAVED = {".py", ".yaml", ".j2", ".css", ".js"}
RESULTS = (("model", "model.safetensors"), ("predictions", "predictions.npz"))


def log_code(run: wandb.Run, source: Path, folder: Path) -> None:
    """Log the program's files as one artifact, which the server keeps once however many runs have it.

    They are one archive, for hundreds of small files would keep a run from ending; it is made once for all runs of
    W&B's folder, and stays there, for an offline run's must still be those that ran when it is published.

    Args:
        run: to log to.
        source: the program's package.
        folder: W&B's, on this machine.
    """
    artifact = wandb.Artifact(source.name, "source")  # the type `code` is W&B's own
    archive = _kept(source, folder)
    artifact.add_file(str(archive), archive.name, policy="immutable", skip_cache=True)
    run.log_artifact(artifact)


def log_results(run: wandb.Run, record: Record, folder: Path) -> None:
    """Log the final weights and predictions; online they descend from an artifact with the data's digest.

    Each W&B run has artifacts of its own names, and the server takes the same contents for the same version: however
    often a run is published, there is one version.
    """
    data = {} if record.data is None else {"name": record.data.name, "digest": record.data.digest}
    facts = {"run_id": record.run_id, "arm_id": record.arm_id, "label": record.label, "seed": record.seed, "data": data}
    for kind, name in RESULTS:
        state = file_state(folder, record, name)
        if state is FileState.DAMAGED:
            warn(f"W&B: {folder / name} is damaged: its content is not what the run wrote; left out")
        elif (folder / name).is_file():
            artifact = wandb.Artifact(f"{kind}-{run.id}", kind, metadata=facts | {"metrics": record.metrics})
            artifact.add_file(str(folder / name), name, policy="immutable", skip_cache=True)
            run.log_artifact(artifact)
    if data and not run.offline:  # the SDK does not take inputs offline; the metadata tell it there
        run.use_artifact(_data(record))


def _data(record: Record) -> wandb.Artifact:
    """Return an artifact that stands for the data set: its digests, not its images."""
    assert record.data is not None
    told = {"name": record.data.name, "digest": record.data.digest}
    artifact = wandb.Artifact(f"data-{record.data.name}", "dataset", metadata=told)
    with artifact.new_file("digest.json") as file:
        json.dump(told, file, indent=1)
    return artifact


def _kept(source: Path, folder: Path) -> Path:
    """Return the archive of the program's files in W&B's folder; the same files make the same bytes."""
    kept = folder / f"{source.name}-{code_digest(source)}.zip"
    if not kept.is_file():
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in source.rglob("*") if path.suffix in SAVED):
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(source.parent))), path.read_bytes())
        write_atomic(kept, made.getvalue())
    return kept
