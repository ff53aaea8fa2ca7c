"""The arms of an ablation: which of the changes each one has, and what it is there to show. Pure, no Hydra."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from wrnexp.config.differences import Change
from wrnexp.config.identity import digest

KINDS = ("ladder", "leave-one-out", "add-one")

Problems = Callable[[frozenset[str]], list[str]]
"""What is wrong with the first recipe with the changes of these names; nothing where it can be trained."""


@dataclass
class AblationArm:
    """An arm of an ablation.

    Attributes:
        label: what reports call it.
        changes: the names of the changes that it has.
        roles: what it is there to show, as sweep.json keeps it.
        from_b: it is spoken of as the second recipe without something, not as the first with something.
    """

    label: str
    changes: frozenset[str]
    roles: list[dict[str, Any]] = field(default_factory=list)
    from_b: bool = False


@dataclass(frozen=True)
class Design:
    """The arms of an ablation, each once, the steps of its ladder, and in words what could not be had as asked for."""

    arms: list[AblationArm]
    ladder: list[tuple[str, ...]]
    remarks: list[str]


def design(a: str, b: str, changes: Sequence[Change], problems: Problems, kinds: Sequence[str], study: str) -> Design:
    """Return the arms that show what each change is worth.

    Both recipes are always among them. An arm that serves twice (the ladder's first step adds one change, its last but
    one leaves one out) is there once, with both roles.

    Args:
        a: name of the first recipe.
        b: name of the second.
        changes: all that leads from one to the other, in the order of the ladder.
        problems: see `Problems`.
        kinds: which of `KINDS` to have.
        study: an id of the pair of recipes; sweep.json keeps it with every role.
    """
    names = [change.name for change in changes]
    everything = frozenset(names)
    steps, remarks = ladder(names, problems) if "ladder" in kinds else ([], [])
    found = {arm.changes: arm for arm in (AblationArm(a, frozenset()), AblationArm(b, everything, from_b=True))}
    wanted = [
        ({"kind": "a"}, AblationArm(a, frozenset())),
        ({"kind": "b"}, AblationArm(b, everything, from_b=True)),
        *(_add_one(a, names) if "add-one" in kinds else ()),
        *(_leave_one_out(b, names) if "leave-one-out" in kinds else ()),
        *_rungs(a, b, steps),
    ]
    for role, arm in wanted:
        if wrong := problems(arm.changes):
            remarks.append(f"{arm.label} is left out: {'; '.join(wrong)}")
        else:
            found.setdefault(arm.changes, arm).roles.append({"study": study, **role})
    return Design(list(found.values()), steps, remarks)


def ladder(names: Sequence[str], problems: Problems) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the steps from one recipe to the other, and in words where they are not as asked for.

    Each step takes the first change that is left and gives a config that can be trained; where no single one does,
    several are one step.

    Args:
        names: of the changes, in the order asked for.
        problems: see `Problems`.
    """
    steps: list[tuple[str, ...]] = []
    remarks: list[str] = []
    left = list(names)
    while left:
        done = frozenset(names) - frozenset(left)
        step = next((step for step in _candidates(left) if not problems(done.union(step))), tuple(left))
        if len(step) > 1:
            wrong = "; ".join(problems(done | {left[0]}))
            remarks.append(f"{' and '.join(step)} are one step of the ladder, {left[0]} alone is impossible ({wrong})")
        elif step[0] != left[0]:
            wrong = "; ".join(problems(done | {left[0]}))
            remarks.append(f"the ladder takes {step[0]} before {left[0]}: the other order is not possible ({wrong})")
        steps.append(step)
        left = [name for name in left if name not in step]
    return steps, remarks


def _candidates(left: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield each change alone, in order, then the first two, the first three and so on."""
    yield from ((name,) for name in left)
    yield from (tuple(left[:size]) for size in range(2, len(left)))


def _add_one(a: str, names: Sequence[str]) -> Iterator[tuple[dict[str, Any], AblationArm]]:
    for name in names:
        yield {"kind": "add-one", "change": name}, AblationArm(f"{a} + {name}", frozenset([name]))


def _leave_one_out(b: str, names: Sequence[str]) -> Iterator[tuple[dict[str, Any], AblationArm]]:
    for name in names:
        yield (
            {"kind": "leave-one-out", "change": name},
            AblationArm(f"{b} - {name}", frozenset(names) - {name}, from_b=True),
        )


def _rungs(a: str, b: str, steps: Sequence[tuple[str, ...]]) -> Iterator[tuple[dict[str, Any], AblationArm]]:
    """Yield the ladder's arms, those of its foot and its top too."""
    order = digest([list(step) for step in steps])
    for number, step in enumerate([(), *steps] if steps else []):
        done = frozenset(name for one in steps[:number] for name in one)
        label = f"ladder {number}: + {' + '.join(step)}"
        yield {"kind": "ladder", "ladder": order, "step": number, "changes": list(step)}, AblationArm(label, done)
