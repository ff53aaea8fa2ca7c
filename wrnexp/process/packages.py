"""Packages that only sinks, pictures and extras need: whether they are installed, and what to do where they are not."""

from importlib.util import find_spec

from wrnexp.errors import MissingPackageError


def is_installed(package: str) -> bool:
    """Return whether a top-level package can be imported; nothing is imported.

    A folder of that name without an `__init__.py`, for instance W&B's `wandb/`, is not the package.
    """
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def require(purpose: str, *packages: str, extra: str = "") -> None:
    """Refuse what needs packages that are not installed.

    Args:
        purpose: what needs them, as the user knows it, for instance `tracking=tensorboard`.
        *packages: names to import.
        extra: of wrnexp, which has them; empty where wrnexp itself depends on them.

    Raises:
        MissingPackageError: one is not installed; the message says how to install it.
    """
    if any(not is_installed(package) for package in packages):
        raise MissingPackageError(missing_message(purpose, *packages, extra=extra))


def missing_message(purpose: str, *packages: str, extra: str = "") -> str:
    """Return in one line which of `packages` are not installed, and how to install them."""
    missing = ", ".join(package for package in packages if not is_installed(package))
    target = f"'.[{extra}]'" if extra else "."
    return f"{purpose} needs {missing}, not installed here: pip install -c constraints.txt -e {target}"
