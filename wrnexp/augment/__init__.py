"""Training-time augmentation: its settings, and its implementations for batches and for single images."""

from wrnexp.augment.recipe import Augment
from wrnexp.augment.settings import Jitter

__all__ = ["Augment", "Jitter"]
