"""What a run's record may name as a `_target_`: a config is code, a record is not, since it may come from anyone.

Hydra's `instantiate` imports and calls whatever a `_target_` names. A record's nodes are checked before that, without
importing anything: a module runs its code as soon as it is imported.
"""

import re
import sys
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

from torch import nn

from wrnexp import models
from wrnexp.errors import UserError
from wrnexp.hydra_app.instantiate import walk

DATA = "wrnexp.data.load"
# Packages whose classes may be a model or a part of one, each with where such a class is defined. torch.nn.parallel and
# torch.nn.utils are left out: what they hold is no layer, and touches processes, devices and other modules.
PACKAGES = {"torch.nn": (nn, "torch.nn.modules."), "wrnexp.models": (models, "wrnexp.models.")}
BUILT_IN = {"model": "layers of torch.nn and classes of wrnexp.models", "data": DATA}
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
SPECIAL = re.compile(r"_\w+_")  # keys that `instantiate` itself reads, today's and those of later versions
CONVERSIONS = ("none", "partial", "object", "all")


def check_targets(node: Mapping[str, Any], group: str, allowed: Collection[str] = ()) -> None:
    """Refuse a node of a record's config that would run code which its reader has not allowed; nothing is imported.

    Args:
        node: plain values; may hold nodes with a `_target_` of their own, at any depth.
        group: `model`, which may name classes of `wrnexp.models` and layers of `torch.nn`, or `data`, which may name
            `wrnexp.data.load`.
        allowed: dotted paths that the reader of the record allows besides.

    Raises:
        UserError: the node, or one in it, names something else, or is not made of the plain values that a record holds.
    """
    if "_target_" not in node:
        raise UserError(f"the run's record cannot be used: its config has no {group}._target_")
    for key, value in walk(node, group):
        if isinstance(value, str):
            _check_text(key, value)
        elif isinstance(value, Mapping):
            for name in value:
                _check_text(f"{key}.{name}", str(name))
            _check_special(key, value)
            if "_target_" in value:
                _check_target(f"{key}._target_", value["_target_"], group, allowed)


def _check_text(key: str, text: str) -> None:
    """Refuse what OmegaConf would resolve: `${oc.env:NAME}` reads a variable, `${oc.create:...}` makes a node."""
    if "${" in text:
        raise UserError(
            f"{key} of the run's record holds an interpolation ({text[:80]}); a record has plain values only"
        )


def _check_special(key: str, node: Mapping[str, Any]) -> None:
    """Refuse odd values of the keys that `instantiate` reads, and such keys that it does not have."""
    for name, value in node.items():
        good = {
            "_target_": isinstance(value, str),
            "_args_": isinstance(value, list),
            "_partial_": isinstance(value, bool),
            "_recursive_": isinstance(value, bool),
            "_convert_": value in CONVERSIONS,
        }
        if SPECIAL.fullmatch(str(name)) and not good.get(name):
            raise UserError(f"{key}.{name}={str(value)[:80]} of the run's record is not what Hydra writes there")


def _check_target(key: str, target: str, group: str, allowed: Collection[str]) -> None:
    if target in allowed or (target == DATA if group == "data" else _is_part_of_a_model(target)):
        return
    problem = f"{key}={target[:200]} is not made from a record, which may come from anyone, but for {BUILT_IN[group]}"
    if target.isascii() and DOTTED.fullmatch(target):  # letters that look alike are no path to trust
        problem += f"; if you trust this code, allow it with --allow-target {target}"
    raise UserError(f"{problem}; nothing was run")


def _is_part_of_a_model(target: str) -> bool:
    """Return whether `target` is the path of a class that `PACKAGES` allows; looks at what is imported already only.

    Each part but the last must be a module of the package itself: `torch.nn.functional.torch.load` begins like one of
    its classes, and leads out of it.
    """
    for name, (package, home) in PACKAGES.items():
        if target.startswith(f"{name}."):
            value: Any = package
            for part in target.removeprefix(f"{name}.").split("."):
                if not _is_module_of(name, value):
                    return False
                value = vars(value).get(part)
            return isinstance(value, type) and issubclass(value, nn.Module) and value.__module__.startswith(home)
    return False


def _is_module_of(package: str, value: Any) -> bool:
    return (
        isinstance(value, ModuleType)
        and f"{value.__name__}.".startswith(f"{package}.")
        and sys.modules.get(value.__name__) is value
    )
