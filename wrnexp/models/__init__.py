"""Networks, and the cost of a forward pass."""

from wrnexp.models.cost import multiply_adds, parameter_count
from wrnexp.models.wide_resnet import WideResNet

__all__ = ["WideResNet", "multiply_adds", "parameter_count"]
