"""A run's W&B artifacts: the source code and, optionally, the final weights and predictions."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from wrnexp.process.terminal import warn
from wrnexp.runs.digests import FileState, file_state
from wrnexp.runs.provenance import code_digest
from wrnexp.runs.record import Record, write_atomic

SAVED = {".py", ".yaml", ".j2", ".css", ".js"}
RESULTS = (("model", "model.safetensors"), ("predictions", "predictions.npz"))


def log_code(run: wandb.Run, source: Path, folder: Path) -> None:
    """Log the package `source` as one artifact, which the server stores once for all runs.

    It is a single archive because uploading hundreds of small files delays the end of a run. The archive is shared by
    all runs of W&B's local `folder` and never deleted: an offline run is uploaded later, with the code that ran.
    """
    artifact = wandb.Artifact(source.name, "source")  # W&B reserves the type `code`
    archive = _code_archive(source, folder)
    artifact.add_file(str(archive), archive.name, policy="immutable", skip_cache=True)
    run.log_artifact(artifact)


def log_results(run: wandb.Run, record: Record, folder: Path) -> None:
    """Log the final weights and predictions; online, an artifact with the data's digest is declared as their input.

    The names contain the W&B run's id and the server versions artifacts by content, so that logging the same files
    again adds no version.
    """
    data = {} if record.data is None else {"name": record.data.name, "digest": record.data.digest}
    facts = {"run_id": record.run_id, "arm_id": record.arm_id, "label": record.label, "seed": record.seed, "data": data}
    for kind, name in RESULTS:
        state = file_state(folder, record, name)
        if state is FileState.DAMAGED:
            warn(f"W&B: {folder / name} is damaged: its content is not what the run wrote; not uploaded")
        elif (folder / name).is_file():
            artifact = wandb.Artifact(f"{kind}-{run.id}", kind, metadata=facts | {"metrics": record.metrics})
            artifact.add_file(str(folder / name), name, policy="immutable", skip_cache=True)
            run.log_artifact(artifact)
    if data and not run.offline:  # the SDK has no input artifacts offline; the metadata name the data instead
        run.use_artifact(_data_artifact(data))


def _data_artifact(data: Mapping[str, Any]) -> wandb.Artifact:
    """Return an artifact that holds the data set's name and digests, not its images."""
    artifact = wandb.Artifact(f"data-{data['name']}", "dataset", metadata=dict(data))
    with artifact.new_file("digest.json") as file:
        json.dump(data, file, indent=1)
    return artifact


def _code_archive(source: Path, folder: Path) -> Path:
    """Return the path of the archive of `source` in `folder`, written if missing; reproducible byte for byte."""
    archive_path = folder / f"{source.name}-{code_digest(source)}.zip"
    if not archive_path.is_file():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in source.rglob("*") if path.suffix in SAVED):
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(source.parent))), path.read_bytes())
        write_atomic(archive_path, buffer.getvalue())
    return archive_path
