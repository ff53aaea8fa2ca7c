"""From a node of the config to an object: the only user of Hydra's `instantiate`."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from wrnexp.errors import TrainingError, UserError, one_line
from wrnexp.runs.digests import file_digest

ALLOWED = "the dotted path of a class or function that is installed, on PYTHONPATH or beside run.py"
NO_PARTIAL = "; `_partial_: true` is missing"
PUNCTUATION = {ord(character): None for character in ".[]"}  # Hydra writes the key `transforms[0]` as transforms0
# What is asked of an object that a class from outside wrnexp makes, by its group.
ATTRIBUTES = {
    "model": ("forward", "parameters"),
    "loader": ("plan", "epoch", "evaluation", "close"),
    "data": ("name", "classes", "image_size", "train", "test"),
}


def make(node: Mapping[str, Any], key: str, /, *arguments: Any, **keywords: Any) -> Any:
    """Instantiate a node of the config with plain values; nested nodes that have a `_target_` come first.

    Args:
        node: an omegaconf node, or the plain mapping that a record holds.
        key: where the node is in the config, for messages.
        *arguments: what the object of a node with `_partial_: true` is called with; it is not called without any.
        **keywords: the same, by name.

    Raises:
        UserError: a `_target_` cannot be imported or called, a class from outside wrnexp raises an exception, or the
            object lacks what its group asks for.
    """
    settings: Any = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else dict(node)
    called = bool(arguments or keywords)
    try:
        made = instantiate(settings, _convert_="all")
        made = made(*arguments, **keywords) if called else made
        _check_attributes(made, key, settings)
        return made
    except Exception as error:
        raised = error
    # Not raised in the handler: a cause would get its own effect as its context, a circle.
    hint = NO_PARTIAL if called and not settings.get("_partial_") else ""
    if problem := _problem(raised, settings, key, hint):
        raise UserError(problem) from raised
    raise _cause(raised)


def external_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of the file of each module outside wrnexp that a `_target_` of a config comes from.

    Modules are not imported: objects that the config describes must have been made.
    """
    targets = [target for target in _targets(config).values() if not target.startswith("wrnexp.")]
    modules = {_module(target) for target in targets} & sys.modules.keys()
    files = {name: getattr(sys.modules[name], "__file__", None) for name in sorted(modules)}
    return {name: file_digest(Path(file)) for name, file in files.items() if file}


def _module(target: str) -> str:
    """Return the longest part of a dotted path that is an imported module; empty where none is."""
    parts = target.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in sys.modules), "")


def _check_attributes(made: Any, key: str, settings: dict[str, Any]) -> None:
    if missing := [name for name in ATTRIBUTES.get(key, ()) if not hasattr(made, name)]:
        target, what = settings.get("_target_"), type(made).__name__
        raise UserError(f"{key}: {target} returns a {what}, which has no {', '.join(missing)} (docs/extending.md)")


def _problem(error: Exception, settings: dict[str, Any], key: str, hint: str) -> str | None:
    """Say what is wrong with a `_target_`; None where wrnexp's own raised: that has a message, or is a defect."""
    inner, target = _failed_node(error, settings)
    where = f"{key}.{inner}" if inner else key
    cause = _cause(error)
    if isinstance(cause, UserError | TrainingError):
        return None
    if str(error).startswith("Error locating target"):
        reason = one_line(cause.__cause__ or cause)
        return f"{where}._target_={target} cannot be imported ({reason}); allowed: {ALLOWED}"
    if isinstance(cause, InstantiationException):  # Hydra itself: not callable, or not safe
        reason = " ".join(str(cause).partition("\nfull_key: ")[0].split())
        return f"{where}._target_={target} is not allowed ({reason}); allowed: {ALLOWED}"
    if target.startswith("wrnexp."):
        return None
    return f"{where}: {target} cannot be made: {one_line(cause)}{hint} (HYDRA_FULL_ERROR=1 shows the traceback)"


def _cause(error: Exception) -> BaseException:
    """Return what a target raised; Hydra's own error where none was reached."""
    return (isinstance(error, InstantiationException) and error.__cause__) or error


def _failed_node(error: Exception, settings: dict[str, Any]) -> tuple[str, str]:
    """Return where below a node Hydra failed, empty for the node itself, and the `_target_` there."""
    _, _, failed = str(error).rpartition("\nfull_key: ")
    targets = _targets(settings)
    inner = next((key for key in targets if key.translate(PUNCTUATION) == failed.translate(PUNCTUATION)), "")
    return inner, targets.get(inner, "")


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the key and the value of a node and of everything in it, a node before what is in it."""
    nodes = [(key, node)]
    while nodes:
        where, value = nodes.pop()
        yield where, value
        inner: list[tuple[str, Any]] = []
        if isinstance(value, Mapping):
            inner = [(f"{where}.{name}".removeprefix("."), item) for name, item in value.items()]
        elif isinstance(value, list | tuple):
            inner = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
        nodes += reversed(inner)


def _targets(node: Any) -> dict[str, str]:
    """Return the `_target_` of a node and of every node in it, by the key of the node."""
    return {
        key: str(value["_target_"]) for key, value in walk(node) if isinstance(value, Mapping) and "_target_" in value
    }
