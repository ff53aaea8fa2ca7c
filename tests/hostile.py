"""Text that tries to become markup or to control a terminal, put into every text that a model of pydantic holds."""

import types
import typing
from typing import Any

from pydantic import BaseModel

BEFORE = "# 1. - "  # a heading, a list
AFTER = (
    "</script><img src=x onerror=alert(1)><!-- \"'><svg/onload=x> ]]> [click](http://evil.example/) "
    "![p](https://evil.example/p.png) www.evil.example <http://evil.example> `code` | a | ``` ~~s~~ **b** "
    "_e_ __f__ $x$ "
    "&lt;b&gt; &#x202e; \\ {{ 7*7 }} {% x %} ${oc.env:HOME} [bold]m[/bold] [/y] :smile: "
    "[link=http://evil.example]l[/link]"
    "\x1b[2J\x1b]0;title\x07\x9b31m\x00\u202ereversed\u2066 \u2028 \r over\n\n"
    "## Forged\n\n| a | b |\n| - | - |\n\n---\n"
    "    code\n> quoted\n"
)
# Keys whose values the program compares, which are no text that it shows.
STRUCTURE = {"kind", "study", "schema_version", "status", "state", "folder", "test_accuracy"}


def hostile(text: str) -> str:
    """Return text with the attack around it, the same for the same text."""
    return text if text.startswith(BEFORE) else f"{BEFORE}{text}{AFTER}"


def planted(model: BaseModel) -> dict[str, Any]:
    """Return a model as JSON has it, each text of it hostile, an optional one that is null too, and keys added."""
    raw = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        if name not in STRUCTURE:
            raw[name] = _planted(getattr(model, name), field.annotation)
    return raw


def _planted(value: Any, kind: Any) -> Any:
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if isinstance(value, BaseModel):
        return planted(value)
    if isinstance(value, str) or (value is None and str in options):
        return hostile(value or "")
    inner = typing.get_args(options[0])
    if isinstance(value, dict):
        of = inner[1] if inner else Any
        extra = hostile("") if of in (str, Any) else [hostile("")] if typing.get_origin(of) is list else 0.5
        planted_items = {key: item if key in STRUCTURE else _planted(item, of) for key, item in value.items()}
        return planted_items | {hostile("key"): extra}
    if isinstance(value, list | tuple):
        return [_planted(item, inner[0] if inner else Any) for item in value]
    return value
