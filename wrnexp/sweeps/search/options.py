"""The options of a search, conf/hydra/sweeper/search.yaml, checked."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wrnexp.config.check import message
from wrnexp.errors import UserError


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Sampler(_Part):
    """conf/hydra/sweeper/search.yaml, sampler."""

    startup_trials: int = Field(ge=0)
    seed: int = Field(ge=0)


class Pruning(_Part):
    """conf/hydra/sweeper/search.yaml, pruning."""

    enabled: bool
    startup_trials: int = Field(ge=1)
    warmup_epochs: int = Field(ge=0)


class Options(_Part):
    """conf/hydra/sweeper/search.yaml, without what is searched."""

    n_trials: int = Field(ge=1)
    n_jobs: int = Field(ge=1)
    sampler: Sampler
    pruning: Pruning

    @classmethod
    def checked(cls, options: dict[str, Any]) -> "Options":
        """Take the keys of the config.

        Raises:
            UserError: some are not allowed.
        """
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            wrong = [(".".join(map(str, one["loc"])), one["input"], one["msg"]) for one in error.errors()]
            raise UserError(message([f"hydra.sweeper.{key}={value}: {why}" for key, value, why in wrong])) from error
