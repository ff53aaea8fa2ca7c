"""A run's folder and another config, other data, another program, damaged files."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from PIL import Image

from tests.stopping_halfway import interrupting
from wrnexp import app
from wrnexp.config import identity
from wrnexp.data import datasets
from wrnexp.engine.sealed import load_sealed, save_sealed
from wrnexp.errors import UserError
from wrnexp.hydra_app.naming import app_config
from wrnexp.runs import provenance
from wrnexp.runs.cache import cache_folder
from wrnexp.runs.digests import damaged_files
from wrnexp.runs.journal import Journal, Row
from wrnexp.runs.record import read_metrics, read_record, write_record

Tiny = Callable[..., DictConfig]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return all that is in a folder, but for locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and "lock" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def interrupt(config: DictConfig, folder: Path, epoch: int = 1, step: int = 2) -> None:
    with interrupting(epoch, step), pytest.raises(KeyboardInterrupt):
        app.run(config, folder)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("overrides", [["optim.lr=0.2"], ["seed=9"], ["model.dropout=0.1", "optim.epochs=3"]])
def test_a_complete_run_is_not_taken_for_another(tiny: Tiny, copied_run: Path, overrides: list[str]) -> None:
    before = snapshot(copied_run)
    with pytest.raises(UserError) as error:
        app.run(tiny(*overrides), copied_run)
    assert all(override.split("=")[0] in str(error.value) for override in overrides)
    assert identity.run_id(app_config(tiny(*overrides))) in str(error.value)
    assert snapshot(copied_run) == before


def test_rerun_touches_nothing_in_a_folder_that_holds_a_run(tiny: Tiny, copied_run: Path) -> None:
    before = snapshot(copied_run)
    for overrides in (["rerun=true"], ["rerun=true", "seed=2"]):
        with pytest.raises(UserError, match="rerun=true trains in a new folder"):
            app.run(tiny(*overrides), copied_run)
    assert snapshot(copied_run) == before


def test_a_rerun_that_was_interrupted_resumes_in_its_folder(tiny: Tiny, tmp_path: Path, trained_run: Path) -> None:
    interrupt(tiny("rerun=true"), tmp_path / "run")
    assert app.run(tiny("rerun=true"), tmp_path / "run").status == "completed"
    assert weights(tmp_path / "run") == weights(trained_run)


def test_keys_without_effect_may_change_between_two_processes(tiny: Tiny, tmp_path: Path, trained_run: Path) -> None:
    interrupt(tiny("label=first"), tmp_path / "run")
    record = app.run(tiny("label=second", "loader.workers=1", "trainer.checkpoint_seconds=0"), tmp_path / "run")
    assert (record.status, record.label) == ("completed", "second")
    assert weights(tmp_path / "run") == weights(trained_run)


def test_a_checkpoint_says_whose_it_is_where_the_record_is_gone(tiny: Tiny, tmp_path: Path) -> None:
    interrupt(tiny(), tmp_path)
    (tmp_path / "record.json").unlink()
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=r"last\.pt is of run .* they differ in optim\.weight_decay"):
        app.run(tiny("optim.weight_decay=0"), tmp_path)
    assert snapshot(tmp_path) == before
    assert app.run(tiny(), tmp_path).status == "completed"


def test_results_without_record_and_checkpoint_are_not_overwritten(tiny: Tiny, copied_run: Path) -> None:
    shutil.rmtree(copied_run / "checkpoints")
    (copied_run / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"holds metrics\.jsonl, predictions\.npz, model\.safetensors"):
        app.run(tiny(), copied_run)
    assert (copied_run / "record.json.damaged").read_text() == "{"
    assert not (copied_run / "record.json").exists()


def test_a_folder_of_a_run_that_trained_nothing_may_be_used(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root"):
        app.run(tiny("data=folder", "data.root=/nowhere"), tmp_path)
    assert app.run(tiny(), tmp_path).status == "completed"


@pytest.mark.parametrize("file", ["record.json", "checkpoints/last.pt"])
def test_a_newer_schema_is_not_overwritten(tiny: Tiny, copied_run: Path, file: str) -> None:
    if file == "record.json":
        newer = json.loads((copied_run / file).read_text()) | {"schema_version": 2, "future": 1}
        (copied_run / file).write_text(json.dumps(newer))
    else:
        state = load_sealed(copied_run / file)
        state["run"]["schema_version"] = 2
        save_sealed(state, copied_run / file)
        (copied_run / "record.json").unlink()
    before = snapshot(copied_run)
    with pytest.raises(UserError, match="schema version 2 is newer"):
        app.run(tiny(), copied_run)
    assert snapshot(copied_run) == before


def draw_images(root: Path) -> None:
    noise = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")


@pytest.mark.parametrize(
    ("change", "complete"), [("deleted", False), ("added", False), ("replaced", True), ("test", True)]
)
def test_other_images_in_the_folder_are_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, complete: bool
) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "cache"))
    root, run = tmp_path / "images", tmp_path / "run"
    config = images_config(tiny, root)
    if complete:
        app.run(config, run)
    else:
        interrupt(config, run)
    image, copy = root / "train" / "cat" / "3.png", tmp_path / "3.png"
    shutil.copy2(image, copy)
    if change == "deleted":
        image.unlink()
    elif change == "added":
        shutil.copy2(root / "train" / "dog" / "0.png", root / "train" / "cat" / "12.png")
    else:
        split = "train" if change == "replaced" else "test"
        shutil.copy2(root / "train" / "dog" / "1.png", root / split / "cat" / "3.png")
    figures = read_record(run).metrics
    with pytest.raises(UserError, match=f"images are not those .*{'test' if change == 'test' else 'train'} "):
        app.run(config, run)
    assert not complete or read_record(run).metrics == figures
    if change == "deleted":
        shutil.copy2(copy, image)
        assert app.run(config, run).status == "completed"


def test_each_program_is_in_the_record_with_its_epochs(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny("optim.epochs=3")
    interrupt(config, tmp_path)
    monkeypatch.setattr(provenance, "code_digest", lambda source: "0123456789")
    record = app.run(config, tmp_path)
    first, second = record.provenance["programs"]
    assert (first["epochs"], second["epochs"]) == ([1, 1], [2, 3])
    assert (first["code"] != "0123456789", second["code"]) == (True, "0123456789")
    assert {"torch", "python", "device", "precision", "compile", "threads", "git_commit"} <= first.keys()
    assert f"code {first['code']} then, 0123456789 now" in capsys.readouterr().err
    assert load_sealed(tmp_path / "checkpoints" / "last.pt")["run"]["programs"] == record.provenance["programs"]


def test_one_program_is_one_entry_however_often_it_resumes(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny("optim.epochs=3")
    for epoch in (0, 1, 2):
        interrupt(config, tmp_path, epoch)
    (program,) = app.run(config, tmp_path).provenance["programs"]
    assert program["epochs"] == [1, 3]


def test_code_of_a_class_from_outside_counts(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ownnet.py").write_text("from wrnexp.models import WideResNet as Net\n")
    config = tiny("model._target_=ownnet.Net")
    interrupt(config, tmp_path / "run")
    (tmp_path / "ownnet.py").write_text("from wrnexp.models import WideResNet as Net# edited\n")
    first, second = app.run(config, tmp_path / "run").provenance["programs"]
    assert first["external_code"].keys() == second["external_code"].keys() == {"ownnet"}
    assert first["external_code"] != second["external_code"]


def test_a_resume_keeps_what_was_settled_for_the_machine(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny("trainer.precision=auto")
    before = torch.get_num_threads()
    interrupt(config, tmp_path / "whole")
    path = tmp_path / "whole" / "checkpoints" / "last.pt"
    state = load_sealed(path)
    (program,) = state["run"]["programs"]
    other = {"bf16": "fp32", "fp32": "bf16"}[program["precision"]]
    program |= {"precision": other, "channels_last": not program["channels_last"], "threads": 1}
    save_sealed(state, path)
    record = app.run(config, tmp_path / "whole")
    assert (record.provenance["precision"], record.provenance["threads"]) == (other, 1)
    assert record.provenance["channels_last"] == program["channels_last"]
    (resumed,) = record.provenance["programs"]
    assert (resumed["precision"], resumed["epochs"]) == (other, [1, 2])
    assert torch.get_num_threads() == before


def test_what_cannot_be_kept_is_said_and_recorded(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(tiny(), tmp_path)
    path = tmp_path / "checkpoints" / "last.pt"
    state = load_sealed(path)
    (program,) = state["run"]["programs"]
    program |= {"device_type": "cuda", "device": "NVIDIA H200", "compile": True, "cuda_graphs": True, "threads": 1000}
    save_sealed(state, path)
    record = app.run(tiny(), tmp_path)
    first, second = record.provenance["programs"]
    assert (first["device"], first["compile"], first["threads"]) == ("NVIDIA H200", True, 1000)
    assert (second["device_type"], second["compile"], second["cuda_graphs"]) == ("cpu", False, False)
    assert "threads 1000 then" in capsys.readouterr().err


def test_the_optimizer_steps_with_the_settings_of_the_config(tiny: Tiny, tmp_path: Path, trained_run: Path) -> None:
    interrupt(tiny(), tmp_path)
    path = tmp_path / "checkpoints" / "last.pt"
    state = load_sealed(path)
    for group in state["optimizer"]["param_groups"]:
        group |= {"weight_decay": 0.7, "momentum": 0.1, "nesterov": False}
    save_sealed(state, path)
    app.run(tiny(), tmp_path)
    assert weights(tmp_path) == weights(trained_run)


def damaged(path: Path) -> None:
    whole = path.read_bytes()
    position = random.Random(0).randrange(len(whole))
    path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])


def test_a_damaged_checkpoint_is_set_aside_and_the_previous_one_is_used(
    tiny: Tiny, tmp_path: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny("trainer.checkpoint_seconds=0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "save_results", interruption)
        with pytest.raises(KeyboardInterrupt):
            app.run(config, tmp_path)
    last = tmp_path / "checkpoints" / "last.pt"
    damaged(last)
    app.run(config, tmp_path)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert "last.pt.damaged: training resumes from previous.pt, epoch 1" in line
    assert weights(tmp_path) == weights(trained_run)
    assert last.with_name("last.pt.damaged").exists()


def interruption(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_the_previous_checkpoint_is_compared_with_the_config_too(tiny: Tiny, copied_run: Path) -> None:
    checkpoints = copied_run / "checkpoints"
    (checkpoints / "last.pt").rename(checkpoints / "previous.pt")
    (copied_run / "record.json").unlink()
    with pytest.raises(UserError, match=r"previous\.pt is of run .* they differ in seed \(0 there, 3 here\)"):
        app.run(tiny("seed=3"), copied_run)


def test_training_starts_again_where_every_checkpoint_is_damaged(
    tiny: Tiny, tmp_path: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(tiny("trainer.checkpoint_seconds=0"), tmp_path)
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        damaged(path)
    app.run(tiny(), tmp_path)
    assert "training resumes from the start" in capsys.readouterr().err
    assert weights(tmp_path) == weights(trained_run)


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.npz", "metrics.jsonl"])
def test_damaged_results_are_written_again_from_the_checkpoint(
    tiny: Tiny, copied_run: Path, trained_run: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damaged(copied_run / name)
    record = app.run(tiny(), copied_run)
    assert f"to be written again from the checkpoint: {name}" in capsys.readouterr().err
    assert record.status == "completed"
    assert (record.metrics, record.files) == (read_record(trained_run).metrics, read_record(trained_run).files)
    assert (copied_run / name).read_bytes() == (trained_run / name).read_bytes()


def test_folders_in_the_place_of_results_are_set_aside(
    tiny: Tiny, copied_run: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["metrics.jsonl", "model.safetensors", "predictions.npz"]
    for name in names:
        (copied_run / name).unlink()
        (copied_run / name / "below").mkdir(parents=True)
    assert app.run(tiny(), copied_run).files == read_record(trained_run).files
    assert damaged_files(copied_run, read_record(copied_run)) == []
    lines = [line for line in capsys.readouterr().err.splitlines() if "is a folder in the place of a file" in line]
    assert sorted(line.split()[-1] for line in lines) == [f"{name}.damaged" for name in names]


def test_without_a_checkpoint_damaged_results_are_not_trained_again(tiny: Tiny, copied_run: Path) -> None:
    shutil.rmtree(copied_run / "checkpoints")
    damaged(copied_run / "model.safetensors")
    before = snapshot(copied_run)
    with pytest.raises(UserError, match="no checkpoint"):
        app.run(tiny(), copied_run)
    assert snapshot(copied_run) == before


def test_a_repair_that_fails_leaves_the_record_as_it_was(
    tiny: Tiny, copied_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged(copied_run / "model.safetensors")
    before = read_record(copied_run)
    monkeypatch.setattr(app, "save_results", interruption)
    with pytest.raises(KeyboardInterrupt):
        app.run(tiny(), copied_run)
    assert read_record(copied_run) == before


@pytest.fixture
def stored_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of the training images in a cache of the test's own."""
    folder = datasets.obtain("shapes", None).folder
    copy = tmp_path / "cache" / "store" / folder.name
    shutil.copytree(folder, copy)
    shutil.copytree(cache_folder() / "sources", tmp_path / "cache" / "sources")
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "cache"))
    assert datasets.obtain("shapes", None).folder == copy
    return copy / "train.npy"


def test_a_run_does_not_train_on_damaged_images(tiny: Tiny, tmp_path: Path, stored_images: Path) -> None:
    damaged(stored_images)
    with pytest.raises(UserError, match=r"train\.npy.*damaged"):
        app.run(tiny("loader.workers=2", "seed=1"), tmp_path / "second")
    assert not read_metrics(tmp_path / "second")


def test_absent_results_are_written_again_and_so_is_a_record_without_figures(
    tiny: Tiny, copied_run: Path, trained_run: Path
) -> None:
    (copied_run / "model.safetensors").unlink()
    app.run(tiny(), copied_run)
    assert weights(copied_run) == weights(trained_run)
    record = read_record(copied_run)
    record.metrics.clear()
    write_record(copied_run, record)
    assert app.run(tiny(), copied_run).metrics == read_record(trained_run).metrics


def test_what_was_deleted_to_save_room_does_not_make_a_complete_run_incomplete(tiny: Tiny, copied_run: Path) -> None:
    shutil.rmtree(copied_run / "checkpoints")
    (copied_run / "model.safetensors").unlink()
    before = snapshot(copied_run)
    assert app.run(tiny(), copied_run).status == "completed"
    assert snapshot(copied_run) == before


def test_a_store_that_is_damaged_during_training_is_noticed(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored_images: Path
) -> None:
    log = Journal.on_epoch

    def damage_first(journal: Journal, rows: list[Row]) -> None:
        if len(rows) == 1:
            damaged(stored_images)
        log(journal, rows)

    monkeypatch.setattr(Journal, "on_epoch", damage_first)
    with pytest.raises(UserError, match=r"train\.npy.*damaged"):
        app.run(tiny(), tmp_path / "run")
    assert read_record(tmp_path / "run").status == "failed"


def test_several_processes_write_nothing_into_a_folder_that_is_refused(tiny: Tiny, copied_run: Path) -> None:
    shutil.rmtree(copied_run / "checkpoints")
    (copied_run / "record.json").unlink()
    before = snapshot(copied_run)
    for _ in range(2):
        with pytest.raises(UserError, match="no record or checkpoint says which run they are of"):
            app.run(tiny("trainer.devices=2", "trainer.device=cpu"), copied_run)
    assert snapshot(copied_run) == before


def test_a_checkpoint_of_an_earlier_version_is_resumed_on_the_same_images_only(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "cache"))
    config, run = images_config(tiny, tmp_path / "images"), tmp_path / "run"
    interrupt(config, run)
    state = load_sealed(run / "checkpoints" / "last.pt")
    del state["run"]
    torch.save(state, run / "checkpoints" / "last.pt")
    record = read_record(run)
    del record.provenance["programs"]
    write_record(run, record)
    image = tmp_path / "images" / "train" / "cat" / "3.png"
    image.rename(tmp_path / "3.png")
    for _ in range(2):
        with pytest.raises(UserError, match="images are not those"):
            app.run(config, run)
    (tmp_path / "3.png").rename(image)
    (program,) = app.run(config, run).provenance["programs"]
    assert program["epochs"] == [1, 2]
    assert "command" not in program


@pytest.mark.parametrize("forged", ["x", [{"threads": "x", "epochs": 5}]])
def test_a_record_that_says_nonsense_of_its_programs_is_resumed_without_them(
    tiny: Tiny, tmp_path: Path, trained_run: Path, capsys: pytest.CaptureFixture[str], forged: Any
) -> None:
    interrupt(tiny(), tmp_path)
    state = load_sealed(tmp_path / "checkpoints" / "last.pt")
    del state["run"]  # as earlier versions wrote it
    save_sealed(state, tmp_path / "checkpoints" / "last.pt")
    record = read_record(tmp_path)
    record.provenance["programs"] = forged
    write_record(tmp_path, record)
    assert [program["epochs"] for program in app.run(tiny(), tmp_path).provenance["programs"]] == [[2, 2]]
    assert "does not say which programs trained" in capsys.readouterr().err
    assert weights(tmp_path) == weights(trained_run)


def test_a_renamed_class_is_other_data(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "cache"))
    config, run = images_config(tiny, tmp_path / "images"), tmp_path / "run"
    interrupt(config, run)
    for split in ("train", "test"):
        (tmp_path / "images" / split / "cat").rename(tmp_path / "images" / split / "ant")
    with pytest.raises(UserError, match="class 'cat' then, 'ant' now"):
        app.run(config, run)


def test_a_completed_run_stays_complete_without_its_images(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "cache"))
    config, run = images_config(tiny, tmp_path / "images"), tmp_path / "run"
    app.run(config, run)
    shutil.rmtree(tmp_path / "images")
    assert app.run(config, run).status == "completed"
    assert "was not checked" in capsys.readouterr().err


def test_training_that_starts_again_for_want_of_a_checkpoint_says_so(
    tiny: Tiny, tmp_path: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(tiny(), tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    app.run(tiny(), tmp_path)
    assert "has no checkpoint any more: training starts again, 6 steps are lost" in capsys.readouterr().err
    assert weights(tmp_path) == weights(trained_run)


def images_config(tiny: Tiny, root: Path) -> DictConfig:
    draw_images(root)
    limits = ("data.train_limit=null", "data.test_limit=null", "loader.batch_size=4")
    return tiny("data=folder", f"data.root={root}", *limits)


POOL = {
    "optim.lr": ["0.1", "0.3"],
    "optim.weight_decay": ["0.0005", "0"],
    "optim.momentum": ["0.9", "0.5"],
    "optim.epochs": ["3", "2"],
    "model.dropout": ["0.3", "0"],
    "trainer.ema": ["null", "0.9"],
    "seed": ["0", "5"],
    "label": ["a", "b"],
    "loader.drop_last": ["false", "true"],
    "trainer.checkpoint_seconds": ["null", "0"],
}
chosen = st.fixed_dictionaries({key: st.sampled_from(values) for key, values in POOL.items()})


def check_two_configs_in_one_folder(
    tiny: Tiny, folder: Path, first: dict[str, str], changed: dict[str, str], epoch: int
) -> None:
    """The second config is refused with the keys that differ, or gives byte for byte what it gives alone."""
    small = ("data.train_limit=48", "data.test_limit=24", "loader.batch_size=20")
    configs = [
        tiny(*small, *(f"{key}={value}" for key, value in values.items())) for values in (first, first | changed)
    ]
    run_ids = [identity.run_id(app_config(config)) for config in configs]
    shutil.rmtree(folder, ignore_errors=True)
    interrupt(configs[0], folder, epoch=min(epoch, int(first["optim.epochs"]) - 1), step=1)
    rows = read_metrics(folder)
    if rows and run_ids[0] != run_ids[1]:
        with pytest.raises(UserError) as error:
            app.run(configs[1], folder)
        effective = [key for key in changed if key not in identity.IGNORED_KEYS and changed[key] != first[key]]
        assert all(f"{key} (" in str(error.value) for key in effective)
        assert read_metrics(folder) == rows
        return
    app.run(configs[1], folder)  # the run that it was, or one in place of a run that trained nothing
    alone = folder.with_name("alone")
    shutil.rmtree(alone, ignore_errors=True)
    app.run(configs[1], alone)
    assert weights(folder) == weights(alone)


pair = {
    "first": chosen,
    "changed": st.dictionaries(st.sampled_from(sorted(POOL)), st.integers(0, 1), max_size=3).map(
        lambda picks: {key: POOL[key][index] for key, index in picks.items()}
    ),
    "epoch": st.integers(0, 2),
}
training = settings(
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("examples", [3, pytest.param(300, marks=pytest.mark.slow)])
def test_two_configs_in_one_folder(tiny: Tiny, tmp_path: Path, examples: int) -> None:
    @settings(training, max_examples=examples)
    @given(**pair)
    def check(first: dict[str, str], changed: dict[str, str], epoch: int) -> None:
        check_two_configs_in_one_folder(tiny, tmp_path / "run", first, changed, epoch)

    check()
