"""Wide residual networks for small images.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016 (arXiv 1605.07146). A block is pre-activated: batch norm and
ReLU come before each convolution, and nothing follows the sum.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from wrnexp.errors import UserError
from wrnexp.models.dropout import Dropout

STEM_CHANNELS = 16
VALID_DEPTHS = "6n + 4 layers, n blocks a group: 10, 16, 22, 28, 34, 40, ..."


class Block(nn.Module):
    """Two 3x3 convolutions with dropout between them, and a shortcut around both.

    Where the shape changes the shortcut is a 1x1 convolution fed by the activated input; elsewhere it is the raw input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = Dropout(dropout)
        self.conv2 = conv3x3(outputs, outputs)
        self.reshapes = inputs != outputs or stride != 1
        self.projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if self.reshapes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Map `[N, inputs, H, W]` to `[N, outputs, H / stride, W / stride]`."""
        active = F.relu(self.norm1(images), inplace=True)
        hidden = F.relu(self.norm2(self.conv1(active)), inplace=True)
        residual: Tensor = self.conv2(self.dropout(hidden))
        residual += self.projection(active if self.reshapes else images)
        return residual


class WideResNet(nn.Module):
    """WRN-depth-width: a stem, three groups of blocks at full, half and quarter resolution, and a linear classifier.

    Args:
        depth: layers with weights on the longest path, 6n + 4 for n blocks a group.
        width: widening factor k; the groups have 16k, 32k and 64k channels.
        dropout: probability of a zero between the two convolutions of a block, 0 <= p < 1.
        stem_dropout: the same after the first convolution.
        num_classes: outputs of the classifier.

    Raises:
        UserError: there is no such network; the message names the valid values.
    """

    def __init__(self, depth: int, width: int, dropout: float, stem_dropout: float, num_classes: int) -> None:
        super().__init__()
        blocks = _blocks_per_group(depth)
        if width < 1:
            raise UserError(f"model.width is {width}: a widening factor is an integer of 1 or more")
        full, half, quarter = (STEM_CHANNELS * width * scale for scale in (1, 2, 4))
        self.stem = conv3x3(3, STEM_CHANNELS)
        self.stem_dropout = Dropout(stem_dropout)
        self.group1 = _group(blocks, STEM_CHANNELS, full, 1, dropout)
        self.group2 = _group(blocks, full, half, 2, dropout)
        self.group3 = _group(blocks, half, quarter, 2, dropout)
        self.norm = nn.BatchNorm2d(quarter)
        self.classifier = nn.Linear(quarter, num_classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `[N, num_classes]` of normalised images `[N, 3, H, W]`; H and W are multiples of 4."""
        hidden = self.stem_dropout(self.stem(images))
        hidden = self.group3(self.group2(self.group1(hidden)))
        features = F.relu(self.norm(hidden), inplace=True).mean((2, 3))
        logits: Tensor = self.classifier(features)
        return logits


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a padded 3x3 convolution without bias, for a batch norm follows."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def _blocks_per_group(depth: int) -> int:
    blocks, left = divmod(depth - 4, 6)
    if left or blocks < 1:
        raise UserError(f"model.depth is {depth}: a wide ResNet has {VALID_DEPTHS}")
    return blocks


def _group(blocks: int, inputs: int, outputs: int, stride: int, dropout: float) -> nn.Sequential:
    first = Block(inputs, outputs, stride, dropout)
    return nn.Sequential(first, *(Block(outputs, outputs, 1, dropout) for _ in range(blocks - 1)))


def _initialise(module: nn.Module) -> None:
    """Draw convolutions by fan-out as He et al., 2015 (arXiv 1502.01852); batch norms start at 1 and 0 anyway."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
