"""Checks a config against its keys: every problem at once, each with the key, the value, and what is allowed."""

import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wrnexp.config.cross_checks import CROSS_CHECKS
from wrnexp.config.keys import ExternalTarget, RunConfig
from wrnexp.config.text import excerpt
from wrnexp.errors import UserError

# What pydantic puts into an error's location for the members of a union; no key of the config has such a name there.
_TAGS = frozenset({"ours", "foreign", "cosine", "steps"})
_MISSING = "???"  # OmegaConf's mark of a value that must be given


def check(config: Mapping[str, Any]) -> None:
    """Accept a resolved config or say everything that is wrong with it.

    Args:
        config: nested plain values, as `OmegaConf.to_container` gives them.

    Raises:
        UserError: one message with a line for each wrong key.
    """
    if lines := problems(config):
        raise UserError(message(lines))


def message(lines: list[str]) -> str:
    """Return one message for all `lines`, each the account of one wrong key."""
    if len(lines) == 1:
        return f"config: {lines[0]}"
    return "\n".join([f"config: {len(lines)} errors", *(f"  {line}" for line in lines)])


def problems(config: Mapping[str, Any]) -> list[str]:
    """Return a line for each wrong key of `config`; none for a good one."""
    details: list[ErrorDetails] = []
    try:
        RunConfig.model_validate(config)
    except ValidationError as error:
        details = error.errors()
    wrong = {_key(detail) for detail in details}
    lines = [_line(detail) for detail in details]
    return lines + [text for keys, ask in CROSS_CHECKS if not wrong & set(keys) for text in ask(*_values(config, keys))]


def known_keys() -> list[str]:
    """Return every key that a config may have, dotted, groups and values alike."""
    return sorted(set(_walk(RunConfig, "")))


def nearest(key: str) -> str:
    """Return `; did you mean <key>?` for the known key that looks most like `key`, or nothing where none does."""
    keys = known_keys()
    found = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
    if not found:  # a right name in the wrong group
        last = {known.rsplit(".", 1)[-1]: known for known in keys}
        found = [last[name] for name in difflib.get_close_matches(key.rsplit(".", 1)[-1], last, n=1, cutoff=0.8)]
    return f"; did you mean {found[0]}?" if found else ""


def _key(detail: ErrorDetails) -> str:
    return ".".join(str(part) for part in detail["loc"] if part not in _TAGS)


def _values(config: Mapping[str, Any], keys: tuple[str, ...]) -> list[Any]:
    """Return the values of dotted `keys`; None for one that is not there."""
    found = []
    for key in keys:
        node: Any = config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        found.append(node)
    return found


def _line(detail: ErrorDetails) -> str:
    key = _key(detail)
    if detail["type"] == "extra_forbidden":
        return f"{key}={_show(detail['input'])}: there is no such key{nearest(key)}"
    if detail["type"] == "missing" or detail["input"] == _MISSING:
        return f"{key} is missing; allowed: {_allowed(key)}"
    return f"{key}={_show(detail['input'])} is not allowed; allowed: {_allowed(key)}"


def _show(value: Any) -> str:
    return excerpt("null" if value is None else str(value).lower() if isinstance(value, bool) else str(value))


def _allowed(key: str) -> str:
    """Return in words what `key` may be: the description of its field."""
    model: Any = RunConfig
    text = "a group of keys"
    for part in key.split("."):
        fields = {field.alias or name: field for one in _models(model) for name, field in one.model_fields.items()}
        if part not in fields:
            break
        text = fields[part].description or text
        model = fields[part].annotation
    return text


def _walk(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        yield key
        for inner in _models(field.annotation):
            if inner is not ExternalTarget:
                yield from _walk(inner, f"{key}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names, through unions and `Annotated`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [model for inner in get_args(annotation) for model in _models(inner)]
    return []
