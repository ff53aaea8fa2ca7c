"""Hydra's sweeper that searches: Optuna chooses what is tried next, everything else is as in any other sweep."""

from collections.abc import Mapping
from typing import Any

from wrnexp.process.packages import require
from wrnexp.sweeps.grid import LabelledSweeper, seeded, together


class SearchSweeper(LabelledSweeper):
    """Runs trials until the study has as many as it should, and goes on where the same command stopped.

    Where nothing is left to search, every key having one value, it is a grid over the seeds.

    Args:
        n_trials: of the study in all.
        n_jobs: trials that are handed to the launcher at once.
        params: key to values, written as on the command line.
        sampler: `startup_trials` drawn at random before Optuna's TPE chooses, and the `seed` of the draws.
        pruning: whether it is `enabled`, how many complete `startup_trials` come before it, and after how many of its
            epochs (`warmup_epochs`) no run is stopped yet.
    """

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        params: dict[str, str] | None,
        sampler: Mapping[str, Any],
        pruning: Mapping[str, Any],
    ) -> None:
        super().__init__(params=params)
        self.options = {"n_trials": n_trials, "n_jobs": n_jobs, "sampler": dict(sampler), "pruning": dict(pruning)}

    def sweep(self, arguments: list[str]) -> Any:
        """Run what the study still lacks.

        Raises:
            UserError: a mistake in the command; or Optuna is not installed.
            SystemExit: a trial has failed or is not over; the code is 2 where users' mistakes are all, else 1.
        """
        require("hydra/sweeper=search", "optuna", extra="search")
        from wrnexp.sweeps.search.options import Options
        from wrnexp.sweeps.search.space import space  # not before it is known that Optuna is there
        from wrnexp.sweeps.search.trials import Searcher

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        found = space(seeded(together(self._parse_config(), arguments), self.config.seed))
        if not found.searched:
            return super().sweep(arguments)
        options = Options.checked(self.options)
        searcher = Searcher(self.config, self.hydra_context, self.launcher, self.task, found, options)
        return searcher.preview() if self.config.sweep.dry_run else searcher.search()
