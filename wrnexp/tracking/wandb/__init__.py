"""Runs in W&B through its SDK, as a copy of the record; W&B errors never stop a run, and nothing prompts for input.

`content` maps a record to W&B's fields, `account` finds the API key, `files` reads W&B's local files, `mirror` calls
the SDK, and `sink` connects it to a run. Only these modules and `wrnexp.wandb_publish` import wandb.
"""

from wrnexp.tracking.wandb.account import has_key, resolve_mode
from wrnexp.tracking.wandb.sink import Wandb

__all__ = ["Wandb", "has_key", "resolve_mode"]
