"""Training: the step, the epoch, evaluation, checkpoints, divergence and hardware."""

from wrnexp.engine.checkpoint import Checkpoints
from wrnexp.engine.evaluate import Evaluation, evaluate
from wrnexp.engine.hardware import Hardware
from wrnexp.engine.trainer import Trainer, TrainResult

__all__ = ["Checkpoints", "Evaluation", "Hardware", "TrainResult", "Trainer", "evaluate"]
