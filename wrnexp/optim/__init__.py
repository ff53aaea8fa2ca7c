"""The optimizer's side of a recipe: SGD, its schedules, parameter groups and the average of the weights."""

from wrnexp.optim.averaging import WeightAverage, averaged
from wrnexp.optim.groups import parameter_groups
from wrnexp.optim.recipe import SGDRecipe
from wrnexp.optim.schedules import Cosine, Schedule, Steps

__all__ = ["Cosine", "SGDRecipe", "Schedule", "Steps", "WeightAverage", "averaged", "parameter_groups"]
