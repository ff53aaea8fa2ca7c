"""Compares a single run's folder with its config before Hydra writes `.hydra/` and a log there."""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from wrnexp.errors import UserError
from wrnexp.hydra_app.naming import app_config


class FolderGuard(Callback):
    """Ends the command with exit code 2 where its folder belongs to another run."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called before Hydra makes the run's folder.

        Raises:
            SystemExit: the config is wrong, or the folder is another run's. Hydra turns other errors into warnings.
        """
        if "${wrnexp.folder:" in str(OmegaConf.to_container(config.hydra.run, resolve=False)):
            return  # named by the run itself; the start of most runs takes no longer

        from wrnexp.config.check import check
        from wrnexp.process.terminal import warn  # rich comes with it
        from wrnexp.runs.locks import is_locked
        from wrnexp.runs.ownership import clear_logs, require_own_folder  # pydantic comes with it

        try:
            folder = Path(str(config.hydra.run.dir))
            app = app_config(config)
            check(app)
            # A run that is under way may have trained no epoch yet: it would get this command's `.hydra/`.
            require_own_folder(folder, app, busy=is_locked(folder))
            clear_logs(folder)
        except UserError as error:
            warn(f"error: {error}", newlines=True)
            sys.exit(2)
        except Exception:  # of composition: Hydra itself raises it next, with what it says of the place
            return
