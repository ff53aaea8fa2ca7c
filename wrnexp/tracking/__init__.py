"""Sinks, which receive a run's progress: the console, W&B, TensorBoard and the Optuna study of a search.

`wrnexp.tracking.wandb` is not imported here: importing wandb is slow and not every run needs it.
"""

from wrnexp.tracking.console import Console

__all__ = ["Console"]
