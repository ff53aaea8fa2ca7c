"""A run's pictures as W&B takes them: images, and the worst mistakes as a table."""

from collections.abc import Container
from pathlib import Path
from typing import Any

import wandb
from wrnexp.pictures import FOLDER, MISTAKES, Picture, read_mistakes
from wrnexp.pictures import pictures as drawn

TOLD = ("true", "predicted", "p_true", "p_predicted", "loss", "index")


def pictures(folder: Path, known: Container[str]) -> dict[str, Any]:
    """Return the pictures of a run's folder by their keys, but for those that are known."""
    return {one.name: _object(one, folder) for one in drawn(folder) if one.name not in known}


def _object(picture: Picture, folder: Path) -> wandb.Image | wandb.Table:
    if picture.name != f"{FOLDER}/{MISTAKES}":
        return wandb.Image(str(picture.path), caption=picture.caption)
    table = wandb.Table(columns=["image", *TOLD])
    for one in read_mistakes(folder):
        table.add_data(wandb.Image(one["tile"]), *(one[name] for name in TOLD))
    return table
