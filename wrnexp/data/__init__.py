"""Data sets: sources, the store on disk, splits and loaders.

Names that need torch are imported on first use, so that `wrnexp data` starts quickly.
"""

from typing import TYPE_CHECKING, Any

from wrnexp.data.datasets import load
from wrnexp.data.images import Dataset, ImageSet, signature

if TYPE_CHECKING:
    from wrnexp.data.loaders.evaluation import EvalBatches
    from wrnexp.data.loaders.resident import ResidentLoader
    from wrnexp.data.loaders.workers import TrainLoader

__all__ = ["Dataset", "EvalBatches", "ImageSet", "ResidentLoader", "TrainLoader", "load", "signature"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wrnexp.data.loaders.evaluation import EvalBatches
    from wrnexp.data.loaders.resident import ResidentLoader
    from wrnexp.data.loaders.workers import TrainLoader

    return {"EvalBatches": EvalBatches, "ResidentLoader": ResidentLoader, "TrainLoader": TrainLoader}[name]
