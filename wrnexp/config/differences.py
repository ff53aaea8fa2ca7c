"""What two configs differ in, grouped into changes: settings that only make sense together are one change.

Pure functions of nested plain values. `differences` finds every setting that differs, `group_changes` puts each into
exactly one change, `apply_changes` turns one config into the other, change by change.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from wrnexp.errors import UserError


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT  # the value of a key that a config does not have
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*|\d+")  # of a key that can be addressed on a command line
TARGET = "_target_"


@dataclass(frozen=True)
class Difference:
    """One setting in which two configs differ.

    Attributes:
        key: dotted, for instance `optim.lr`.
        a: its value in the first config, `ABSENT` where that has no such key; a whole node where only one side has it.
        b: the same of the second.
    """

    key: str
    a: Any
    b: Any

    def back(self) -> "Difference":
        """Return the same from the second config to the first."""
        return Difference(self.key, self.b, self.a)


@dataclass(frozen=True)
class Change:
    """Settings that are changed together.

    Attributes:
        name: what tables call it.
        differences: the settings, at least one.
        reason: why these belong together; empty for a single setting.
    """

    name: str
    differences: tuple[Difference, ...]
    reason: str = ""


@dataclass(frozen=True)
class Rule:
    """Settings that are one idea.

    Attributes:
        name: of the change.
        keys: dotted; a key stands for all below it too.
        stage: where the change stands in a ladder.
        reason: why several settings are one change.
        only_with: where given, the rule holds only if one of these keys differs; otherwise its keys are left to the
            rules after it.
    """

    name: str
    keys: tuple[str, ...]
    stage: int
    reason: str = ""
    only_with: tuple[str, ...] = ()


DATA, REGULARISATION, OPTIMISATION, NETWORK = range(4)

# In the order of a ladder: what the net is shown, how it is held back, how and for how long it is trained, and last the
# net itself. So every step but the last few is measured on one and the same net, and those say what the net is worth
# with all else in place.
RULES = (
    Rule("crop", ("augment.padding", "augment.padding_mode"), DATA, "the border and what fills it"),
    Rule("flip", ("augment.flip",), DATA),
    Rule(
        "augmentation policy",
        ("augment.policy", "augment.num_ops", "augment.magnitude"),
        DATA,
        "the number of operations and their strength are those of the policy",
    ),
    Rule("colour jitter", ("augment.jitter",), DATA, "four strengths of one operation"),
    Rule("erasing", ("augment.erasing",), DATA),
    Rule("cutout", ("augment.cutout",), DATA),
    Rule("mixup", ("augment.mixup",), DATA),
    Rule("CutMix", ("augment.cutmix",), DATA),
    Rule("dropout", ("model.dropout",), REGULARISATION),
    Rule("stem dropout", ("model.stem_dropout",), REGULARISATION),
    Rule("label smoothing", ("optim.label_smoothing",), REGULARISATION),
    Rule(
        "weight decay",
        ("optim.weight_decay", "optim.decay_norm_and_bias"),
        REGULARISATION,
        "how strong it is and what it acts on",
    ),
    Rule("clipping", ("optim.clip_norm",), OPTIMISATION),
    Rule(
        "batch",
        ("loader.batch_size", "optim.accumulate", "loader.drop_last", "optim.lr"),
        OPTIMISATION,
        "a step has batch_size x accumulate images, and its rate is chosen for that many (arXiv 1706.02677): either "
        "without the other is a recipe that nobody would propose",
        only_with=("loader.batch_size", "optim.accumulate"),
    ),
    Rule("learning rate", ("optim.lr",), OPTIMISATION),
    Rule("whole steps", ("loader.drop_last",), OPTIMISATION),
    Rule("momentum", ("optim.momentum", "optim.nesterov"), OPTIMISATION, "Nesterov's is a form of it"),
    Rule(
        "schedule",
        ("optim.schedule", "optim.epochs"),
        OPTIMISATION,
        "milestones are epochs: a training that ends before them never lowers its rate",
        only_with=("optim.schedule.milestones",),
    ),
    Rule("warm-up", ("optim.schedule.warmup_epochs",), OPTIMISATION),
    Rule("epochs", ("optim.epochs",), OPTIMISATION),
    Rule("depth", ("model.depth",), NETWORK),
    Rule("width", ("model.width",), NETWORK),
)
OTHER_STAGES = {"data": DATA, "augment": DATA, "model": NETWORK}  # of settings that no rule names; else OPTIMISATION


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Return every setting in which two configs differ, sorted by key.

    Mappings are compared key by key, everything else (lists too) as a whole. A mapping with a key that no command line
    can address (a dot, a space, a number) counts as one value.
    """
    return sorted(_differing(a, b, ""), key=lambda difference: difference.key)


def apply_changes(config: Mapping[str, Any], changes: Iterable[Change], *, back: bool = False) -> dict[str, Any]:
    """Return a copy of `config` with the second side's values of `changes`, or the first's where `back` is true."""
    copied = copy.deepcopy(dict(config))
    for difference in (one.back() if back else one for change in changes for one in change.differences):
        *parents, last = difference.key.split(".")
        node: Any = copied
        for parent in parents:
            node = node[parent]
        if difference.b is ABSENT:
            node.pop(last, None)
        else:
            node[last] = copy.deepcopy(difference.b)
    return copied


def group_changes(found: Iterable[Difference]) -> list[Change]:
    """Put each difference into exactly one change, by `RULES`; a setting that no rule names is a change of its own.

    A node whose `_target_` differs is one change with everything below it, for the keys of one class mean nothing to
    another. The changes come in the order of a ladder.
    """
    left = {difference.key: difference for difference in found}
    parts: list[tuple[int, Change]] = []
    for place, rule in enumerate(RULES):
        keys = [key for key in left if _under(key, rule.keys)]
        if not rule.only_with or any(_under(key, rule.only_with) for key in keys):
            parts += [(place, Change(rule.name, tuple(left.pop(key) for key in keys), rule.reason))] if keys else []
    names = _short(list(left), {change.name for _, change in parts})
    parts += [(len(RULES), Change(names[key], (difference,))) for key, difference in left.items()]
    whole = [change for _, change in sorted(parts, key=_place)]
    for node in _swapped(whole):
        whole = _swap(whole, node)
    return [Change(one.name, one.differences, one.reason if len(one.differences) > 1 else "") for one in whole]


def merge(changes: Sequence[Change], names: Sequence[str]) -> list[Change]:
    """Return `changes` with those of these names made into one, at the place of the first.

    Raises:
        UserError: there is no such change.
    """
    chosen = [find(changes, name) for name in names]
    if len(chosen) < 2:
        return list(changes)
    return _merged(changes, chosen, " and ".join(one.name for one in chosen), "put together by the command")


def reorder(changes: Sequence[Change], first: Sequence[str]) -> list[Change]:
    """Return `changes` with those of these names first, in this order, and then the others.

    Raises:
        UserError: there is no such change.
    """
    front = [find(changes, name) for name in first]
    return sorted(changes, key=lambda change: front.index(change) if change in front else len(front))


def find(changes: Sequence[Change], name: str) -> Change:
    """Return the change of this name (case, spaces, `-` and `_` are all one) or with this key.

    Raises:
        UserError: there is none; the message has the nearest and all names.
    """
    for change in changes:
        if _plain(name) == _plain(change.name) or name in (difference.key for difference in change.differences):
            return change
    import difflib  # only once something is wrong

    known = {_plain(change.name): change.name for change in changes}
    near = difflib.get_close_matches(_plain(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {known[near[0]]!r}?" if near else "."
    raise UserError(f"there is no change {name!r}{hint} There are: {', '.join(map(repr, known.values()))}.")


def format_value(value: Any, absent: str = "none") -> str:
    """Return a setting's value as it is typed; a list or a node in one line, `absent` where there is none."""
    if value is ABSENT:
        return absent
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def equal(a: Any, b: Any) -> bool:
    """Say whether two values mean the same: 1 and 1.0 do, 1 and true do not."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    return bool(a == b) or (a != a and b != b)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str) -> Iterator[Difference]:
    for key in dict.fromkeys([*a, *b]):
        first, second = a.get(key, ABSENT), b.get(key, ABSENT)
        if _addressable(first) and _addressable(second):
            yield from _differing(first, second, f"{prefix}{key}.")
        elif not equal(first, second):
            yield Difference(f"{prefix}{key}", first, second)


def _addressable(node: Any) -> bool:
    return isinstance(node, Mapping) and all(isinstance(key, str) and NAME.fullmatch(key) for key in node)


def _under(key: str, nodes: Iterable[str]) -> bool:
    return any(key == node or key.startswith(f"{node}.") for node in nodes)


def _place(part: tuple[int, Change]) -> tuple[int, int, str]:
    place, change = part
    key = change.differences[0].key
    stage = RULES[place].stage if place < len(RULES) else OTHER_STAGES.get(key.split(".")[0], OPTIMISATION)
    return stage, place, key


def _short(keys: Sequence[str], taken: set[str]) -> dict[str, str]:
    """Name single settings: the last part of the key, or all of it where that would be unclear."""
    ends = [key.rsplit(".", 1)[-1] for key in keys]
    short_names = [end.replace("_", " ") for end in ends]
    unclear = [
        end == TARGET or ends.count(end) > 1 or name in taken for end, name in zip(ends, short_names, strict=True)
    ]
    return {key: key if odd else name for key, name, odd in zip(keys, short_names, unclear, strict=True)}


def _swapped(changes: Iterable[Change]) -> list[str]:
    """Return the nodes whose class differs, the inner ones first."""
    keys = [difference.key for change in changes for difference in change.differences]
    nodes = [key.rpartition(".")[0] for key in keys if key.endswith(f".{TARGET}")]
    return sorted(nodes, key=lambda node: -node.count("."))


def _swap(changes: Sequence[Change], node: str) -> list[Change]:
    """Make one change of all that have a setting below `node`."""

    def inside(test: Callable[[Iterable[bool]], bool], change: Change) -> bool:
        return test(_under(difference.key, [node]) for difference in change.differences)

    concerned = [change for change in changes if inside(any, change)]
    beyond = [change for change in concerned if not inside(all, change)]
    short = node.rsplit(".", 1)[-1]
    names = [short, *(change.name for change in beyond if change.name != short)]
    reasons = [f"another class stands at {node}, with keys of its own", *(change.reason for change in beyond)]
    return _merged(changes, concerned, " and ".join(names), "; ".join(filter(None, reasons)))


def _merged(changes: Sequence[Change], chosen: Sequence[Change], name: str, reason: str) -> list[Change]:
    first = min(changes.index(one) for one in chosen)
    merged = Change(name, tuple(difference for one in chosen for difference in one.differences), reason)
    kept = [merged if place == first else change for place, change in enumerate(changes)]
    return [change for change in kept if change not in chosen]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()
