"""Tests that need a package which only sinks, pictures or extras need are skipped where it is not installed.

The hooks serve every test: one that imports such a package, in its module, a fixture or its body, needs no more.
"""

import traceback
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest

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
        if (reason := _missing(error)) and (_says_what_to_install(error) or _imported_by_a_test(error)):
            pytest.skip(reason)
        raise


def _missing(error: Exception) -> str | None:
    """Return why a test cannot run, where the reason is an optional package that is not installed.

    Nothing of wrnexp is used here: these hooks must not fail where its package is another version, or is broken.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if _says_what_to_install(cause):
            return str(cause)
        package = (cause.name or "").partition(".")[0] if isinstance(cause, ModuleNotFoundError) else ""
        if package in OPTIONAL and ((spec := find_spec(package)) is None or spec.origin is None):
            return f"needs {package}, not installed here"
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return None


def _says_what_to_install(error: BaseException) -> bool:
    return type(error).__name__ == "MissingPackageError"


def _imported_by_a_test(error: Exception) -> bool:
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return next((file for file in reversed(files) if not file.startswith("<frozen")), "").startswith(TESTS)
