"""The report in the terminal."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from wrnexp.process.terminal import Terminal, safe_text
from wrnexp.report import ablation_tables, diverged
from wrnexp.report.ablation import Ablation
from wrnexp.report.factorial import findings as findings_of_crossed
from wrnexp.report.format import several
from wrnexp.report.tables import Report
from wrnexp.report.text.ablation_text import findings
from wrnexp.report.text.notes import damaged
from wrnexp.report.text.rows import ARM_COLUMNS, CLAIM_COLUMNS, arm_cells, claim_cells
from wrnexp.report.text.summary_text import sentences

# What fits into a terminal; report.md has the rest.
SHOWN = ("arm", "n", "test accuracy %", "95% interval", "training s", "images/s", "peak memory")
CLAIMED = ("claim", "measured (95% interval)", "verdict")


def print_report(report: Report, console: Terminal) -> None:
    """Print the arms, the claims where there are any, the sentences, and where the report lies."""
    console.print(_table(SHOWN, [_picked(ARM_COLUMNS, arm_cells(row), SHOWN) for row in report.rows]))
    if report.claims:
        console.print(_table(CLAIMED, [_picked(CLAIM_COLUMNS, claim_cells(claim), CLAIMED) for claim in report.claims]))
        for scope in dict.fromkeys(claim.scope for claim in report.claims if claim.scope):
            console.print(safe_text(f"Measured on: {scope}."))
    for sentence in sentences(report):
        console.print(safe_text(sentence))
    for sentence in findings_of_crossed(report.crossed) if report.crossed else ():
        console.print(safe_text(sentence))
    for study in report.ablations:
        print_ablation(study, console)
    for sentence in damaged(report):
        console.print(safe_text(sentence, "yellow"))
    for sentence in diverged.sentences(report.excluded, report.arms):
        console.print(safe_text(sentence, "yellow"))
    if others := diverged.others(report.excluded):
        console.print(safe_text(f"{several(len(others), 'run')} left out, see the report."))
    console.print(safe_text(f"Report: {report.folder / 'report.md'}"), soft_wrap=True)
    if (report.folder / "index.html").exists():
        console.print(safe_text(f"Page: {report.folder / 'index.html'}"), soft_wrap=True)


def print_ablation(study: Ablation, console: Terminal) -> None:
    """Print what each change of an ablation is worth."""
    console.print()
    console.print(safe_text(f"What each change is worth, from {study.a} to {study.b}: points of test accuracy", "bold"))
    rows = [ablation_tables.brief_cells(one) for one in study.changes]
    console.print(_table(ablation_tables.brief_columns(study), rows))
    for sentence in [*ablation_tables.brief_notes(study), *findings(study)]:
        console.print(safe_text(sentence))


def _picked(columns: Sequence[str], cells: Sequence[str], wanted: Sequence[str]) -> list[str]:
    return [cell for column, cell in zip(columns, cells, strict=True) if column in wanted]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        number = index > 0 and columns is SHOWN
        # A terminal of 80 columns has room for labels such as demo_light; longer ones are folded, not cut.
        header = safe_text(column.removeprefix("test "))
        table.add_column(header, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*map(safe_text, row))
    return table
