"""A completed run opened again: its network with its weights, what the network takes and gives, and its data set."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.parameter import is_lazy

from wrnexp.data import Dataset
from wrnexp.data import signature as signature_of
from wrnexp.engine import Hardware
from wrnexp.errors import UserError, one_line
from wrnexp.hydra_app.instantiate import make
from wrnexp.runs.digests import FileState, file_state
from wrnexp.runs.files import open_regular
from wrnexp.runs.record import Record, RecordError, Signature, read_record
from wrnexp.trained.allowed_targets import check_targets
from wrnexp.trained.classifier import Classifier

ROOT = Path(__file__).parents[2]
WEIGHTS = "model.safetensors"
LARGEST = 4096  # pixels a side of images
SPARE = 1 << 30  # bytes


@dataclass(frozen=True)
class Trained:
    """A completed run with its network.

    Attributes:
        folder: of the run.
        record: its record.
        model: the network, float32, on the CPU, in evaluation mode; takes normalised images.
        signature: what it takes and gives.
        allow: dotted paths that its record may name besides what is built in.
    """

    folder: Path
    record: Record
    model: nn.Module
    signature: Signature
    allow: tuple[str, ...] = ()

    @property
    def classifier(self) -> Classifier:
        """The network with the normalisation in front, in evaluation mode; it shares the weights."""
        return Classifier(self.model, self.signature.mean, self.signature.std).eval()


def open_run(folder: Path, root: str | None = None, allow: Collection[str] = ()) -> Trained:
    """Open a completed run.

    Of what the record's config names, only classes of `wrnexp.models`, layers of `torch.nn` and `wrnexp.data.load` are
    made: a record may come from anyone.

    Args:
        folder: of the run.
        root: in place of the record's `data.root`; used for records that do not hold the network's signature.
        allow: dotted paths of other classes and functions that the record's `model` and `data` may name.

    Raises:
        UserError: there is no record, or none that can be used, the run is not completed, its record names something
            that is not allowed (nothing was imported or run then), its network cannot be made from the record's config,
            or the weights are damaged, not there or do not fit it.
    """
    record, allow = _completed(folder), tuple(allow)
    for group in ("model", "data"):
        check_targets(record.config[group], group, allow)
    _check_weights(folder, record)
    _see_what_run_py_sees()
    signature = (record.data and record.data.signature) or signature_of(dataset(record, root, allow))
    _check_sizes(folder, record, signature)
    model = load_weights(network(record, signature, allow), folder / WEIGHTS)
    return Trained(folder, record, model.eval(), signature, allow)


def network(record: Record, signature: Signature, allow: Collection[str] = ()) -> nn.Module:
    """Make a run's network with new weights.

    Args:
        record: of the run.
        signature: what the network takes and gives.
        allow: as in `open_run`.

    Raises:
        UserError: the config in the record names something that is not allowed, or does not make a network, for another
            version of the program may have written it.
    """
    model: nn.Module = _made(record, "model", {}, allow, num_classes=len(signature.classes))
    return model


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load a safetensors file into a network; every weight must have its place.

    Raises:
        UserError: the file cannot be read, or the weights do not fit.
    """
    try:
        with open_regular(path):
            model.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there: the run's weights are needed") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)})") from error
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the network that the record describes: {_first_misfit(error)}") from error
    return model


def dataset(record: Record, root: str | None = None, allow: Collection[str] = ()) -> Dataset:
    """Make a run's data set again.

    Args:
        record: of the run.
        root: in place of the record's `data.root`.
        allow: as in `open_run`.

    Raises:
        UserError: the config in the record names something that is not allowed, the data set is not there, or its
            images are not those of the run.
    """
    data: Dataset = _made(record, "data", {} if root is None else {"root": root}, allow)
    if record.data is not None and dict(data.digest) != record.data.digest:
        place = record.config["data"].get("root") if root is None else root
        raise UserError(
            f"the images of {data.name} at data.root={place} are not those of the run: their digests are "
            f"{_short(data.digest)}, the record has {_short(record.data.digest)}"
        )
    return data


def hardware(record: Record, device: str) -> Hardware:
    """Return where and how to compute: on the run's kind of device as the run did, on another by its config.

    Args:
        record: of the run.
        device: `auto`, `cpu`, `cuda`, `cuda:<index>` or `mps`.

    Raises:
        UserError: the device is not there.
    """
    trainer, past = record.config["trainer"], record.provenance
    try:
        found = Hardware.settle(device, trainer.get("precision", "auto"), trainer.get("channels_last"), compile=False)
        if found.device.type == past.get("device_type") and {"precision", "channels_last"} <= past.keys():
            return Hardware.settle(device, past["precision"], past["channels_last"], compile=False)
        return found
    except UserError as error:
        raise UserError(str(error).replace("trainer.device", "--device")) from error


def _made(record: Record, group: str, changes: Mapping[str, Any], allow: Collection[str], **keywords: Any) -> Any:
    """Make a group of a record's config; what goes wrong is the user's affair: another version may have written it."""
    node = record.config[group]
    check_targets(node, group, allow)
    try:
        return make(node | changes, group, **keywords)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{node.get('_target_')} cannot be made from the config in the run's record: {one_line(error)}"
        ) from error


def _completed(folder: Path) -> Record:
    try:
        record = read_record(folder)
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no record.json: give the folder of a run") from error
    except (RecordError, OSError) as error:
        raise UserError(f"{folder / 'record.json'} cannot be used: {error}") from error
    if record.status != "completed":
        raise UserError(
            f"the run in {folder} is {record.status}, not completed, and has no final weights: the command that "
            "started it, given again, goes on with it"
        )
    if missing := [group for group in ("model", "data", "trainer") if not isinstance(record.config.get(group), dict)]:
        raise UserError(f"{folder / 'record.json'} cannot be used: its config has no group {missing[0]}")
    return record


def _check_weights(folder: Path, record: Record) -> None:
    if file_state(folder, record, WEIGHTS) is FileState.DAMAGED:
        raise UserError(
            f"{folder / WEIGHTS} is damaged: its content is not what the run wrote; give the run's command again: it "
            "writes the file from the checkpoint; or restore it from a copy"
        )


def _check_sizes(folder: Path, record: Record, signature: Signature) -> None:
    """Refuse images that cannot be, and a network that would take all memory, unless it is the user's own.

    Raises:
        UserError: a standard deviation is not above 0, images are larger than `LARGEST`, or the network is larger than
            its weights by more than `SPARE`.
    """
    if min(signature.std) <= 0:
        raise UserError(f"the run's record normalises images by {signature.std}, and none of these may be 0 or less")
    if not 1 <= signature.image_size <= LARGEST:
        raise UserError(f"the run's record names images of {signature.image_size} pixels a side, not of 1 to {LARGEST}")
    try:
        with torch.device("meta"):  # shapes alone
            tensors = network(record, signature).state_dict().values()
        stored = (folder / WEIGHTS).stat().st_size
    except (UserError, OSError):  # what is wrong is said where the network is made, and the weights are read
        return
    size = sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor) and not is_lazy(tensor))
    if size > stored + SPARE:
        raise UserError(
            f"{folder / WEIGHTS} does not fit the network that the record describes: that has {size:,} bytes of "
            f"weights, the file {stored:,}"
        )


def _see_what_run_py_sees() -> None:
    """Let modules beside run.py be found, as they are in training; `wrnexp` as a console script starts elsewhere."""
    if (ROOT / "run.py").is_file() and str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))


def _first_misfit(error: RuntimeError) -> str:
    """Return the first complaint of `load_state_dict`, which has a line of its own below the heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 else one_line(error)


def _short(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{split} {digest[:8]}" for split, digest in sorted(digests.items()))
