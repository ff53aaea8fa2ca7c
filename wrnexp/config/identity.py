"""Which runs are the same experiment: ids that depend on what can change the result, and on nothing else."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# Keys that cannot change a result: where things lie, how they are watched and named, how many processes load, how the
# same kernels are started, how often checkpoints are written, when a process stops for a next one to resume, how many
# activations are kept (a compiled net may round otherwise; a run that lacked memory must resume all the same).
IGNORED_KEYS = (
    "name",
    "label",
    "rerun",
    "sweep",
    "tracking",
    "loader.workers",
    "loader.prefetch_factor",
    "loader.persistent_workers",
    "loader.pin_memory",
    "trainer.memory_budget",
    "trainer.cuda_graphs",
    "trainer.checkpoint_seconds",
    "trainer.max_seconds",
)

# Keys that came later: at these values results are what they were before, and so are the ids.
DEFAULTS = {"trainer.on_divergence": "stop"}

# Data sets whose images are the same wherever they lie; of any other the place says which images they are.
KNOWN_CONTENT = ("cifar100", "cifar10", "shapes")

SLUG_BYTES = 120  # two slugs and a word fit into a file name, which is 255 bytes on the file systems in use


def run_id(config: Mapping[str, Any]) -> str:
    """Return ten hexadecimal digits that name the experiment: two runs with one id are the same.

    Args:
        config: the resolved config, nested plain values.
    """
    return digest(identity_config(config))


def arm_id(config: Mapping[str, Any]) -> str:
    """Return the `run_id` without the seed: runs of one arm differ in the seed only."""
    return digest(identity_config(config) | {"seed": None})


def identity_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config without what cannot change a result: `IGNORED_KEYS`, `DEFAULTS`, places, devices."""
    kept: dict[str, Any] = json.loads(json.dumps(config))
    for key in (*IGNORED_KEYS, *DEFAULTS):
        *parents, last = key.split(".")
        node: Any = kept
        for parent in parents:
            node = _group(node, parent)
        if key not in DEFAULTS or node.get(last) == DEFAULTS[key]:
            node.pop(last, None)
    data = _group(kept, "data")
    if data.get("name") in KNOWN_CONTENT and (data.get("root") is None or has_known_content(kept)):
        data.pop("root", None)  # but not of a function from outside, which may read other images there
    trainer = _group(kept, "trainer")
    # Devices share an effective batch: their number changes rounding and which masks dropout draws, and a run may go on
    # with another one. Not so where each has batch statistics of its own. Configs of before these keys have neither.
    if trainer.get("sync_batchnorm", True) is not False or trainer.get("devices", 1) == 1:
        trainer.pop("devices", None)
        trainer.pop("sync_batchnorm", None)
    if isinstance(trainer.get("device"), str):
        trainer["device"] = trainer["device"].split(":")[0]
    return kept


def has_known_content(config: Mapping[str, Any]) -> bool:
    """True if the name of the data set says which images it has."""
    data = config.get("data")
    if not isinstance(data, Mapping) or not str(data.get("_target_", "wrnexp.")).startswith("wrnexp."):
        return False
    return data.get("name") in KNOWN_CONTENT


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested config as dotted keys and plain values; an empty group is a value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config that `flat` was given."""
    config: dict[str, Any] = {}
    for key, value in settings.items():
        *parents, last = key.split(".")
        node = config
        for parent in parents:
            below = node[parent] = _group(node, parent)  # a file made by hand may have a value there
            node = below
        node[last] = value
    return config


def _group(node: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a group of keys; a wrong config, which has an id too, may have a value in its place."""
    found = node.get(name)
    return found if isinstance(found, dict) else {}


def slug(text: str) -> str:
    """Return `text` as a folder name of at most `SLUG_BYTES` bytes of UTF-8, in Unicode's form NFC.

    Letters and digits of all scripts, with their marks, and `. _ = + -` stay; anything else becomes a dash. Where that
    changes a text that is not ASCII, or where the name is too long, a dash and a hash of the whole text end it: two
    texts do not share a folder. ASCII texts without letters are `run`, as the folders of earlier versions are.
    """
    text = unicodedata.normalize("NFC", text)
    name = _without_others(text).strip("-.")
    if len(name.encode()) <= SLUG_BYTES and (text.isascii() or name == text):
        return name or "run"
    mark = digest(text)
    return f"{_cut(name, SLUG_BYTES - len(mark) - 1).strip('-.') or 'run'}-{mark}"


def _without_others(text: str) -> str:
    """Put a dash in place of each run of characters that `slug` does not keep."""
    characters: list[str] = []
    for character in text:
        after_letter = bool(characters) and (characters[-1].isalnum() or _is_mark(characters[-1]))
        stays = character.isalnum() or character in "._=+-" or (_is_mark(character) and after_letter)
        characters.append(character if stays else "\0")
    return re.sub("\0+", "-", "".join(characters))


def _cut(text: str, size: int) -> str:
    """Return the longest head of `text` of at most `size` bytes that does not end between a letter and its marks."""
    length = len(text.encode()[:size].decode(errors="ignore"))
    while 0 < length < len(text) and _is_mark(text[length]):
        length -= 1
    return text[:length]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def digest(value: Any) -> str:
    """Return ten hexadecimal digits that name a plain value; whole floats count as integers."""
    text = json.dumps(_numbers(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _numbers(value: Any) -> Any:
    """Write whole floats as integers: `lr: 1` and `lr: 1.0` are one experiment."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
