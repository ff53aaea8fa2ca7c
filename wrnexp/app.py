"""The wall between config and objects: reads as a parts list."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from wrnexp.config.check import check
from wrnexp.data import Dataset, signature
from wrnexp.engine import Checkpoints, Hardware, Trainer, TrainResult
from wrnexp.engine.distributed.member import hold_off
from wrnexp.engine.distributed.processes import launch, processes
from wrnexp.engine.distributed.ranks import AgreedSignalGuard, Ranks, joined
from wrnexp.engine.evaluate import Splits
from wrnexp.engine.machine import settled_before, threads
from wrnexp.engine.results import final_metrics, save_results
from wrnexp.errors import Pruned, UserError
from wrnexp.hydra_app.instantiate import external_code
from wrnexp.hydra_app.instantiate import make as _make
from wrnexp.hydra_app.naming import app_config
from wrnexp.models import multiply_adds
from wrnexp.optim import averaged
from wrnexp.process import torchrun
from wrnexp.process.malloc import keep_freed_memory
from wrnexp.process.packages import require
from wrnexp.process.signals import SignalGuard, TimeLimit
from wrnexp.process.terminal import Terminal, harmless, printable
from wrnexp.report.figures.curves import plot_run
from wrnexp.report.media import Media
from wrnexp.runs import provenance
from wrnexp.runs.invocation import Invocation
from wrnexp.runs.journal import Journal, Sink, TrainingPlan, finalize_record, replay_to_sink
from wrnexp.runs.lifecycle import (
    ResumeState,
    claim_folder,
    completed_record,
    describe_checkpoint,
    keep_completed,
    new_record,
    training_programs,
)
from wrnexp.runs.locks import exclusive_run, exclusive_writer
from wrnexp.runs.ownership import require_own_folder, require_same_data
from wrnexp.runs.record import DataInfo, Record, read_metrics, read_record
from wrnexp.seeding import derive
from wrnexp.tracking.console import print_summary

SINK_PACKAGES = {"tensorboard": "tensorboard"}  # by sink: the package that it needs; its extra has the sink's name


def run(cfg: DictConfig, out_dir: Path, invocation: Invocation | None = None) -> Record:
    """Train the run that `cfg` describes in `out_dir`, resume it, or report that it is complete.

    Args:
        cfg: the composed config, without Hydra's own part.
        out_dir: the run's folder.
        invocation: the command; None for a run started from Python.

    Returns:
        The run's record, with status `completed`, or `interrupted` where a search has stopped it.

    Raises:
        UserError: the config, the data or the folder is not right; nothing was trained.
        TrainingError: training cannot continue.
        Stopped: SIGTERM, SIGUSR2 or a time limit has ended the process; the next call resumes from the step that was
            reached.
    """
    invocation, here = _limited(invocation or Invocation(), cfg), torchrun.process_rank()
    if here is not None:
        return _lead(here, cfg, out_dir, invocation)
    with exclusive_run(out_dir):
        config = app_config(cfg)
        earlier = require_own_folder(out_dir, config)
        if record := completed_record(config, out_dir, earlier, partial(_make, cfg.data, "data")):
            _announce_completed(cfg, record, out_dir, invocation)
            return record
        with keep_completed(earlier, out_dir):
            if OmegaConf.select(cfg, "trainer.devices", default=1) == 1:
                return _run(cfg, out_dir, invocation, Ranks(), earlier)
            return _spread(cfg, out_dir, invocation, earlier)


def _announce_completed(cfg: DictConfig, record: Record, folder: Path, invocation: Invocation) -> None:
    """Print the summary of a complete run; a W&B sweep's agent gets the result that it waits for."""
    terminal = Terminal()
    epochs = len(read_metrics(folder))
    line = f"complete already, {epochs} epochs: {folder} (rerun=true trains it again in a new folder)"
    terminal.print(printable(line), soft_wrap=True)
    print_summary(terminal, record)
    agents, node = provenance.agents_run(), OmegaConf.select(cfg, "tracking.wandb")
    if agents is None or node is None:
        return
    record.provenance["wandb_run"] = agents
    # No code: the program that trained the run may have been another.
    given = {"record": record, "shared": invocation.shared or folder.parent, "folder": folder, "code": False}
    replay_to_sink(partial(_make, node, "tracking.wandb", **given), record, folder)


def _limited(invocation: Invocation, cfg: DictConfig) -> Invocation:
    """Return the invocation with the time limit that is reached first: the run's, starting now, or its sweep's."""
    run_limit = TimeLimit.from_now(OmegaConf.select(cfg, "trainer.max_seconds", default=None), "trainer.max_seconds")
    limits = [limit for limit in (run_limit, invocation.limit) if limit is not None]
    return replace(invocation, limit=min(limits, key=lambda limit: limit.ends, default=None))


def _run(cfg: DictConfig, out_dir: Path, invocation: Invocation, ranks: Ranks, earlier: Record | None) -> Record:
    """Train in this process, which may be one of several.

    Args:
        cfg: as for `run`.
        out_dir: as for `run`.
        invocation: as for `run`.
        ranks: the processes that share the run.
        earlier: the record that was in the folder.
    """
    config = app_config(cfg)
    checkpoints = Checkpoints(out_dir / "checkpoints")
    saved = ranks.broadcast_object(claim_folder(checkpoints, out_dir, config, earlier) if ranks.is_main else None)
    stop = SignalGuard(limit=invocation.limit) if ranks.count == 1 else AgreedSignalGuard(ranks, limit=invocation.limit)
    journal = Journal(new_record(config, invocation, earlier, saved), out_dir, silent=not ranks.is_main)
    with threads(saved.program.get("threads") if saved else None), stop.listening(), suppress(Pruned), journal:
        check(config)
        _train(cfg, journal, invocation.shared or out_dir.parent, stop, ranks, checkpoints, saved or ResumeState())
    return journal.record


def _spread(cfg: DictConfig, out_dir: Path, invocation: Invocation, earlier: Record | None) -> Record:
    """Start several processes on this machine, pass signals on to them and wait until they end."""
    config = app_config(cfg)
    # Here, too: a refusal must not write a record into a folder that holds another run.
    saved = claim_folder(Checkpoints(out_dir / "checkpoints"), out_dir, config, earlier)
    record = new_record(config, invocation, earlier, saved)
    try:
        check(config)
        if (count := processes(config["trainer"]["device"], config["trainer"]["devices"])) == 1:
            return _run(cfg, out_dir, invocation, Ranks(), earlier)
        launch(_take_part, (config, out_dir, invocation, earlier), count)
    except BaseException as error:
        finalize_record(error, out_dir, record)
        raise
    return read_record(out_dir)


def _take_part(config: dict[str, Any], out_dir: Path, invocation: Invocation, earlier: Record | None) -> None:
    """Entry point of a process that `_spread` starts."""
    here = torchrun.process_rank()
    assert here is not None
    with joined(here) as ranks, exclusive_writer(out_dir) if ranks.is_main else nullcontext():
        _run(OmegaConf.create(config), out_dir, invocation, ranks, earlier)


def _lead(here: torchrun.ProcessRank, cfg: DictConfig, out_dir: Path, invocation: Invocation) -> Record:
    """Train as the first of the processes that torchrun has started; the others are in `follow`."""
    config = app_config(cfg)
    with exclusive_run(out_dir), joined(here) as ranks, _in_turn(ranks):
        earlier = require_own_folder(out_dir, config)
        record = completed_record(config, out_dir, earlier, partial(_make, cfg.data, "data"))
        ranks.broadcast_object(None if record else (config, out_dir, invocation))
        if record is not None:
            _announce_completed(cfg, record, out_dir, invocation)
            return record
        _check_torchrun(config["trainer"], here.count)
        with keep_completed(earlier, out_dir):
            return _run(cfg, out_dir, invocation, ranks, earlier)


def follow() -> None:
    """Train as one of the other processes that torchrun started; the first one sends the config and writes files.

    Raises:
        UserError, TrainingError, Stopped: as for `run`.
    """
    here = torchrun.process_rank()
    assert here is not None
    with joined(here) as ranks, _in_turn(ranks):
        work: tuple[dict[str, Any], Path, Invocation] | None = ranks.broadcast_object(None)
        if work is not None:
            config, out_dir, invocation = work
            _run(OmegaConf.create(config), out_dir, invocation, ranks, None)


@contextmanager
def _in_turn(ranks: Ranks) -> Iterator[None]:
    """Let an error end that process first whose fault it is, for torchrun ends the others then."""
    try:
        yield
    except Exception as error:
        hold_off(ranks.rank, error)
        raise


def _check_torchrun(trainer: Any, count: int) -> None:
    """Refuse a number of devices that is not torchrun's; it must be given where it is part of a run's identity."""
    devices = trainer.get("devices", 1)
    if devices != count and (devices != 1 or not trainer.get("sync_batchnorm", True)):
        raise UserError(f"trainer.devices={devices} under torchrun, which has started {count} processes: use {count}")


def _train(
    cfg: DictConfig,
    journal: Journal,
    shared: Path,
    stop: SignalGuard,
    ranks: Ranks,
    checkpoints: Checkpoints,
    saved: ResumeState,
) -> None:
    record = journal.record
    keep_freed_memory()
    where = ranks.device(cfg.trainer.device)
    # Before any data is read.
    for sink in SINK_PACKAGES.keys() & cfg.tracking.keys():
        require(f"tracking={sink}", SINK_PACKAGES[sink], extra=sink)
    settings = _hardware_settings(cfg.trainer, where, ranks, saved)
    hardware = Hardware.settle(where, **{"compile": cfg.trainer.compile} | settings)
    data: Dataset = _make(cfg.data, "data")
    if saved.data:
        require_same_data(journal.folder, saved.data, data.digest, saved.classes, data.classes)
    recipe, augment = _make(cfg.optim, "optim"), _make(cfg.augment, "augment")
    loader = _loader(cfg, data, augment, hardware, recipe.accumulate, ranks)
    torch.manual_seed(derive(cfg.seed, "weights"))
    model = _make(cfg.model, "model", num_classes=len(data.classes))
    record.cost.macs_per_image = multiply_adds(model, data.image_size)
    trainer: Trainer = _make(
        cfg.trainer,
        "trainer",
        device=where,
        **settings,
        model=model,
        macs_per_image=record.cost.macs_per_image,
        recipe=recipe,
        batches=loader,
        splits=Splits(loader.evaluation(data.test), None if data.val is None else loader.evaluation(data.val)),
        average=averaged,
        checkpoints=checkpoints,
        started=journal.started,
        watcher=journal,
        seed=cfg.seed,
        stop=stop,
        ranks=ranks,
    )
    plan = TrainingPlan(recipe.epochs, len(loader.plan), sum(map(sum, loader.plan)))
    _describe(record, data, model, trainer)
    journal.programs = programs = training_programs(record, saved, external_code(record.config), say=ranks.is_main)
    trainer.about = partial(describe_checkpoint, record, programs)
    given: dict[str, Any] = {"record": record, "plan": plan, "shared": shared, "folder": journal.folder}
    media: Media = _make(cfg.tracking.media, "tracking.media")
    sinks = [(node, f"tracking.{name}") for name, node in cfg.tracking.items() if name != "media"]
    journal.attach(partial(_open, *sink, **given) for sink in sinks)
    try:
        _verify(data)
        if ranks.is_main:
            media.before(journal.folder, record, loader)
            journal.on_pictures()
        outcome = trainer.fit()
    finally:
        loader.close()
    if ranks.is_main:
        _verify(data)  # a file that was written to meanwhile is hashed again
        _finish(journal, outcome, trainer)
        media.after(journal.folder, record, outcome.test.logits.numpy(), outcome.test.labels.numpy(), data.test.gather)
        journal.on_pictures()


def _hardware_settings(trainer: DictConfig, device: str, ranks: Ranks, saved: ResumeState) -> dict[str, Any]:
    """Return the trainer's keys that differ from the config: kept from an earlier process, or off for several."""
    settings: dict[str, Any] = {"cuda_graphs": trainer.cuda_graphs}
    settings |= settled_before(trainer, Hardware.settle(device).device.type, saved.program)
    return settings if ranks.count == 1 else settings | {"cuda_graphs": False}


def _verify(data: Dataset) -> None:
    """Compare the stored images with their digests; a data set from outside has no store.

    Raises:
        UserError: a file is damaged.
    """
    if isinstance(data, Dataset):
        data.verify()


def _loader(cfg: DictConfig, data: Dataset, augment: Any, hardware: Hardware, accumulate: int, ranks: Ranks) -> Any:
    """Make the loader; `rank` and `ranks` are passed only where there are several processes."""
    shared = {} if ranks.count == 1 else {"rank": ranks.rank, "ranks": ranks.count}
    device = {"device": hardware.device, "compile": hardware.compile}
    return _make(cfg.loader, "loader", data, augment, **device, accumulate=accumulate, seed=cfg.seed, **shared)


def _open(node: DictConfig, key: str, **arguments: Any) -> Sink:
    sink: Sink = _make(node, key, **arguments)
    return sink


def _describe(record: Record, data: Dataset, model: torch.nn.Module, trainer: Trainer) -> None:
    record.data = DataInfo(
        name=data.name,
        digest=dict(data.digest),
        signature=signature(data),
        train=len(data.train),
        val=0 if data.val is None else len(data.val),
        test=len(data.test),
    )
    record.cost.parameters = sum(parameter.numel() for parameter in model.parameters())
    described = trainer.hardware.described() | {"devices": trainer.ranks.count}
    if described["peak_flops"] is not None:
        described["peak_flops"] *= trainer.ranks.count
    record.provenance |= described


def _finish(journal: Journal, outcome: TrainResult, trainer: Trainer) -> None:
    files = save_results(outcome, journal.folder)
    journal.complete(final_metrics(outcome.test), trainer.hardware.peak_memory(), outcome.test_looks, files)
    with harmless("the previous checkpoint was not removed", "the run is complete"):
        trainer.checkpoints.drop_previous()
    with harmless("curves.png was not drawn", "the run is complete"):
        plot_run(outcome.rows, journal.folder / "curves.png", title=journal.record.label)
