"""wrnexp: Wide ResNets on CIFAR-100, one recipe against another, with honest statistics."""

__version__ = "0.1.0"
