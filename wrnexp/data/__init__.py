"""Data sets: their sources, the store on disk, splits, and the reference loader.

The names that need torch are imported when they are first asked for, so that `wrnexp data` answers quickly.
"""

from typing import TYPE_CHECKING, Any

from wrnexp.data.datasets import load
from wrnexp.data.images import Dataset, ImageSet

if TYPE_CHECKING:
    from wrnexp.data.loaders import TrainLoader, eval_batches

__all__ = ["Dataset", "ImageSet", "TrainLoader", "eval_batches", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wrnexp.data import loaders

    return getattr(loaders, name)
