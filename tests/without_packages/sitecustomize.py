"""On PYTHONPATH: hides the packages that WITHOUT_PACKAGES names, from child processes too, as if not installed."""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

HIDDEN = frozenset(os.environ["WITHOUT_PACKAGES"].split(","))


class Hiding(PathFinder):
    """Finds what `PathFinder` finds, but for the hidden packages."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module; None where its package is hidden."""
        return None if fullname.partition(".")[0] in HIDDEN else super().find_spec(fullname, path, target)


sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
