"""Training-time augmentation: what a recipe names, and how it is done to an image."""

from wrnexp.augment.jitter import Jitter
from wrnexp.augment.recipe import Augment

__all__ = ["Augment", "Jitter"]
