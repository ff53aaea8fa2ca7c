"""A stand-in for W&B's server on this machine, which the real SDK talks to over HTTP."""

from tests.wandb_server.checking import check
from tests.wandb_server.serving import WandbServer
from tests.wandb_server.state import Run

__all__ = ["Run", "WandbServer", "check"]
