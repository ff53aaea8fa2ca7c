"""Evaluation against a plain computation."""

import pytest
import torch
from torch import nn

from wrnexp.engine import Hardware, evaluate


def test_answers_are_the_models_in_evaluation_mode_and_in_order() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3)).train()
    images, labels = torch.randn(10, 3, 2, 2), torch.randint(3, (10,))
    batches = [(images[:4], labels[:4]), (images[4:], labels[4:])]
    found = evaluate(model, batches, Hardware.settle("cpu", "fp32", channels_last=False))
    assert model.training
    expected = model[2](images.flatten(1)).detach()
    torch.testing.assert_close(found.logits, expected)
    assert torch.equal(found.labels, labels)
    assert (
        found.accuracy == sum(int(row.argmax()) == int(label) for row, label in zip(expected, labels, strict=True)) / 10
    )
    terms = [-row.softmax(0)[label].log().item() for row, label in zip(expected, labels, strict=True)]
    assert found.loss == pytest.approx(sum(terms) / 10, rel=1e-5)
