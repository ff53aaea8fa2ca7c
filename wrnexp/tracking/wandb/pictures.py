"""A run's pictures as W&B objects: images, and the worst mistakes as a table."""

from collections.abc import Container
from pathlib import Path
from typing import Any

import wandb

from wrnexp.runs.media import FOLDER, MISTAKES, Picture, pictures, read_mistakes

MISTAKE_COLUMNS = ("true", "predicted", "p_true", "p_predicted", "loss", "index")


def load_pictures(folder: Path, exclude: Container[str], only: str | None = None) -> dict[str, Any]:
    """Return the pictures of a run's folder by key, without those in `exclude`; `only` selects a single name."""
    selected = (picture for picture in pictures(folder) if only is None or picture.name == f"{FOLDER}/{only}")
    return {picture.name: _wandb_object(picture, folder) for picture in selected if picture.name not in exclude}


def _wandb_object(picture: Picture, folder: Path) -> wandb.Image | wandb.Table:
    if picture.name != f"{FOLDER}/{MISTAKES}":
        return wandb.Image(str(picture.path), caption=picture.caption)
    table = wandb.Table(columns=["image", *MISTAKE_COLUMNS])
    for mistake in read_mistakes(folder):
        table.add_data(wandb.Image(mistake["tile"]), *(mistake[name] for name in MISTAKE_COLUMNS))
    return table
