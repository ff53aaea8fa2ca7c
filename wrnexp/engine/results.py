"""Result files of a completed run: the final weights and their logits on the test set."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save

from wrnexp.engine.evaluate import Evaluation
from wrnexp.engine.trainer import TrainResult
from wrnexp.runs.digests import bytes_digest
from wrnexp.runs.record import write_atomic
from wrnexp.stats import metrics


def final_metrics(test: Evaluation) -> dict[str, float]:
    """Return the record's figures of the final weights on the test set: accuracies and ECE in 0..1, NLL in nats."""
    logits, labels = test.logits.double().numpy(), test.labels.numpy()
    return {
        "test_accuracy": test.accuracy,
        "test_top5_accuracy": metrics.top_k_accuracy(logits, labels, min(5, logits.shape[1])),
        "test_nll": metrics.negative_log_likelihood(logits, labels),
        "test_ece": metrics.expected_calibration_error(logits, labels),
    }


def save_results(trained: TrainResult, folder: Path) -> dict[str, str]:
    """Write `predictions.npz` and `model.safetensors`, each atomically; return their SHA-256 by name.

    The former has float16 `logits` and int64 `labels` of the test set and, where images were held out, `val_logits` and
    `val_labels` of those: a temperature can be fitted without the test set.
    """
    arrays = _arrays(trained.test) | ({} if trained.val is None else _arrays(trained.val, "val_"))
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    weights = {name: value.detach().cpu().contiguous() for name, value in trained.model.state_dict().items()}
    files = {"predictions.npz": packed.getvalue(), "model.safetensors": save(weights)}
    for name, data in files.items():
        write_atomic(folder / name, data)
    return {name: bytes_digest(data) for name, data in files.items()}


def _arrays(evaluation: Evaluation, prefix: str = "") -> dict[str, NDArray[Any]]:
    logits, labels = evaluation.logits.numpy().astype(np.float16), evaluation.labels.numpy()
    return {f"{prefix}logits": logits, f"{prefix}labels": labels}
