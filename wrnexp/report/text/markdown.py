"""The report as a Markdown page."""

import re
from collections.abc import Iterable, Mapping, Sequence

from wrnexp.process.terminal import printable
from wrnexp.report import ablation_tables, diverged, factorial, literature
from wrnexp.report.ablation import Ablation
from wrnexp.report.claims import Claim
from wrnexp.report.factorial import Crossed
from wrnexp.report.tables import PROVENANCE, ConfigRow, Origin, PairRow, Report
from wrnexp.report.text.ablation_text import findings
from wrnexp.report.text.notes import measured_on, notes
from wrnexp.report.text.rows import ARM_COLUMNS, CLAIM_COLUMNS, PAIR_COLUMNS, arm_cells, claim_cells, pair_cells
from wrnexp.report.text.summary_text import sentences

PLOT_TITLES = {
    "learning_curves.png": "Test accuracy and training loss against epochs",
    "accuracy.png": "Test accuracy of each seed, with the mean and its 95% interval",
    "accuracy_time.png": "Test accuracy against training time",
    "effects": "What each change is worth, with its 95% interval",
    "ladder": "From one recipe to the other, step by step",
}
CROSSED_PICTURE = "![Mean test accuracy by both settings](heat.png)"

# Labels, settings and error messages come from outside and must not become markup: code, emphasis (between words and at
# their ends; `a_b` is a name), links, HTML, strikethrough, formulas, character references, and addresses, which GitHub
# and W&B make links of.
MARKUP = re.compile(r"[\\`*<\[~$]|_(?![^\W_])|(?<![^\W_])_|&(?=#?\w+;)|:(?=//)|(?<=www)\.", re.IGNORECASE)
# The same at the start of a line: heading, quotation, list, rule, table.
START = re.compile(r"^(\d{1,9}(?=[.)](?: |$))|(?=[#>+=|-]))")


def page(report: Report, plots: Sequence[str], plots_of_changes: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return the Markdown text.

    Args:
        report: what to show.
        plots: file names of the plots that were drawn, beside the page.
        plots_of_changes: those of each ablation, by its name.
    """
    pictures = "\n\n".join(f"![{PLOT_TITLES[name]}]({name})" for name in plots)
    found = sections(report, plots_of_changes, pictures, CROSSED_PICTURE if plots else "")
    parts = [f"{'#' if title == 'Report' else '##'} {_escaped(title)}\n\n{text}\n" for title, text in found]
    return "\n".join(parts)


def sections(
    report: Report,
    plots_of_changes: Mapping[str, Sequence[str]] | None = None,
    pictures: str = "",
    crossed_picture: str = "",
) -> list[tuple[str, str]]:
    """Return titles and Markdown texts, without those that have nothing to say.

    Args:
        report: what to show.
        plots_of_changes: file names of the plots of each ablation, by its name.
        pictures: Markdown that shows the plots; none is the default.
        crossed_picture: the same of two settings crossed.
    """
    found = [
        ("Report", _paragraphs([*sentences(report), *diverged.sentences(report.excluded, report.arms)])),
        *(
            (_title(report, study), _ablation(study, (plots_of_changes or {}).get(study.sweep, ())))
            for study in report.ablations
        ),
        *((_crossed_title(study), _crossed(study, crossed_picture)) for study in [report.crossed] if study),
        ("Arms", table(ARM_COLUMNS, map(arm_cells, report.rows), numbers=True)),
        ("Pairs", _pairs(report.pairs)),
        ("Claims", _claims(report.claims)),
        ("Beside what is published", _literature(report)),
        ("Plots", pictures),
        ("How the configs differ", _configs(report.configs)),
        ("Diverged runs", _diverged(report)),
        ("Left out", _excluded(report)),
        ("Where the runs come from", f"{_paragraphs(measured_on(report.arms))}\n\n{_origins(report.origins)}"),
        ("How to read this", _paragraphs(notes(report))),
    ]
    return [(title, text) for title, text in found if text]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """Return a Markdown table, aligned left, or right from the second column on where they are numbers."""
    lines = [[_cell(column) for column in columns], ["---", *["---:" if numbers else "---"] * (len(columns) - 1)]]
    cells = [[_cell(value) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *cells])


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n\n".join(map(_paragraph, texts))


def _pairs(pairs: Sequence[PairRow]) -> str:
    return table(PAIR_COLUMNS, map(pair_cells, pairs), numbers=True) if pairs else ""


def _claims(claims: Sequence[Claim]) -> str:
    sources = dict.fromkeys(claim.source for claim in claims)
    return "\n\n".join(_of_source(source, [claim for claim in claims if claim.source == source]) for source in sources)


def _of_source(source: str, claims: Sequence[Claim]) -> str:
    """Return the claims of one ledger, on what they were measured, and what must be known beside them."""
    scopes = dict.fromkeys(claim.scope for claim in claims if claim.scope)
    shown = table(CLAIM_COLUMNS, map(claim_cells, claims))
    remarks = [f"{claim.claim}: {claim.note}." for claim in claims if claim.note and claim.measured is not None]
    below = [*(f"Measured on: {scope}." for scope in scopes), *remarks]
    return "\n\n".join([f"### {_escaped(source)}", shown, *map(_paragraph, below)])


def _title(report: Report, study: Ablation) -> str:
    return "What each change is worth" + (f": {study.sweep}" if len(report.ablations) > 1 else "")


def _ablation(study: Ablation, plots: Sequence[str]) -> str:
    rows = [ablation_tables.test_cells(change, effect) for change, effect in ablation_tables.tests(study)]
    return "\n\n".join(
        [
            _paragraphs(findings(study)),
            *(f"![{PLOT_TITLES[re.split('[_.]', name)[0]]}]({name})" for name in plots),
            table(ablation_tables.worth_columns(study), map(ablation_tables.worth_cells, study.changes)),
            _paragraphs(ablation_tables.notes(study)),
            table(ablation_tables.TEST_COLUMNS, rows),
        ]
    )


def _literature(report: Report) -> str:
    parts = [_paragraphs(literature.notes(report.arms, report.literature))]
    if report.literature:
        parts.append(table(literature.COLUMNS, map(literature.cells, report.literature)))
    return "\n\n".join(part for part in parts if part)


def _crossed_title(study: Crossed) -> str:
    return f"{study.keys[0]} and {study.keys[1]} crossed"


def _crossed(study: Crossed, picture: str) -> str:
    parts = [
        _paragraphs(factorial.findings(study)),
        table(factorial.columns(study), factorial.rows(study), numbers=True),
        *([picture] if picture else []),
    ]
    if study.found:
        parts.append(table(factorial.TEST_COLUMNS, factorial.test_rows(study), numbers=True))
        parts.append(table(factorial.EFFECT_COLUMNS, factorial.effect_rows(study), numbers=True))
    return "\n\n".join(parts)


def _configs(rows: Sequence[ConfigRow]) -> str:
    if len({row.b for row in rows}) == 1:
        return table(["key", rows[0].a, rows[0].b], [[row.key, row.value_a, row.value_b] for row in rows])
    cells = [[row.b, row.key, row.value_b, f"{row.value_a} ({row.a})"] for row in rows]
    return table(["arm", "key", "value", "value of the baseline"], cells) if rows else ""


def _diverged(report: Report) -> str:
    runs = diverged.diverged(report.excluded, report.arms)
    return table(diverged.COLUMNS, map(diverged.cells, runs)) if runs else ""


def _excluded(report: Report) -> str:
    rows = [[entry.run_id, entry.reason] for entry in diverged.others(report.excluded)]
    return table(["run", "reason"], rows) if rows else diverged.none_left_out(report.excluded)


def _origins(origins: Sequence[Origin]) -> str:
    rows = [[", ".join(origin.arms), str(origin.runs), *origin.values.values()] for origin in origins]
    return table(["arms", "runs", *PROVENANCE.values()], rows)


def _paragraph(text: str) -> str:
    return START.sub(r"\1\\", _escaped(text))


def _cell(text: str) -> str:
    return _escaped(text).replace("|", r"\|")


def _escaped(text: str) -> str:
    """Return text as one line of Markdown that shows it as it is."""
    return MARKUP.sub(r"\\\g<0>", " ".join(printable(text, newlines=True).split()))
