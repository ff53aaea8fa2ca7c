"""SGD, learning rate schedules, parameter groups and weight averaging."""

from wrnexp.optim.averaging import WeightAverage, averaged
from wrnexp.optim.groups import parameter_groups
from wrnexp.optim.recipe import SGDRecipe
from wrnexp.optim.schedules import Cosine, Schedule, Steps

__all__ = ["Cosine", "SGDRecipe", "Schedule", "Steps", "WeightAverage", "averaged", "parameter_groups"]
