"""Networks around a trained network: with the normalisation in front, and with the mirror image beside."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A network that takes images as they are: the normalisation of training comes first.

    Args:
        model: maps normalised images [N, 3, H, W] to logits [N, classes].
        mean: of R, G, B, in 0..1.
        std: likewise, the standard deviations.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [N, classes] of float32 images [N, 3, H, W] in 0..1."""
        logits: Tensor = self.model((images - self.mean) / self.std)
        return logits


class Mirrored(nn.Module):
    """A network asked twice, about the image and about its mirror image; the two softmaxes are averaged.

    The mean is the arithmetic one of probabilities, as Krizhevsky, Sutskever and Hinton average the softmax of crops
    and their reflections ("ImageNet Classification with Deep Convolutional Neural Networks", 2012, section 4.1). The
    mean of logits, the other usual choice, is a normalised geometric mean of probabilities.

    Args:
        model: maps images [N, 3, H, W] to logits [N, classes].
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return log probabilities [N, classes], float32; they are logits whose softmax is the mean."""
        both = torch.stack([self.model(images), self.model(images.flip(-1))])
        return both.float().log_softmax(-1).logsumexp(0) - torch.log(torch.tensor(2.0)).item()
