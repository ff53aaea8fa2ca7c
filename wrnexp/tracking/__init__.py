"""Who watches a run: the record on disk first, then the console, W&B and what else is configured.

`wrnexp.tracking.wandb` is not imported here: wandb takes its time, and a run may do without it.
"""

from wrnexp.tracking.console import Console
from wrnexp.tracking.journal import Journal, Plan, Sink, close_after, retell

__all__ = ["Console", "Journal", "Plan", "Sink", "close_after", "retell"]
