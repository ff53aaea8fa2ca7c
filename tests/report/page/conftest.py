"""A small two-factor study with all parts of the page except an ablation."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.page.made import write_grid
from wrnexp.report.build import build
from wrnexp.report.tables import Report

WriteRun = Callable[..., Path]


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return a report, written to disk, on 3 x 3 arms with 3 seeds each."""
    folder = tmp_path_factory.mktemp("grid")
    return build([write_grid(folder / "runs", 3)], folder / "report")
