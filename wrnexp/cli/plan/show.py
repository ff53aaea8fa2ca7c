"""The plan in the terminal: two tables, and what they mean in sentences."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from wrnexp.cli.plan.costs import ArmCost, Costs
from wrnexp.cli.plan.sources import Planned
from wrnexp.cli.plan.statistics import Aim, Deviation, SeedRequirement
from wrnexp.process.terminal import Terminal, safe_text
from wrnexp.stats import ALPHA
from wrnexp.sweeps.tables import duration

UNKNOWN = "?"


def show(
    planned: Planned, costs: Costs, aim: Aim, spread: Deviation, needs: Sequence[SeedRequirement], console: Terminal
) -> None:
    """Print arms and costs, what the effect needs, and whether the sweep as it stands can answer its question."""
    console.print(safe_text(f"{planned.name}: {planned.question}" if planned.question else planned.name, "bold"))
    console.print(_arms_table(costs))
    for line in _bases(costs.arms):
        console.print(safe_text(line))
    console.print()
    test = f"two-sided paired t-test, level {ALPHA}"
    console.print(
        safe_text(f"To find {100 * aim.effect:.2f} points of test accuracy with power {aim.power:g} ({test}):")
    )
    console.print(safe_text(spread.words))
    if needs:
        console.print(_needs_table(planned, costs, needs))
    if len(needs) > 1:
        tests = needs[-1].comparisons
        console.print(
            safe_text(f"Each other arm is compared with one baseline arm: {tests} tests, by Holm at {ALPHA}/{tests}.")
        )
    for line in _verdict(planned, aim, needs):
        console.print(safe_text(line, "bold"))


def _arms_table(costs: Costs) -> Table:
    table = _table("arm", "seeds", "done", "a run", "time left", "GPU-hours")
    for arm in costs.arms:
        one = None if arm.run is None else arm.run.seconds
        counts = (str(arm.seeds), str(arm.done))
        table.add_row(safe_text(arm.label), *counts, time(one), time(arm.left), gpu_hours(arm.gpu_left, arm))
    runs, done = sum(arm.seeds for arm in costs.arms), sum(arm.done for arm in costs.arms)
    gpus = gpu_hours(costs.gpu_left, *costs.arms)
    table.add_section()
    table.add_row(f"{len(costs.arms)} arms, {runs} runs", "", str(done), "", time(costs.left), gpus)
    return table


def _bases(arms: Sequence[ArmCost]) -> Iterator[str]:
    """Yield where the times come from, each basis once with the arms that it holds for."""
    bases = list(dict.fromkeys(None if arm.run is None else arm.run.basis for arm in arms))
    for basis in bases:
        own = [arm.label for arm in arms if (arm.run.basis if arm.run else None) == basis]
        where = "" if len(bases) == 1 else f" ({', '.join(own)})"
        if basis is None:
            own_words = "no record is of this net, data and loading; one run of two epochs is enough to tell"
            yield f"Hours and GPU-hours are not measured yet{where}: {own_words}."
        else:
            yield f"Times are the {basis}{where}, one run after another."


def _needs_table(planned: Planned, costs: Costs, needs: Sequence[SeedRequirement]) -> Table:
    ranged = needs[0].at_bounds is not None
    own = f"{planned.seeds} seeds find"
    table = _table("tests", "seeds an arm", *(["range"] if ranged else []), "runs", "time", "GPU-hours", own)
    for need in needs:
        table.add_row(_comparisons(need.comparisons), *_need_cells(need, costs, ranged=ranged), _points(need.found))
    return table


def _need_cells(need: SeedRequirement, costs: Costs, *, ranged: bool) -> list[str]:
    bounds = " to ".join(map(_seeds, need.at_bounds)) if need.at_bounds else ""
    cells = [_seeds(need.seeds), *([bounds] if ranged else [])]
    if need.seeds is None:
        return [*cells, "", "", ""]
    gpus = gpu_hours(costs.gpu_whole(need.seeds), *costs.arms)
    return [*cells, f"{need.seeds * len(costs.arms):,}", time(costs.whole(need.seeds)), gpus]


def _comparisons(count: int) -> str:
    return "1, uncorrected" if count == 1 else f"{count}, Holm"


def _verdict(planned: Planned, aim: Aim, needs: Sequence[SeedRequirement]) -> Iterator[str]:
    """Yield whether the sweep, as it stands, can answer its question."""
    effect, seeds = f"{100 * aim.effect:.2f} points", planned.seeds
    if len(planned.arms) < 2:
        yield "This sweep cannot answer a question: it has one arm, and so nothing to compare."
        return
    need = needs[-1]
    if need.found is not None and need.seeds is not None and seeds >= need.seeds:
        yield f"As it stands, with {seeds} seeds an arm, this sweep can answer its question."
        return
    if need.found is None:
        why = "1 seed an arm has no interval and no test"
    else:
        why = f"its {seeds} seeds an arm find differences of {_points(need.found)} or more, not {effect}"
    yield f"As it stands, this sweep cannot answer its question: {why}."
    if need.seeds is not None:
        yield f"seed=range({need.seeds}) can, if the deviation is what it is taken to be; runs that are done count."


def time(seconds: float | None) -> str:
    """Return a duration in words."""
    return duration(seconds, UNKNOWN)


def gpu_hours(seconds: float | None, *arms: ArmCost) -> str:
    """Return GPU-hours; none where the times are those of another device."""
    if seconds is not None:
        return f"{seconds / 3600:,.2f}"
    return "none" if all(arm.run is not None for arm in arms) else UNKNOWN


def _seeds(count: int | None) -> str:
    return "more than a million" if count is None else f"{count:,}"


def _points(difference: float | None) -> str:
    return "nothing" if difference is None else f"{100 * difference:.2f} points"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=index > 0, overflow="fold")
    return table
