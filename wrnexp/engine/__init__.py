"""The engine: where steps are computed, how an epoch goes, what is measured, and how a run goes on after a stop."""

from wrnexp.engine.checkpoint import Checkpoints
from wrnexp.engine.evaluate import Evaluation, evaluate
from wrnexp.engine.hardware import Hardware
from wrnexp.engine.trainer import Trainer, TrainResult

__all__ = ["Checkpoints", "Evaluation", "Hardware", "TrainResult", "Trainer", "evaluate"]
