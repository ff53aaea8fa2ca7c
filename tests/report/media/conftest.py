"""A fixture that collects the figures that plots save."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from wrnexp.report.figures import style


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return a list that collects each figure when it is saved; the file is written as well."""
    saved: list[Figure] = []
    save = style.save

    def keep(figure: Figure, path: Path) -> None:
        saved.append(figure)
        save(figure, path)
        with Image.open(path) as written:
            assert np.asarray(written.convert("L")).std() > 5  # something is to be seen

    monkeypatch.setattr(style, "save", keep)
    return saved
