"""What the configured sinks need beyond wrnexp's own packages, asked for before any data is read."""

from collections.abc import Iterable
from importlib.util import find_spec

from wrnexp.errors import UserError

EXTRAS = {"tensorboard": "tensorboard"}  # by sink: the package, which is the name of the extra too


def check_installed(sinks: Iterable[str]) -> None:
    """Refuse a sink whose package is not there.

    Args:
        sinks: names of the nodes under `tracking`.

    Raises:
        UserError: a package is not installed; the message says how to install it.
    """
    for sink in sinks:
        if (package := EXTRAS.get(sink)) and find_spec(package) is None:
            raise UserError(
                f"tracking={sink} needs the package {package}, not installed here: "
                f"pip install -c constraints.txt -e '.[{package}]'"
            )
