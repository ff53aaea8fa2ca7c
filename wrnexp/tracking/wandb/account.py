"""The W&B mode and API key, resolved without a prompt or a request, and environment variables for W&B's SDK."""

import netrc
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from wrnexp.process.packages import is_installed, missing_message
from wrnexp.process.terminal import warn

MODES = ("online", "offline", "disabled")
_OURS: set[str] = set()  # environment variables set by this module, not by the user


def resolve_mode(mode: str) -> Any:
    """Return online, offline or disabled; `auto` is `WANDB_MODE` if set, else online with an API key, else offline.

    If wandb is not installed, warn and return disabled.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or "auto"
    if mode != "disabled" and not is_installed("wandb"):
        missing = missing_message("logging the run", "wandb")
        warn(f"W&B: {missing}; the record is not affected, `wrnexp publish` uploads it later")
        return "disabled"
    if mode == "auto":
        mode = "online" if has_key() else "offline"
    mode = {"dryrun": "offline", "run": "online"}.get(mode, mode)
    if mode not in MODES:
        warn(f"W&B: WANDB_MODE={mode} is not one of {', '.join(MODES)}; this run is logged offline")
        return "offline"
    if mode == "online" and not has_key():  # the SDK would prompt for one
        warn("W&B: online needs an API key (WANDB_API_KEY, or wandb login); this run is logged offline")
        return "offline"
    return mode


def has_key() -> bool:
    """Return True if an API key is configured, in the environment or in the user's netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(server()).netloc
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def server() -> str:
    """Return the URL of the W&B server in use."""
    import wandb  # takes half a second, so only when W&B is used

    return os.environ.get("WANDB_BASE_URL") or str(wandb.Settings().base_url)


def configure_sdk(folder: Path) -> None:
    """Set environment variables so that the SDK prints nothing and stages artifacts in W&B's local `folder`.

    By default it stages an offline run's artifacts in the home folder, and `wandb sync` silently skips those that are
    deleted there. Error reports are off: sending them blocks while the server does not answer.
    """
    if not os.environ.get("WANDB_MODE", "-"):
        del os.environ["WANDB_MODE"]  # the SDK rejects an empty value
    folder = folder.resolve()
    ours = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "WANDB_DATA_DIR": str(folder)}
    if not _writable(Path(platformdirs.user_cache_dir("wandb"))):
        ours["WANDB_CACHE_DIR"] = str(folder / "cache")  # else the SDK logs to the terminal and cannot read runs
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
