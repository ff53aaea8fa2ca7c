"""Who watches a run: the record on disk first, then the console, W&B and what else is configured.

`wrnexp.tracking.wandb` is not imported here: wandb takes its time, and a run may do without it.
"""

from wrnexp.runs.journal import Journal, Plan, Sink, close_after, retell
from wrnexp.tracking.console import Console

__all__ = ["Console", "Journal", "Plan", "Sink", "close_after", "retell"]
