"""Imports matplotlib independently of the environment, and finds fonts for characters that DejaVu Sans lacks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

DEFAULT_FONT = "DejaVu Sans"  # comes with matplotlib


@contextmanager
def default_settings() -> Iterator[None]:
    """Ignore the environment's matplotlib settings; import matplotlib within this context.

    The import fails if `MPLBACKEND` names a backend that is not installed, such as the one that a notebook exports to
    its child processes, or if a matplotlibrc cannot be read. Figures here need neither, they use Agg.
    """
    settings = Path(getattr(find_spec("matplotlib"), "origin", None) or "").parent / "mpl-data" / "matplotlibrc"
    backend, file = (os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC"))
    os.environ["MATPLOTLIBRC"] = str(settings)
    try:
        yield
    finally:
        del os.environ["MATPLOTLIBRC"]
        os.environ.update({name: old for name, old in (("MPLBACKEND", backend), ("MATPLOTLIBRC", file)) if old})
    if backend:
        import matplotlib

        with suppress(ValueError):  # for user code in this process that imports pyplot
            matplotlib.rcParams["backend"] = backend


def fallback_fonts(text: str) -> list[str]:
    """Return installed fonts that have the characters of `text` which the default font lacks, as far as available."""
    from matplotlib.font_manager import findfont, fontManager, get_font

    missing = {ord(character) for character in text if not character.isspace()}
    missing -= get_font(findfont(DEFAULT_FONT)).get_charmap().keys()
    names: list[str] = []
    for entry in fontManager.ttflist if missing else ():
        if entry.style != "normal" or entry.name.startswith("Last Resort"):  # draws a box for every character
            continue
        with suppress(OSError, RuntimeError):  # a damaged font
            if covered := missing & get_font(entry.fname).get_charmap().keys():
                names.append(entry.name)
                missing -= covered
        if not missing:
            break
    return names
