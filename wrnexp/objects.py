"""From a node of the config to an object: the only user of Hydra's `instantiate`."""

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from wrnexp.errors import UserError


def make(node: Mapping[str, Any]) -> Any:
    """Instantiate a node of the config as plain objects.

    Args:
        node: an omegaconf node, or the plain mapping that a record holds.

    Raises:
        UserError: a class of the user's own cannot be made.
    """
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause, target = error.__cause__ or error, str(node.get("_target_", ""))
        if isinstance(cause, UserError) or target.startswith("wrnexp."):
            raise cause from None
        raise UserError(f"{target} cannot be made: {' '.join(str(cause).split())}") from error
