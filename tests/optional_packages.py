"""Tests that need a package which only sinks, pictures or extras need are skipped where it is not installed.

The hooks serve every test: one that imports such a package, in its module, a fixture or its body, needs no more.
"""

import traceback
from collections.abc import Generator
from pathlib import Path

import pytest

from wrnexp.errors import MissingPackageError, causes
from wrnexp.packages import is_installed

OPTIONAL = (
    "onnx", "onnxruntime", "onnxscript", "optuna", "pyarrow", "statsmodels", "tensorboard", "vl_convert", "wandb",
    "wandb_workspaces",
)  # fmt: skip
TESTS = str(Path(__file__).parent)


class Module(pytest.Module):
    """A module of tests, skipped where its import needs a package that is not installed."""

    def collect(self):  # type: ignore[no-untyped-def]  # pytest's own type is not public
        """Return the tests."""
        try:
            return super().collect()
        except Exception as error:
            if reason := _missing(error):
                pytest.skip(f"{self.nodeid}: {reason}", allow_module_level=True)
            raise


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Collect with the class above."""
    return Module.from_parent(parent, path=module_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Skip where a fixture needs a package that is not installed."""
    return (yield from _skipping())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip where a test needs a package that is not installed."""
    return (yield from _skipping())


def _skipping() -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as error:
        # An import by wrnexp itself is a defect: it has to say what to install.
        if (reason := _missing(error)) and (isinstance(error, MissingPackageError) or _imported_by_a_test(error)):
            pytest.skip(reason)
        raise


def _missing(error: Exception) -> str | None:
    """Return why a test cannot run, where the reason is an optional package that is not installed."""
    for cause in causes(error):
        if isinstance(cause, MissingPackageError):
            return str(cause)
        package = (cause.name or "").partition(".")[0] if isinstance(cause, ModuleNotFoundError) else ""
        if package in OPTIONAL and not is_installed(package):
            return f"needs {package}, not installed here"
    return None


def _imported_by_a_test(error: Exception) -> bool:
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return next((file for file in reversed(files) if not file.startswith("<frozen")), "").startswith(TESTS)
