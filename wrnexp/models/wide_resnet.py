"""Wide residual networks for small images.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016 (arXiv 1605.07146). A block is pre-activated: batch norm and
ReLU come before each convolution, and nothing follows the sum.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from wrnexp.errors import UserError
from wrnexp.models.dropout import Dropout, mask_size
from wrnexp.models.recompute import Kept, Sizes, choose, rebuilt

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
        self.kept = Kept.ALL

    def forward(self, images: Tensor) -> Tensor:
        """Map `[N, inputs, H, W]` to `[N, outputs, H / stride, W / stride]`."""
        if self.kept is Kept.INPUT:
            return rebuilt(self, self._halves, images)
        return self._halves(images)

    def _halves(self, images: Tensor) -> Tensor:
        if self.kept is Kept.ALL:
            hidden, shortcut = self._first(images)
            residual = self._second(hidden)
        else:
            hidden, shortcut = rebuilt(self, self._first, images)
            residual = rebuilt(self, self._second, hidden)
        residual += shortcut
        return residual

    def _first(self, images: Tensor) -> tuple[Tensor, Tensor]:
        active = F.relu(self.norm1(images), inplace=True)
        shortcut = self.projection(active if self.reshapes else images)
        return self.conv1(active), shortcut  # the large convolution last: it does not run again

    def _second(self, hidden: Tensor) -> Tensor:
        active = F.relu(self.norm2(hidden), inplace=True)
        residual: Tensor = self.conv2(self.dropout(active))
        return residual

    def sizes(self, area: float, mask: float) -> Sizes:
        """Return what the block keeps of an image: elements, where its input has `area` pixels, by each choice.

        Args:
            area: pixels of a channel of the input, in any unit.
            mask: elements that dropout's mask is worth for each value that it masks.
        """
        entry, hidden = self.norm1.num_features * area, self.norm2.num_features * area / self.conv1.stride[0] ** 2
        dropped = (mask + 1) * hidden if self.dropout.p else 0.0  # mask and product
        weights = self.conv1.weight.numel() + sum(weight.numel() for weight in self.projection.parameters())
        again = weights * area / self.conv1.stride[0] ** 2
        return Sizes(2 * entry + 2 * hidden + dropped, entry + hidden, entry, multiply_adds=again)


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
        self.kept = Kept.ALL
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `[N, num_classes]` of normalised images `[N, 3, H, W]`; H and W are multiples of 4."""
        hidden = self.stem_dropout(self.stem(images))
        hidden = self.group3(self.group2(self.group1(hidden)))
        return self._head(hidden) if self.kept is Kept.ALL else rebuilt(self, self._head, hidden)

    def set_activation_budget(self, share: float) -> float:
        """Keep at most `share` of the activations for the backward pass and recompute the others in it, exactly.

        Below 1 batch norms, ReLUs and dropout are recomputed: every convolution's output is kept, nothing else. That is
        half of the activations without dropout, a third with it (of its mask, in float, on a CPU), and costs no
        convolution but the 1x1 ones. Where that is above `share`, first convolutions of blocks are recomputed too, the
        cheapest for what they free first. The least is the input of each block.

        Args:
            share: 0 < share <= 1; 1 keeps all and computes nothing twice.

        Returns:
            The share that is kept, counted from shapes, without batch norm's figures a channel; above `share` where
            that cannot be reached.
        """
        parts = self._parts()
        chosen, kept = choose(list(parts.values()), share)
        for part, what in zip(parts, chosen, strict=True):
            part.kept = what
        return kept

    def _parts(self) -> dict["Block | WideResNet", Sizes]:
        """Return what each block, and the rest as one more part, keep by each choice; areas in the stem's pixels."""
        parts: dict[Block | WideResNet, Sizes] = {}
        mask = mask_size(self.classifier.weight.device)
        area = 1.0
        for block in (*self.group1, *self.group2, *self.group3):
            assert isinstance(block, Block)
            parts[block] = block.sizes(area, mask)
            area /= block.conv1.stride[0] ** 2
        stem = STEM_CHANNELS * mask if self.stem_dropout.p else 0.0
        head = self.norm.num_features * area
        return parts | {self: Sizes(stem + 2 * head, stem + head, stem + head, multiply_adds=0)}

    def _head(self, hidden: Tensor) -> Tensor:
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
