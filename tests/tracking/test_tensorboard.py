"""The TensorBoard sink: TensorBoard's reader finds the run's rows, also after a resume."""

import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from omegaconf import DictConfig
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from wrnexp import app
from wrnexp.errors import UserError
from wrnexp.process import packages
from wrnexp.runs.journal import Journal, Row, TrainingPlan
from wrnexp.runs.record import Record, read_metrics
from wrnexp.tracking.tensorboard import TAGS, TensorBoard, _as_text

Tiny = Callable[..., DictConfig]
RECORD = Record(run_id="a", arm_id="b", label="base", seed=3, config={"optim": {"lr": 0.1, "clip_norm": None}})


def read(folder: Path) -> Any:
    everything = dict.fromkeys(("scalars", "images", "tensors"), 0)
    return EventAccumulator(str(folder / "tensorboard"), size_guidance=everything).Reload()


def steps(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def sink(folder: Path) -> TensorBoard:
    return TensorBoard(record=RECORD, plan=TrainingPlan(4, 1, 1), shared=folder, folder=folder)


def rows(*losses: float) -> list[Row]:
    return [{"epoch": epoch, "step": epoch, "train_loss": loss} for epoch, loss in enumerate(losses, 1)]


def picture(folder: Path, name: str, shade: int) -> bytes:
    path = folder / "media" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (5, 3), (shade, 0, 0)).save(path)
    return path.read_bytes()


def assert_mirrors(folder: Path) -> None:
    """Compare all scalars with metrics.jsonl: each value once, at its epoch, in float32."""
    events, metrics = read(folder), read_metrics(folder)
    for name in metrics[0].keys() - {"epoch"}:
        tag = TAGS.get(name, f"speed/{name}")
        expected = [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in metrics if row[name] is not None]
        logged = [(event.step, event.value) for event in events.Scalars(tag)] if expected else []
        assert logged == expected, tag
    assert metrics


def test_a_run_is_mirrored(tiny: Tiny, tmp_path: Path) -> None:
    pictures = ("tracking.media.augmented=true", "tracking.media.reliability=true")
    record = app.run(tiny("tracking=tensorboard", "data.val_size=24", *pictures), tmp_path / "run")
    assert_mirrors(tmp_path / "run")
    events = read(tmp_path / "run")
    (config,) = events.Tensors("config/text_summary")
    assert b"label_smoothing: 0.1" in config.tensor_proto.string_val[0]
    ((step, accuracy),) = steps(tmp_path / "run", "final/test_accuracy")
    assert step == 2
    assert accuracy == pytest.approx(record.metrics["test_accuracy"], rel=1e-6)
    started = HParamsPluginData.FromString(events.PluginTagToContent("hparams")["_hparams_/session_start_info"])
    recipe = started.session_start_info.hparams
    assert recipe["optim.label_smoothing"].number_value == 0.1
    assert "optim.clip_norm" not in recipe  # null
    assert recipe["loader.batch_size"].number_value == 16
    picture_steps = {
        tag: [picture_event.step for picture_event in events.Images(tag)] for tag in events.Tags()["images"]
    }
    assert picture_steps == {"media/augmented": [0], "media/reliability": [2]}


def test_a_resumed_run_logs_each_epoch_once(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("tracking=tensorboard", "optim.epochs=4")
    logged = TensorBoard.on_epoch_end

    def killed(self: TensorBoard, record: Record, rows: list[Row]) -> None:
        if rows[-1]["epoch"] == 3:  # its checkpoint is written, TensorBoard was not told
            raise KeyboardInterrupt
        logged(self, record, rows)

    with monkeypatch.context() as patch:
        patch.setattr(TensorBoard, "on_epoch_end", killed)
        with pytest.raises(KeyboardInterrupt):
            app.run(config, tmp_path / "run")
    assert [step for step, _ in steps(tmp_path / "run", "loss/train")] == [1, 2]
    assert app.run(config, tmp_path / "run").status == "completed"
    assert_mirrors(tmp_path / "run")
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 2


def test_epochs_that_are_trained_again_replace_the_old_ones(tmp_path: Path) -> None:
    first = sink(tmp_path)
    for count in (1, 2, 3):
        first.on_epoch_end(RECORD, rows(9.0, 8.0, 7.0)[:count])
    again = sink(tmp_path)
    again.on_resume(RECORD, rows(9.0))  # the checkpoint is of epoch 1
    assert steps(tmp_path, "loss/train") == [(1, 9.0)]
    again.on_epoch_end(RECORD, rows(9.0, 5.0))
    assert steps(tmp_path, "loss/train") == [(1, 9.0), (2, 5.0)]
    sink(tmp_path).on_epoch_end(RECORD, rows(4.0))  # no checkpoint at all
    assert steps(tmp_path, "loss/train") == [(1, 4.0)]


def test_epochs_that_were_missed_come_in_order(tmp_path: Path) -> None:
    sink(tmp_path).on_epoch_end(RECORD, rows(9.0))
    late = sink(tmp_path)
    late.on_resume(RECORD, rows(9.0, 8.0, 7.0))
    late.on_epoch_end(RECORD, rows(9.0, 8.0, 7.0, 6.0))
    assert steps(tmp_path, "loss/train") == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)]


def test_an_epoch_that_a_kill_cut_in_two_is_written_again(tmp_path: Path) -> None:
    first = sink(tmp_path)
    first.on_epoch_end(RECORD, rows(9.0))
    first.on_epoch_end(RECORD, rows(9.0, 8.0))
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-60])
    assert steps(tmp_path, "loss/train") == [(1, 9.0)]
    sink(tmp_path).on_resume(RECORD, rows(9.0, 8.0))
    assert steps(tmp_path, "loss/train") == [(1, 9.0), (2, 8.0)]


def test_pictures_are_logged_unchanged_and_once(tmp_path: Path) -> None:
    before = picture(tmp_path, "augmented", 10)
    for _ in range(2):  # a run that goes on shows them again
        tensorboard = sink(tmp_path)
        tensorboard.on_media(RECORD, tmp_path)
    tensorboard.on_epoch_end(RECORD, rows(9.0))
    after = picture(tmp_path, "confusion", 20)
    tensorboard.on_media(RECORD, tmp_path)
    events = read(tmp_path)
    logged = {tag: events.Images(tag) for tag in events.Tags()["images"]}
    steps_and_bytes = {
        tag: [(event.step, event.encoded_image_string) for event in picture_events]
        for tag, picture_events in logged.items()
    }
    assert steps_and_bytes == {"media/augmented": [(0, before)], "media/confusion": [(1, after)]}
    assert (logged["media/confusion"][0].width, logged["media/confusion"][0].height) == (5, 3)


def test_a_run_that_did_not_complete_has_no_final_figures(tmp_path: Path) -> None:
    tensorboard = sink(tmp_path)
    tensorboard.on_run_end(RECORD.model_copy(update={"status": "failed", "metrics": {"test_accuracy": 0.5}}))
    assert read(tmp_path).Tags()["scalars"] == []


def test_a_full_disk_ends_the_sink_and_not_the_run(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "tensorboard").mkdir(parents=True)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    journal_rows = rows(9.0, 8.0)
    record = RECORD.model_copy()
    with Journal(record, tmp_path / "run") as journal:
        tensorboard = sink(tmp_path / "run")
        tensorboard._file._path = full
        journal.attach([lambda: tensorboard])
        journal._tell(lambda sink: sink.on_epoch_end(record, journal_rows))
        journal._tell(lambda sink: sink.on_epoch_end(record, journal_rows))
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_a_folder_that_cannot_be_written_ends_the_sink_and_not_the_run(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("in the way")
    record = app.run(tiny("tracking=tensorboard", "optim.epochs=1", "optim.schedule.warmup_epochs=0"), tmp_path / "run")
    assert record.status == "completed"
    assert capsys.readouterr().err.count("the run goes on") == 1


def test_without_the_package_a_run_ends_before_data_is_read(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(packages, "find_spec", find)
    config = tiny("tracking=tensorboard", "data=folder", f"data.root={tmp_path}/nowhere")
    with pytest.raises(UserError, match=r"tracking=tensorboard needs .*\.\[tensorboard\]"):
        app.run(config, tmp_path / "run")


def test_tracking_does_without_tensorboard() -> None:
    code = "import sys, wrnexp.tracking, wrnexp.app; sys.exit('tensorboard' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_hyperparameters_of_runs_side_by_side(tmp_path: Path) -> None:
    """Query TensorBoard's HPARAMS plugin, as its server does, for a folder with two runs of different keys."""
    for seed, clip in ((0, None), (1, 0.5)):
        optim = {"lr": 0.1, "clip_norm": clip}
        record = Record(run_id="a", arm_id="b", label="base", seed=seed, config={"optim": optim})
        tensorboard = TensorBoard(
            record=record, plan=TrainingPlan(1, 6, 96), shared=tmp_path, folder=tmp_path / str(seed)
        )
        tensorboard.on_epoch_end(record, rows(1.0))
        record.status, record.metrics = "completed", {"test_accuracy": 0.5 + seed}
        tensorboard.on_run_end(record)
    experiment, groups = asked(tmp_path)
    assert {info.name for info in experiment.hparam_infos if info.differs} == {"seed"}
    assert {info.name for info in experiment.hparam_infos} == {"label", "seed", "optim.lr", "optim.clip_norm"}
    assert [group.hparams["seed"].number_value for group in groups] == [0, 1]
    final = [{value.name.tag: value.value for value in group.metric_values}["final/test_accuracy"] for group in groups]
    assert final == [0.5, 1.5]


def asked(logdir: Path) -> tuple[Any, list[Any]]:
    """Return the experiment and the rows of the HPARAMS tab."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

    runs = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(logdir))
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, str(logdir))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    about = context.RequestContext()
    experiment = get_experiment.Handler(about, backend, "", api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        aggregation_type=api_pb2.AGGREGATION_AVG,
        col_params=[api_pb2.ColParams(hparam="seed", order=api_pb2.ORDER_ASC)],
        slice_size=10,
    )
    response = list_session_groups.Handler(about, backend, "", request).run()
    return experiment, list(response.session_groups)


@pytest.mark.parametrize("text", ["x", "```\n# Forged\n[a](http://b)", "`````", "~~~"])
def test_no_text_of_a_config_ends_its_block(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(_as_text({"model": {"name": text, text: 1}}))
    assert [(token.type, token.info) for token in tokens] == [("fence", "yaml")]
    assert yaml.safe_load(tokens[0].content) == {"model": {"name": text, text: 1}}
