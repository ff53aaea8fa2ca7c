"""A run's pictures as W&B takes them: images, and the worst mistakes as a table."""

from collections.abc import Container
from pathlib import Path
from typing import Any

import wandb

from wrnexp.runs.media import FOLDER, MISTAKES, Picture, read_mistakes
from wrnexp.runs.media import pictures as drawn

TOLD = ("true", "predicted", "p_true", "p_predicted", "loss", "index")


def pictures(folder: Path, known: Container[str], only: str | None = None) -> dict[str, Any]:
    """Return the pictures of a run's folder by their keys, but for those that are known; on request one alone."""
    wanted = (one for one in drawn(folder) if only is None or one.name == f"{FOLDER}/{only}")
    return {one.name: _object(one, folder) for one in wanted if one.name not in known}


def _object(picture: Picture, folder: Path) -> wandb.Image | wandb.Table:
    if picture.name != f"{FOLDER}/{MISTAKES}":
        return wandb.Image(str(picture.path), caption=picture.caption)
    table = wandb.Table(columns=["image", *TOLD])
    for one in read_mistakes(folder):
        table.add_data(wandb.Image(one["tile"]), *(one[name] for name in TOLD))
    return table
