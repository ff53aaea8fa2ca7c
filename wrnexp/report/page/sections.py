"""The sections of the page."""

from collections.abc import Sequence

from wrnexp.report import ablation_tables, diverged, factorial, literature
from wrnexp.report.claims import Claim
from wrnexp.report.format import count, several
from wrnexp.report.page.chart import ArmMark, Chart
from wrnexp.report.page.curves import learning, time_to_accuracy
from wrnexp.report.page.differences import effects_chart, heat_chart, pairs_chart
from wrnexp.report.page.networks import calibration, class_changes, image_changes
from wrnexp.report.page.pareto import pareto
from wrnexp.report.page.parts import Part, Section, table
from wrnexp.report.tables import PROVENANCE, Report, looks
from wrnexp.report.text.ablation_text import findings
from wrnexp.report.text.notes import notes
from wrnexp.report.text.rows import ARM_COLUMNS, CLAIM_COLUMNS, PAIR_COLUMNS, arm_cells, claim_cells, pair_cells
from wrnexp.report.text.summary_text import claims_sentence, overview, results

MOST_CONFIG_ROWS = 400


def summary(report: Report) -> list[str]:
    """Return the report in sentences: the runs, divergence, the comparison, and the claims or test set use."""
    comparison = results(report.pairs, in_full=1) or ["There is one arm, and nothing to compare it with."]
    divergence = diverged.sentences(report.excluded, report.arms)
    return [overview(report), *divergence, *comparison, *(claims_sentence(report.claims) or [_test_set_use(report)])]


def sections(report: Report, marks: Sequence[ArmMark]) -> list[Section]:
    """Return the sections of the page in order, without empty ones."""
    candidates = [
        Section("claims", "Claims", _claims(report.claims)),
        Section("arms", "Arms", _arms(report, marks)),
        Section("curves", "Learning", _present(learning(report.arms, marks), time_to_accuracy(report.arms, marks))),
        Section("cost", "Accuracy and cost", _present(pareto(report.arms, marks))),
        *_ablations(report),
        *_factorial(report),
        Section("calibration", "Calibration", calibration(report, marks)),
        Section("classes", "Classes", class_changes(report, marks)),
        Section("images", "Image by image", image_changes(report)),
        Section("literature", "Comparison with published results", _literature(report)),
        Section("configs", "Differences between configs", _configs(report)),
        Section("provenance", "Provenance of the runs", _origins(report)),
        Section("diverged", "Diverged runs", _diverged(report)),
        Section("left-out", "Excluded runs", _excluded(report)),
        Section("reading", "Use of the test set, and notes", _reading(report)),
    ]
    return [section for section in candidates if section.parts]


def _test_set_use(report: Report) -> str:
    counts = [looks(arm) for arm in report.arms]
    low, high = min(low for low, _ in counts), max(high for _, high in counts)
    times = several(low, "time") if low == high else f"{low:,} to {high:,} times"
    return f"Each run read the test set {times}, and nothing was selected on it."


def _claims(claims: Sequence[Claim]) -> list[Part]:
    """Return for each ledger its table, the scope of its measurements, and its notes."""
    parts: list[Part] = []
    for source in dict.fromkeys(claim.source for claim in claims):
        ledger = [claim for claim in claims if claim.source == source]
        parts.append(table(f"Claims of: {source}", CLAIM_COLUMNS, map(claim_cells, ledger)))
        parts += [f"Measured on: {scope}." for scope in dict.fromkeys(claim.scope for claim in ledger if claim.scope)]
        parts += [f"{claim.claim}: {claim.note}." for claim in ledger if claim.note and claim.measured is not None]
    return parts


def _literature(report: Report) -> list[Part]:
    parts: list[Part] = [*literature.notes(report.arms, report.literature)]
    if report.literature:
        cells = map(literature.cells, report.literature)
        parts.append(table("Arms and published results of the same network", literature.COLUMNS, cells))
    return parts


def _arms(report: Report, marks: Sequence[ArmMark]) -> list[Part]:
    arms = table("Means over the seeds of each arm", ARM_COLUMNS, map(arm_cells, report.rows), numbers=True)
    if not report.pairs:
        return [arms]
    caption = f"Test accuracy of each arm compared with {report.pairs[0].a}, paired by seed"
    # Without the column of the baseline, which the caption names.
    rows = [[first, *rest] for first, _, *rest in map(pair_cells, report.pairs)]
    pairs = table(caption, [PAIR_COLUMNS[0], *PAIR_COLUMNS[2:]], rows, numbers=True)
    return [arms, pairs, *_present(pairs_chart(report.pairs, {mark.label: mark.short for mark in marks}))]


def _ablations(report: Report) -> list[Section]:
    ablations = []
    for number, study in enumerate(report.ablations, start=1):
        effects = map(ablation_tables.worth_cells, study.changes)
        tests = [ablation_tables.test_cells(change, effect) for change, effect in ablation_tables.tests(study)]
        parts: list[Part] = [
            *findings(study),
            *_present(effects_chart(study, number)),
            table("Effect of each change, in points", ablation_tables.worth_columns(study), effects),
            *ablation_tables.notes(study),
            table("All tests of this section", ablation_tables.TEST_COLUMNS, tests, folded=True),
        ]
        title = "Effect of each change" + (f": {study.sweep}" if len(report.ablations) > 1 else "")
        ablations.append(Section(f"ablation-{number}", title, parts))
    return ablations


def _factorial(report: Report) -> list[Section]:
    study = report.crossed
    if study is None:
        return []
    caption = f"Mean test accuracy, %, by {study.keys[0]} and {study.keys[1]}"
    parts: list[Part] = [
        *factorial.findings(study),
        heat_chart(study),
        table(caption, factorial.columns(study), factorial.rows(study), numbers=True),
    ]
    if study.found:
        analysis, effects = factorial.test_rows(study), factorial.effect_rows(study)
        parts.append(table("Repeated-measures analysis of variance", factorial.TEST_COLUMNS, analysis, numbers=True))
        parts.append(table("Effect of each level", factorial.EFFECT_COLUMNS, effects, numbers=True))
    return [Section("factorial", f"{study.keys[0]} and {study.keys[1]} crossed", parts)]


def _configs(report: Report) -> list[Part]:
    rows = report.configs
    if not rows:
        return ["There is one arm, so there is nothing to compare."] if len(report.arms) < 2 else []
    caption = f"Settings that differ from those of {rows[0].a}"
    if len({row.b for row in rows}) == 1:
        columns = ["key", rows[0].a, rows[0].b]
        return [table(caption, columns, [[row.key, row.value_a, row.value_b] for row in rows])]
    cells = [[row.b, row.key, row.value_b, row.value_a] for row in rows[:MOST_CONFIG_ROWS]]
    differences = table(caption, ["arm", "key", "value", f"value of {rows[0].a}"], cells)
    omitted = len(rows) - len(cells)
    return [differences, *([f"{count(omitted)} more rows are in report.md."] if omitted else [])]


def _origins(report: Report) -> list[Part]:
    rows = [[", ".join(origin.arms), str(origin.runs), *origin.values.values()] for origin in report.origins]
    return [table("Commit, device and versions of the runs", ["arms", "runs", *PROVENANCE.values()], rows)]


def _diverged(report: Report) -> list[Part]:
    runs = diverged.diverged(report.excluded, report.arms)
    rows = table("Runs excluded because they diverged", diverged.COLUMNS, map(diverged.cells, runs))
    return [rows] if runs else []


def _excluded(report: Report) -> list[Part]:
    rows = [[entry.run_id, entry.reason] for entry in diverged.others(report.excluded)]
    if not rows:
        return [diverged.none_left_out(report.excluded)]
    return [table("Runs excluded from all figures and tables", ["run", "reason"], rows)]


def _reading(report: Report) -> list[Part]:
    rows = [
        [arm.label, f"{low:,}" if low == high else f"{low:,} to {high:,}"]
        for arm in report.arms
        for low, high in [looks(arm)]
    ]
    reads = table("Reads of the test set per run", ["arm", "times"], rows, numbers=True)
    return [reads, *notes(report)]


def _present(*parts: Chart | str | None) -> list[Part]:
    return [part for part in parts if part]
