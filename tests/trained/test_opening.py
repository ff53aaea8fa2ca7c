"""Opening a completed run again: what is loaded, and one line for what cannot be."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file

from tests.damage import broken, flipped
from wrnexp import app
from wrnexp.data import load
from wrnexp.errors import UserError
from wrnexp.runs.record import read_record
from wrnexp.trained import dataset, hardware, network, open_run, opening

HEADER = 4096  # bytes of a safetensors file that name and place its tensors, about
FOREIGN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, hidden, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3072, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))

    def forward(self, images):
        return self.layers(images)
"""


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    raw = json.loads((folder / "record.json").read_text())
    edit(raw)
    (folder / "record.json").write_text(json.dumps(raw))


def refused(folder: Path, words: str, allow: Sequence[str] = ()) -> None:
    with pytest.raises(UserError, match=words) as told:
        open_run(folder, allow=allow)
    assert "\n" not in str(told.value)


def test_the_network_has_the_runs_weights(trained_run: Path) -> None:
    run = open_run(trained_run)
    kept = load_file(trained_run / "model.safetensors")
    assert run.model.state_dict().keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in run.model.state_dict().items())
    assert not run.model.training
    other = network(run.record, run.signature).state_dict()
    assert not torch.equal(other["stem.weight"], kept["stem.weight"])


def test_the_record_tells_the_signature(trained_run: Path) -> None:
    data = load("shapes", None, 0, 96, 48, False)
    told = open_run(trained_run).signature
    assert (tuple(told.classes), told.mean, told.std) == (data.classes, data.mean, data.std)
    assert told.image_size == 32


def test_a_record_without_a_signature_takes_it_from_the_data_set(trained_run: Path, copied_run: Path) -> None:
    change(copied_run, lambda raw: raw["data"].pop("signature"))
    assert read_record(copied_run).data.signature is None  # type: ignore[union-attr]
    assert open_run(copied_run).signature == open_run(trained_run).signature


def test_runs_that_cannot_be_opened(copied_run: Path, tmp_path: Path) -> None:
    refused(tmp_path, r"has no record\.json: give the folder of a run")
    (copied_run / "model.safetensors").unlink()
    refused(copied_run, r"model\.safetensors is not there")
    (copied_run / "model.safetensors").write_bytes(b"no weights")
    refused(copied_run, r"model\.safetensors is damaged: .*; give the run's command again: it writes the file from")
    change(copied_run, lambda raw: raw["files"].clear())  # as records of earlier versions
    refused(copied_run, r"model\.safetensors cannot be read")
    change(copied_run, lambda raw: raw["config"].pop("model"))
    refused(copied_run, "its config has no group model")
    change(copied_run, lambda raw: raw.update(status="interrupted"))
    refused(copied_run, "is interrupted, not completed, .* the command that started it, given again")
    change(copied_run, lambda raw: raw.update(schema_version=99))
    refused(copied_run, r"record\.json cannot be used: schema version 99 is newer")
    (copied_run / "record.json").write_text("{")
    refused(copied_run, "not valid JSON")


def test_weights_that_do_not_fit(copied_run: Path) -> None:
    path = copied_run / "model.safetensors"
    change(copied_run, lambda raw: raw["files"].clear())
    weights = load_file(path)
    save_file({name: value for name, value in weights.items() if name != "classifier.bias"}, path)
    refused(copied_run, r'does not fit the network that the record describes: Missing key.* "classifier\.bias"')
    save_file(weights | {"classifier.bias": torch.zeros(5)}, path)
    refused(copied_run, r"size mismatch for classifier\.bias")


def test_a_network_much_larger_than_its_weights_takes_no_memory(copied_run: Path) -> None:
    change(copied_run, lambda raw: raw["config"]["model"].update(width=10_000))  # 10 TB
    refused(copied_run, r"model\.safetensors does not fit the network that the record describes: that has \d")


@pytest.mark.parametrize("side", [-1, 0, 4097, 10**30])
def test_impossible_images_are_refused(copied_run: Path, side: int) -> None:
    change(copied_run, lambda raw: raw["data"]["signature"].update(image_size=side))
    refused(copied_run, f"images of {side} pixels a side, not of 1 to 4096")


def test_images_are_not_divided_by_zero(copied_run: Path) -> None:
    change(copied_run, lambda raw: raw["data"]["signature"].update(std=[0.2, 0, 0.2]))
    refused(copied_run, r"normalises images by \(0\.2, 0(\.0)?, 0\.2\)")


def problem(folder: Path) -> str:
    """Return why a run cannot be opened; empty where it can."""
    try:
        open_run(folder)
    except UserError as error:
        return str(error)
    return ""


def noticed(folder: Path, damage: Iterable[bytes]) -> int:
    """Count the copies of the weights that are refused as damaged."""
    count = 0
    for data in damage:
        (folder / "model.safetensors").write_bytes(data)
        count += "model.safetensors is damaged: its content is not what the run wrote" in problem(folder)
    return count


def test_damaged_weights_are_noticed(copied_run: Path) -> None:
    data = (copied_run / "model.safetensors").read_bytes()
    assert noticed(copied_run, flipped(data, 25, seed=0, header=HEADER)) == 25
    damages = [damage for _, damage in broken(data, seed=1)]
    assert noticed(copied_run, damages) == len(damages)


@pytest.mark.slow
def test_of_250_flipped_bits_in_weights_all_are_noticed(copied_run: Path) -> None:
    data = (copied_run / "model.safetensors").read_bytes()
    count = noticed(copied_run, flipped(data, 250, seed=2, header=HEADER))
    print(f"model.safetensors: {count} of 250 flipped bits noticed")
    assert count == 250


@pytest.mark.parametrize("seed", range(2))
def test_damaged_weights_without_a_digest_are_one_line_or_load(copied_run: Path, seed: int) -> None:
    data = (copied_run / "model.safetensors").read_bytes()
    change(copied_run, lambda raw: raw["files"].clear())
    for damage in [*flipped(data, 25, seed, header=HEADER), *(damage for _, damage in broken(data, seed))]:
        (copied_run / "model.safetensors").write_bytes(damage)
        assert "\n" not in problem(copied_run)


def test_a_folder_in_the_place_of_the_weights(copied_run: Path) -> None:
    (copied_run / "model.safetensors").unlink()
    (copied_run / "model.safetensors").mkdir()
    refused(copied_run, r"model\.safetensors is damaged")
    change(copied_run, lambda raw: raw["files"].clear())
    refused(copied_run, r"model\.safetensors cannot be read")


def test_a_config_of_another_version(copied_run: Path) -> None:
    change(copied_run, lambda raw: raw["config"]["model"].update(cardinality=8))
    refused(copied_run, r"WideResNet cannot be made from the config in the run's record: .*cardinality")


def test_other_images_than_the_runs(copied_run: Path) -> None:
    change(copied_run, lambda raw: raw["data"]["digest"].update(test="0123456789abcdef"))
    with pytest.raises(UserError, match=r"are not those of the run: .* the record has test 01234567"):
        dataset(open_run(copied_run).record)


def test_a_network_of_the_users_own(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign_net.py").write_text(FOREIGN)
    (tmp_path / "run.py").touch()
    monkeypatch.setattr(sys, "path", list(sys.path))
    cfg = tiny("optim.epochs=1", "optim.schedule.warmup_epochs=0")
    cfg.model = OmegaConf.create({"_target_": "foreign_net.Net", "_partial_": True, "hidden": 4})
    with monkeypatch.context() as training:
        training.syspath_prepend(str(tmp_path))
        app.run(cfg, tmp_path / "run")
    del sys.modules["foreign_net"]
    allow = ["foreign_net.Net", "nowhere_net.Net"]
    refused(tmp_path / "run", r"foreign_net\.Net cannot be imported .*No module named 'foreign_net'", allow)
    monkeypatch.setattr(opening, "ROOT", tmp_path)  # the folder of run.py, which python puts on its path for it
    run = open_run(tmp_path / "run", allow=allow)
    assert type(run.model).__module__ == "foreign_net"
    change(tmp_path / "run", lambda raw: raw["config"]["model"].update(_target_="nowhere_net.Net"))
    refused(tmp_path / "run", r"model\._target_=nowhere_net\.Net cannot be imported", allow)


def test_a_record_that_does_not_tell_its_arithmetic_is_computed_by_its_config(trained_run: Path) -> None:
    record = read_record(trained_run)
    del record.provenance["precision"]
    assert hardware(record, "cpu").precision == "fp32"


def test_the_arithmetic_of_the_run(trained_run: Path) -> None:
    record = read_record(trained_run)
    record.config["trainer"]["precision"], record.provenance["precision"] = "auto", "bf16"
    assert hardware(record, "cpu").precision == "bf16"
    record.provenance["device_type"] = "cuda"
    record.config["trainer"]["precision"] = "fp32"
    assert hardware(record, "cpu").precision == "fp32"
    with pytest.raises(UserError, match=r"--device=tpu9? is not a device"):
        hardware(record, "tpu9")
