"""What is done with a completed run: open it again, evaluate it, ask it about images, export it."""

from wrnexp.trained.evaluation import differences, evaluate_run, reasons
from wrnexp.trained.export import export_run
from wrnexp.trained.opening import Trained, dataset, hardware, load_weights, network, open_run
from wrnexp.trained.prediction import probabilities

__all__ = [
    "Trained",
    "dataset",
    "differences",
    "evaluate_run",
    "export_run",
    "hardware",
    "load_weights",
    "network",
    "open_run",
    "probabilities",
    "reasons",
]
