"""Whether there is a W&B account to use, found out without asking anybody, and how W&B's SDK is to behave."""

import netrc
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from wrnexp.process.packages import is_installed, missing_message
from wrnexp.process.terminal import warn

MODES = ("online", "offline", "disabled")
_OURS: set[str] = set()  # the variables that are set here, not by the user


def settle_mode(mode: str) -> Any:
    """Return what W&B is to do: `auto` is `WANDB_MODE` where that is set, else online with an API key, else offline.

    Where wandb is not installed, it is to do nothing, and one line says so.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or "auto"
    if mode != "disabled" and not is_installed("wandb"):
        missing = missing_message("showing the run there", "wandb")
        warn(f"W&B: {missing}; the record is whole, `wrnexp publish` shows it later")
        return "disabled"
    if mode == "auto":
        mode = "online" if has_key() else "offline"
    mode = {"dryrun": "offline", "run": "online"}.get(mode, mode)
    if mode not in MODES:
        warn(f"W&B: WANDB_MODE={mode} is none of {', '.join(MODES)}; this run is kept offline")
        return "offline"
    if mode == "online" and not has_key():  # the SDK would ask for one
        warn("W&B: online needs an API key (WANDB_API_KEY, or wandb login); this run is kept offline")
        return "offline"
    return mode


def has_key() -> bool:
    """Say whether an API key is configured, in the environment or in the user's netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(server()).netloc
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def server() -> str:
    """Return the address of the W&B server in use."""
    import wandb  # half a second, which a run without W&B need not take

    return os.environ.get("WANDB_BASE_URL") or str(wandb.Settings().base_url)


def quiet(folder: Path) -> None:
    """Let the SDK print nothing and keep what it stages beside the runs.

    Left alone it would put an offline run's artifacts into the home folder, where `wandb sync` drops them silently
    once they are gone. Its own usage statistics are off: sending them waits for a server that does not answer.

    Args:
        folder: where W&B's files of the run lie.
    """
    if not os.environ.get("WANDB_MODE", "-"):
        del os.environ["WANDB_MODE"]  # empty: as good as not set, but the SDK does not take it
    folder = folder.resolve()
    ours = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "WANDB_DATA_DIR": str(folder)}
    if not _writable(Path(platformdirs.user_cache_dir("wandb"))):
        ours["WANDB_CACHE_DIR"] = str(folder / "cache")  # else its log goes to the terminal, and reading runs fails
    for name, value in ours.items():
        if name in _OURS or name not in os.environ:
            _OURS.add(name)
            os.environ[name] = value


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
