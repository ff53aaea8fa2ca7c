"""What two recipes differ in and the arms of their ablation, in the terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from wrnexp.cli.plan.show import time
from wrnexp.config.differences import Difference, format_value
from wrnexp.hydra_app.overrides import overrides
from wrnexp.process.terminal import Terminal, safe_text
from wrnexp.sweeps.ablation.arms import AblationArm
from wrnexp.sweeps.ablation.design import AblationDesign

TITLES = {"add-one": "added to {a}", "leave-one-out": "left out of {b}", "ladder": "ladder {step}"}


def print_differences(study: AblationDesign, console: Terminal) -> None:
    """Print every setting in which the two recipes differ, once: by change, and those without effect after them."""
    a, b = study.a.name, study.b.name
    count = sum(len(change.differences) for change in study.changes)
    console.print(safe_text(f"From {a} to {b}: {count} settings in {len(study.changes)} changes", style="bold"))
    table = _table("change", "setting", a, b)
    for change in study.changes:
        for place, one in enumerate(change.differences):
            table.add_row(safe_text("" if place else change.name, style="bold"), *_values(one))
        table.add_section()
    console.print(table)
    for change in study.changes:
        if change.reason:
            console.print(Text.assemble((change.name, "bold"), f" is one change: {change.reason}."))
    if study.left_out:
        console.print(Text("\nThese differ too and are no change, for they cannot change a result", style="bold"))
        table = _table("setting", a, b)
        for one in study.left_out:
            table.add_row(*_values(one))
        console.print(table)


def print_design(study: AblationDesign, console: Terminal, seconds: Sequence[float | None], *, brief: bool) -> None:
    """Print the arms, what could not be had, how many runs that is and how long they take.

    Args:
        study: what to show.
        console: where.
        seconds: how long a run of each arm takes, in the order of the arms; None where no run on record tells.
        brief: leave the arms out.
    """
    if not brief:
        console.print(Text("\nArms", style="bold"))
        timed = any(one is not None for one in seconds)
        table = _table("arm", "is", "shows", *(["a run"] if timed else []))
        for arm, one in zip(study.design.arms, seconds, strict=True):
            table.add_row(
                safe_text(arm.label), _says(study, arm), safe_text(_shows(study, arm)), *([time(one)] if timed else [])
            )
        console.print(table)
    for remark in study.design.remarks:
        console.print(safe_text(f"note: {remark}", style="yellow"))
    arms, seeds = len(study.design.arms), study.command.number
    console.print(
        safe_text(
            f"{study.a.name} to {study.b.name}: {len(study.changes)} changes, {arms} arms x {seeds} seeds "
            f"({study.command.seeds}) = {arms * seeds} runs",
            style="bold",
        )
    )
    console.print(safe_text(_duration(seconds, seeds)))
    if seeds < 3:
        console.print(safe_text(_few(seeds), style="yellow"))


def _values(one: Difference) -> Sequence[Text]:
    return safe_text(one.key), safe_text(format_value(one.a, "(none)")), safe_text(format_value(one.b, "(none)"))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(safe_text(column), overflow="fold")
    return table


def _says(study: AblationDesign, arm: AblationArm) -> Text:
    """Say what an arm is: a recipe and what is set otherwise in it, or a step of the ladder and the one before."""
    by_name = {change.name: change for change in study.changes}
    step = next((role for role in arm.roles if role["kind"] == "ladder"), None)
    if arm.from_b or len(arm.changes) < 2 or step is None:
        start = study.b if arm.from_b else study.a
        names = [name for name in by_name if (name in arm.changes) is not arm.from_b]
        found = [one.back() if arm.from_b else one for name in names for one in by_name[name].differences]
        return safe_text(" ".join([*start.overrides, *overrides(found)]))
    found = [one for name in step["changes"] for one in by_name[name].differences]
    return Text.assemble((f"step {step['step'] - 1} and ", "dim"), " ".join(overrides(found)))


def _shows(study: AblationDesign, arm: AblationArm) -> str:
    names = {"a": study.a.name, "b": study.b.name}
    roles = [TITLES[role["kind"]].format(**names, **role) for role in arm.roles if role["kind"] in TITLES]
    return ", ".join(roles) or "the recipe itself"


def _duration(seconds: Sequence[float | None], seeds: int) -> str:
    """Say how long all runs take, as far as runs on record tell."""
    known = [one for one in seconds if one is not None]
    if not known:
        return "how long they take is not known: no run on record has these nets, data and loading"
    total = f"{time(seeds * sum(known))} one after another, by the runs on record"
    if len(known) == len(seconds):
        return f"about {total}"
    return f"{len(known)} of {len(seconds)} arms take about {total}; the others are not known"


def _few(seeds: int) -> str:
    if seeds == 1:
        return "note: one seed gives differences without intervals: nothing can be told from chance"
    return f"note: {seeds} seeds give very wide intervals (the t-distribution has {seeds - 1} degree of freedom)"
