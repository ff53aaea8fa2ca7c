"""W&B through its own SDK: a mirror of the record, never in a run's way, never a prompt.

`content` says what of a record stands where in W&B, `account` whether there is one, `files` what W&B keeps on this
machine, `mirror` talks to the SDK, and `sink` is what a run is watched by. Nothing else imports wandb, but for
`wrnexp.wandb_publish`.
"""

from wrnexp.tracking.wandb.account import has_key, settle_mode
from wrnexp.tracking.wandb.sink import Wandb

__all__ = ["Wandb", "has_key", "settle_mode"]
