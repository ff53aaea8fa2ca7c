"""The other side of `wrnexp bench step`: a wide ResNet and its training step as one first writes them.

Float32, eager, the default memory format, `nn.Dropout`, no in-place operations, torch's own SGD and cross-entropy.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU, dropout between them, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = None
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch of feature maps to the next."""
        out = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = self.conv1(out)
        out = self.conv2(self.dropout(F.relu(self.bn2(out))))
        total: Tensor = out + shortcut
        return total


class PlainWideResNet(nn.Module):
    """The same network as `wrnexp.models.WideResNet`, written without any thought of speed."""

    def __init__(self, depth: int, width: int, dropout: float, stem_dropout: float, num_classes: int) -> None:
        super().__init__()
        blocks, channels = [], 16
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.stem_dropout = nn.Dropout(stem_dropout)
        for group, stride in ((1, 1), (2, 2), (4, 2)):
            for index in range((depth - 4) // 6):
                blocks.append(PlainBlock(channels, 16 * width * group, stride if index == 0 else 1, dropout))
                channels = 16 * width * group
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of images."""
        out = F.relu(self.bn(self.blocks(self.stem_dropout(self.stem(x)))))
        logits: Tensor = self.fc(F.adaptive_avg_pool2d(out, 1).flatten(1))
        return logits


def plain_step(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], object]:
    """Return a function that takes one training step of `model` on the batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
