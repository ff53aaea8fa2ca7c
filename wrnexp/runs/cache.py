"""Where caches lie: images that were fetched, kernels that were compiled."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of all caches: `WRNEXP_CACHE` where it is set, else the user's cache folder."""
    from platformdirs import user_cache_path

    named = os.environ.get("WRNEXP_CACHE")
    return Path(named).expanduser() if named else user_cache_path("wrnexp")
