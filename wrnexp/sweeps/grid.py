"""Hydra's sweeper of a grid, with arms, a name and a label for each job; it can be given again."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from wrnexp.errors import UserError
from wrnexp.process import torchrun
from wrnexp.sweeps.jobs import Composer, axes, combinations, read_arms


class LabelledSweeper(BasicSweeper):
    """Runs every combination of values with every arm, once, and goes on where the same command stopped.

    Args:
        max_batch_size: jobs handed to the launcher at once; None is all.
        params: key to values, written as on the command line.
        arms: label to `{overrides: [...], roles: [...]}`.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        arms: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(max_batch_size=max_batch_size, params=params)
        self.arms = arms

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra knows of the command.

        Raises:
            UserError: torchrun has started it.
        """
        if torchrun.process_rank() is not None:
            raise UserError("a sweep under torchrun would run in each of its processes; use trainer.devices=N instead")
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.task = task_function

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that `arguments`, `params` and `arms` describe.

        Raises:
            UserError: two runs would share a folder; nothing is written.
            SystemExit: a job is not completed; the code is 2 where users' mistakes are all that went wrong, else 1.
        """
        from wrnexp.sweeps.driver import Driver  # pydantic and rich come with it: not for --help
        from wrnexp.sweeps.merging import merged

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        arguments = seeded(together(self._parse_config(), arguments), self.config.seed)
        arms = read_arms(self.arms)
        composer = Composer(self.hydra_context.config_loader, self.config, arguments)
        jobs, merge_note = merged(composer, combinations(arguments, arms))
        driver = Driver(self.config, self.hydra_context, self.launcher, self.task)
        driver.describe(axes(arguments, arms), jobs)
        if merge_note is not None:
            driver.say(f"note: {merge_note}")
        if self.config.sweep.dry_run:
            return driver.preview()
        with driver:
            driver.run(driver.jobs, self.max_batch_size)
        return driver.leave()


def together(kept: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return the overrides of a sweep's file and of the command; where both name a key, the command's holds."""
    parser = OverridesParser.create()
    keys = {one.key_or_group for one in parser.parse_overrides(list(given))}
    return [*(one for one in kept if parser.parse_override(one).key_or_group not in keys), *given]


def seeded(arguments: list[str], seed: int) -> list[str]:
    """Return the overrides with one for the seed: every sweep has the seed among its axes."""
    return arguments if any(one.lstrip("+").startswith("seed=") for one in arguments) else [*arguments, f"seed={seed}"]
