"""Training-time augmentation: what a recipe names, and how it is done to an image."""

from wrnexp.augment.recipe import Augment, Jitter

__all__ = ["Augment", "Jitter"]
