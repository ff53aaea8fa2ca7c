"""Wide residual networks for small images.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016 (arXiv 1605.07146). Blocks are pre-activated: batch norm and
ReLU precede each convolution, nothing follows the sum.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from wrnexp.errors import UserError
from wrnexp.models.dropout import Dropout, mask_size
from wrnexp.models.recompute import Saved, SavedSizes, choose, rebuilt

STEM_CHANNELS = 16
VALID_DEPTHS = "6n + 4 layers, n blocks per group: 10, 16, 22, 28, 34, 40, ..."


class Block(nn.Module):
    """Two 3x3 convolutions with dropout between them, and a shortcut around both.

    If the shape changes, the shortcut is a 1x1 convolution of the activated input; otherwise it is the raw input.
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
        self.saved = Saved.ALL

    def forward(self, images: Tensor) -> Tensor:
        """Map `[N, inputs, H, W]` to `[N, outputs, H / stride, W / stride]`."""
        if self.saved is Saved.INPUT:
            return rebuilt(self, self._halves, images)
        return self._halves(images)

    def _halves(self, images: Tensor) -> Tensor:
        if self.saved is Saved.ALL:
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
        return self.conv1(active), shortcut  # the large convolution last: it is not recomputed

    def _second(self, hidden: Tensor) -> Tensor:
        active = F.relu(self.norm2(hidden), inplace=True)
        residual: Tensor = self.conv2(self.dropout(active))
        return residual

    def saved_sizes(self, area: float, mask: float) -> SavedSizes:
        """Return the elements that the block saves per image.

        Args:
            area: pixels of a channel of the input, in any unit.
            mask: size of dropout's mask in elements of its input.
        """
        output_area = area / self.conv1.stride[0] ** 2
        entry, hidden = self.norm1.num_features * area, self.norm2.num_features * output_area
        dropped = (mask + 1) * hidden if self.dropout.p else 0.0  # mask and product
        weights = self.conv1.weight.numel() + sum(weight.numel() for weight in self.projection.parameters())
        return SavedSizes(2 * entry + 2 * hidden + dropped, entry + hidden, entry, multiply_adds=weights * output_area)


class WideResNet(nn.Module):
    """WRN-depth-width: a stem, three groups of blocks at full, half and quarter resolution, and a linear classifier.

    Args:
        depth: layers with weights on the longest path, 6n + 4 for n blocks per group.
        width: widening factor k; the groups have 16k, 32k and 64k channels.
        dropout: probability of a zero between the two convolutions of a block, 0 <= p < 1.
        stem_dropout: the same after the first convolution.
        num_classes: outputs of the classifier.

    Raises:
        UserError: depth or width is invalid; the message lists the valid values.
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
        self.saved = Saved.ALL  # of the head
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `[N, num_classes]` of normalised images `[N, 3, H, W]`; H and W are multiples of 4."""
        hidden = self.stem_dropout(self.stem(images))
        hidden = self.group3(self.group2(self.group1(hidden)))
        return self._head(hidden) if self.saved is Saved.ALL else rebuilt(self, self._head, hidden)

    def set_activation_budget(self, share: float) -> float:
        """Save at most `share` of the activations for the backward pass and recompute the others, exactly.

        Below 1, batch norms, ReLUs and dropout are recomputed and only the outputs of convolutions are saved: half of
        the activations without dropout, a third with it (on a CPU, with a float mask). No convolution except the 1x1
        ones runs twice. If that is above `share`, first convolutions of blocks are recomputed too, those that free most
        per multiply-add first. The minimum is the input of each block.

        Args:
            share: 0 < share <= 1; 1 saves all and recomputes nothing.

        Returns:
            The share that is saved, from shapes, without batch norm's statistics; above `share` if that is out of
            reach.
        """
        parts = self._parts()
        choices, saved_share = choose(list(parts.values()), share)
        for part, choice in zip(parts, choices, strict=True):
            part.saved = choice
        return saved_share

    def _parts(self) -> dict["Block | WideResNet", SavedSizes]:
        """Return the sizes of each block, and of stem and head together; areas are relative to the stem's."""
        parts: dict[Block | WideResNet, SavedSizes] = {}
        mask = mask_size(self.classifier.weight.device)
        area = 1.0
        for block in (*self.group1, *self.group2, *self.group3):
            assert isinstance(block, Block)
            parts[block] = block.saved_sizes(area, mask)
            area /= block.conv1.stride[0] ** 2
        stem = STEM_CHANNELS * mask if self.stem_dropout.p else 0.0
        head = self.norm.num_features * area
        return parts | {self: SavedSizes(stem + 2 * head, stem + head, stem + head, multiply_adds=0)}

    def _head(self, hidden: Tensor) -> Tensor:
        features = F.relu(self.norm(hidden), inplace=True).mean((2, 3))
        logits: Tensor = self.classifier(features)
        return logits


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a padded 3x3 convolution without bias; the batch norm that follows has one."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def _blocks_per_group(depth: int) -> int:
    blocks, remainder = divmod(depth - 4, 6)
    if remainder or blocks < 1:
        raise UserError(f"model.depth is {depth}: a wide ResNet has {VALID_DEPTHS}")
    return blocks


def _group(blocks: int, inputs: int, outputs: int, stride: int, dropout: float) -> nn.Sequential:
    first = Block(inputs, outputs, stride, dropout)
    return nn.Sequential(first, *(Block(outputs, outputs, 1, dropout) for _ in range(blocks - 1)))


def _initialise(module: nn.Module) -> None:
    """He initialisation by fan-out (arXiv 1502.01852); batch norms already start at weight 1 and bias 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
