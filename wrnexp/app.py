"""The wall between config and objects: reads as a parts list."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console as Terminal

from wrnexp import identity, provenance
from wrnexp.allocation import keep_freed_memory
from wrnexp.data import Dataset, signature
from wrnexp.engine import Checkpoints, Hardware, Outcome, Trainer
from wrnexp.engine.results import final_metrics, save_results
from wrnexp.engine.trainer import Splits
from wrnexp.launch.naming import Job, app_config
from wrnexp.locks import alone
from wrnexp.models import multiply_adds
from wrnexp.objects import make as _make
from wrnexp.optim import averaged
from wrnexp.records import DataInfo, Record, find_record, read_metrics
from wrnexp.report.curves import plot_run
from wrnexp.schema import check
from wrnexp.seeding import derive
from wrnexp.stopping import Stop
from wrnexp.tracking import Journal, Plan, Sink
from wrnexp.tracking.console import print_summary


def run(cfg: DictConfig, out_dir: Path, job: Job | None = None) -> Record:
    """Train the run that `cfg` describes in `out_dir`; go on where it stopped, or say that it is complete.

    Args:
        cfg: the composed config, without Hydra's own part.
        out_dir: the run's folder.
        job: what is known of the command; None for a run started from Python.

    Returns:
        The run's record, with status `completed`.

    Raises:
        UserError: the config, the data or the folder is not right; nothing was trained.
        TrainingError: training cannot go on.
        Stopped: SIGTERM or SIGUSR2 has told the process to end; the next call goes on from the step that was reached.
    """
    config, job = app_config(cfg), job or Job()
    with alone(out_dir):
        if (done := _completed(out_dir)) is not None:
            return done
        stop = Stop()
        with stop.heard(), Journal(_new_record(config, job, out_dir), out_dir) as journal:
            check(config)
            _train(cfg, journal, job.shared or out_dir.parent, stop)
        return journal.record


def _train(cfg: DictConfig, journal: Journal, shared: Path, stop: Stop) -> None:
    record = journal.record
    keep_freed_memory()
    where, compiles = cfg.trainer.device, cfg.trainer.compile
    hardware = Hardware.settle(where, compile=compiles, cuda_graphs=cfg.trainer.cuda_graphs)  # before any data is read
    data: Dataset = _make(cfg.data)
    recipe, augment = _make(cfg.optim), _make(cfg.augment)
    loader = _make(cfg.loader)(
        data,
        augment,
        device=hardware.device,
        compile=hardware.compile,
        accumulate=recipe.accumulate,
        seed=cfg.seed,
    )
    torch.manual_seed(derive(cfg.seed, "weights"))
    model = _make(cfg.model)(num_classes=len(data.classes))
    record.cost.macs_per_image = multiply_adds(model, data.image_size)
    trainer: Trainer = _make(cfg.trainer)(
        model=model,
        macs_per_image=record.cost.macs_per_image,
        recipe=recipe,
        batches=loader,
        splits=Splits(loader.evaluation(data.test), None if data.val is None else loader.evaluation(data.val)),
        average=averaged,
        checkpoints=Checkpoints(journal.folder / "checkpoints"),
        watcher=journal,
        seed=cfg.seed,
        stop=stop,
    )
    plan = Plan(recipe.epochs, len(loader.plan), sum(map(sum, loader.plan)))
    _describe(record, data, model, trainer)
    journal.attach(partial(_open, sink, record=record, plan=plan, shared=shared) for sink in cfg.tracking.values())
    try:
        outcome = trainer.fit()
    finally:
        loader.close()
    _finish(journal, outcome, trainer)


def _open(node: DictConfig, **what: Any) -> Sink:
    """Open a sink: it begins to watch."""
    sink: Sink = _make(node)(**what)
    return sink


def _new_record(config: dict[str, Any], job: Job, folder: Path) -> Record:
    seed, label = config["seed"], config["label"] or job.recipe
    return Record(
        run_id=identity.run_id(config),
        arm_id=identity.arm_id(config),
        label=str(label),
        sweep=job.sweep,
        seed=seed if isinstance(seed, int) else -1,  # a wrong config has a record too: a failed one
        overrides=job.overrides,
        config=config,
        provenance=provenance.collect(Path(__file__).parent) | _begun(folder),
    )


def _begun(folder: Path) -> dict[str, Any]:
    """Return when a run that goes on was first started; nothing for a new one."""
    earlier = find_record(folder)
    return {"started": earlier.provenance["started"]} if earlier and "started" in earlier.provenance else {}


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
    record.provenance |= trainer.hardware.described()


def _finish(journal: Journal, outcome: Outcome, trainer: Trainer) -> None:
    save_results(outcome, journal.folder)
    plot_run(outcome.rows, journal.folder / "curves.png", title=journal.record.label)
    journal.complete(final_metrics(outcome.test), trainer.hardware.peak_memory(), outcome.test_looks)


def _completed(folder: Path) -> Record | None:
    """Return the record of a run that is complete, after saying so and printing its summary."""
    record = find_record(folder)
    if record is None or record.status != "completed":
        return None
    terminal = Terminal(highlight=False)
    terminal.print(f"complete already, {len(read_metrics(folder))} epochs: {folder} (rerun=true runs it anew)")
    print_summary(terminal, record)
    return record
