"""What Hydra finds by itself in every process that it starts: names by identity, the sweeps folder, the sweeper.

Hydra takes plugins only from a package of this name; what they do is in `wrnexp.hydra_app`.
"""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from wrnexp.hydra_app import naming
from wrnexp.sweeps import grid
from wrnexp.sweeps.launchers import local, ray, slurm
from wrnexp.sweeps.search import sweeper

naming.register()


class SweepsSearchPath(SearchPathPlugin):
    """Finds the sweeps of the repository whatever the working directory is: `python run.py -cn dropout`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the folder `sweeps` beside `conf`."""
        search_path.append("wrnexp", f"file://{Path(__file__).parents[1] / 'sweeps'}")


class LabelledSweeper(grid.LabelledSweeper):
    """`wrnexp.sweeps.grid.LabelledSweeper` under the name that `hydra.sweeper._target_` may have."""


class SearchSweeper(sweeper.SearchSweeper):
    """`wrnexp.sweeps.search.sweeper.SearchSweeper` under the name that `hydra.sweeper._target_` may have."""


class LocalLauncher(local.LocalLauncher):
    """`wrnexp.sweeps.launchers.local.LocalLauncher` under the name that `hydra.launcher._target_` may have."""


class SlurmLauncher(slurm.SlurmLauncher):
    """`wrnexp.sweeps.launchers.slurm.SlurmLauncher` under the name that `hydra.launcher._target_` may have."""


class RayLauncher(ray.RayLauncher):
    """`wrnexp.sweeps.launchers.ray.RayLauncher` under the name that `hydra.launcher._target_` may have."""
