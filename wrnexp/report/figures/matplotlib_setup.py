"""matplotlib in any environment: how it is imported, and fonts for text that its own font cannot show."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

OWN_FONT = "DejaVu Sans"  # comes with matplotlib


@contextmanager
def own_settings() -> Iterator[None]:
    """Let matplotlib, which is first imported in this context, read its own settings instead of the environment's.

    Its import fails where `MPLBACKEND` names a backend that is not installed, such as the one that a notebook exports
    to the processes it starts, and where a matplotlibrc cannot be read. Nothing here needs either: Agg draws.
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

        with suppress(ValueError):  # for pyplot, where a user's own code in this process imports it
            matplotlib.rcParams["backend"] = backend


def fallback_fonts(text: str) -> list[str]:
    """Return names of installed fonts that have what matplotlib's own font lacks of `text`, as far as there are any."""
    from matplotlib.font_manager import findfont, fontManager, get_font

    missing = {ord(character) for character in text if not character.isspace()}
    missing -= get_font(findfont(OWN_FONT)).get_charmap().keys()
    names: list[str] = []
    for entry in fontManager.ttflist if missing else ():
        if entry.style != "normal" or entry.name.startswith("Last Resort"):  # has a box for every character
            continue
        with suppress(OSError, RuntimeError):  # a damaged font
            if covered := missing & get_font(entry.fname).get_charmap().keys():
                names.append(entry.name)
                missing -= covered
        if not missing:
            break
    return names
