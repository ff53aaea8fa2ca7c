"""Sinks: where a run's progress is shown. The console, W&B, TensorBoard and the study of a search.

`wrnexp.tracking.wandb` is not imported here: importing wandb is slow, and a run may do without it.
"""

from wrnexp.tracking.console import Console

__all__ = ["Console"]
