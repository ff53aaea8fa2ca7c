#!/usr/bin/env python3
"""One training run, or a sweep with -m: `python run.py experiment=light`. `--help` lists groups and keys."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from wrnexp.hydra_app.main import one_message, start
from wrnexp.hydra_app.naming import current_job


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Train one run in the folder that Hydra made for it; return its validation accuracy for sweepers that search."""
    from wrnexp import app  # torch comes with it: not for --help, --cfg and tab completion

    job = current_job()
    with one_message(job):
        return app.run(cfg, Path(HydraConfig.get().runtime.output_dir), job).metrics.get("val_accuracy")


def follow() -> None:
    """Train the run that torchrun's first process has composed, as one of the others."""
    from wrnexp import app

    app.follow()


if __name__ == "__main__":
    start(main, Path(__file__).parent, follow)
