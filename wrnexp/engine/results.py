"""What a finished run leaves beside its record: the final weights, and their answers on the test set."""

import io
from pathlib import Path

import numpy as np
from safetensors.torch import save

from wrnexp import metrics
from wrnexp.engine.evaluate import Evaluation
from wrnexp.engine.trainer import Outcome
from wrnexp.records import write_atomic


def final_metrics(test: Evaluation) -> dict[str, float]:
    """Return the record's figures of the final weights on the test set: accuracies and ECE in 0..1, NLL in nats."""
    logits, labels = test.logits.double().numpy(), test.labels.numpy()
    return {
        "test_accuracy": test.accuracy,
        "test_top5_accuracy": metrics.top_k_accuracy(logits, labels, min(5, logits.shape[1])),
        "test_nll": metrics.negative_log_likelihood(logits, labels),
        "test_ece": metrics.expected_calibration_error(logits, labels),
    }


def save_results(outcome: Outcome, folder: Path) -> None:
    """Write `predictions.npz` (float16 logits, int64 labels) and `model.safetensors`, each atomically."""
    packed = io.BytesIO()
    np.savez_compressed(
        packed, logits=outcome.test.logits.numpy().astype(np.float16), labels=outcome.test.labels.numpy()
    )
    write_atomic(folder / "predictions.npz", packed.getvalue())
    weights = {name: value.detach().cpu().contiguous() for name, value in outcome.model.state_dict().items()}
    write_atomic(folder / "model.safetensors", save(weights))
