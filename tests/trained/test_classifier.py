"""The networks around a network, against numpy."""

import numpy as np
import torch
from torch import nn

from wrnexp.trained.classifier import Classifier, Mirrored

MEAN, STD = (0.1, 0.5, 0.7), (0.2, 0.3, 0.4)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5))


def by_hand(model: nn.Module, images: np.ndarray) -> np.ndarray:
    weight, bias = (value.detach().double().numpy() for value in model.parameters())
    found: np.ndarray = images.reshape(len(images), -1) @ weight.T + bias
    return found


def test_images_are_normalised_by_channel() -> None:
    model, images = linear(), torch.rand(3, 3, 4, 4)
    normal = np.stack([(images[:, c].double().numpy() - MEAN[c]) / STD[c] for c in range(3)], axis=1)
    np.testing.assert_allclose(Classifier(model, MEAN, STD)(images).detach(), by_hand(model, normal), rtol=1e-5)


def test_mirrored_answers_are_the_mean_of_the_probabilities() -> None:
    model, images = linear(), torch.randn(6, 3, 4, 4) * 3
    plain = images.double().numpy()
    both = [np.exp(by_hand(model, one)) for one in (plain, plain[..., ::-1])]
    expected = sum(one / one.sum(1, keepdims=True) for one in both) / 2
    found = Mirrored(model)(images).detach().double()
    np.testing.assert_allclose(found.exp(), expected, rtol=1e-5)
    np.testing.assert_allclose(found.softmax(1), expected, rtol=1e-5)
    assert not np.allclose(expected, both[0] / both[0].sum(1, keepdims=True), rtol=0.1)
