"""From folders of runs to a report on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wrnexp.errors import MissingPackageError, UserError, one_line
from wrnexp.process.terminal import warn
from wrnexp.report import diverged
from wrnexp.report.ablation import ablations
from wrnexp.report.arms import Arm, find
from wrnexp.report.claims import all_claims, pair_claims, read_ledgers
from wrnexp.report.collect import Collection, comparable, find_runs, reasons
from wrnexp.report.factorial import crossed
from wrnexp.report.images import calibrated, image_pairs
from wrnexp.report.literature import beside
from wrnexp.report.predictions import predictions
from wrnexp.report.tables import Report, arm_rows, as_json, config_rows, origins, pair_rows
from wrnexp.report.text.markdown import page
from wrnexp.runs.record import RecordError, read_record, write_atomic, write_json

BASELINES = ("base", "demo_base")


def build(folders: Sequence[Path], out: Path, baseline: str | None = None) -> Report:
    """Report on every run in and below some folders.

    Args:
        folders: runs' folders or folders above them.
        out: where index.html, report.md, report.json and the plots go; made where it does not exist.
        baseline: label of the arm that the others are compared with. Without it, the arm labelled `base`, else
            `demo_base`, else the first by label.

    Raises:
        UserError: no run to report on, an unknown baseline, or a place that cannot be written.
    """
    return _written(gathered(folders, out, baseline))


def gathered(folders: Sequence[Path], out: Path, baseline: str | None = None) -> Report:
    """Return what `build` reports, with its claims and ablations; nothing is written.

    Args:
        folders: as in `build`.
        out: the folder that the report would be written to.
        baseline: as in `build`.

    Raises:
        UserError: no run to report on, or an unknown baseline.
    """
    collection = comparable(find_runs(folders))
    first = _labelled(collection, baseline) if baseline is not None else _usual_baseline(collection.arms)
    report = replace(_report(collection, first, out), ablations=ablations(folders, collection.arms))
    return replace(report, claims=all_claims(collection.arms, read_ledgers()))


def compare(a: str, b: str, folders: Sequence[Path], out: Path) -> Report:
    """Report on two arms, a as the baseline, with the claims table.

    Args:
        a: label of an arm, or the folder of one of its runs.
        b: the same for the arm that is held against it.
        folders: where to look for runs.
        out: as in `build`.

    Raises:
        UserError: an arm is unknown, ambiguous or has no run that compares, or both are the same.
    """
    found = find_runs([*folders, *filter(_is_run, map(Path, (a, b)))])
    first, second = (_named(found, name) for name in (a, b))
    if first is second:
        raise UserError(f"{a!r} and {b!r} are the same arm, {first.label!r}: there is nothing to compare.")
    collection = comparable(_only(found, first, second))
    first, second = (_left(collection, arm) for arm in (first, second))
    return _written(replace(_report(collection, first, out), claims=pair_claims(first, second, read_ledgers())))


def _usual_baseline(arms: Sequence[Arm]) -> Arm:
    labelled = {arm.label: arm for arm in arms}
    return next((labelled[label] for label in BASELINES if label in labelled), arms[0])


def _named(found: Collection, name: str) -> Arm:
    """Return the arm of this label or of the run in this folder."""
    return _labelled(found, _arm_id(Path(name)) if _is_run(Path(name)) else name, name)


def _labelled(collection: Collection, wanted: str, name: str | None = None) -> Arm:
    """Return the arm of this label or `arm_id`; where all of its runs are left out, say why of what the user named."""
    labels = diverged.labels(collection.excluded, collection.arms)
    records = [(entry, entry.record) for entry in collection.excluded if entry.record is not None]
    lost = [entry for entry, one in records if wanted in (one.label, one.arm_id, labels[one.arm_id])]
    if lost and not any(wanted in (arm.label, arm.arm_id, *arm.names) for arm in collection.arms):
        raise UserError(f"{name or wanted!r} has no run that compares: {reasons(lost)}.")
    return find(collection.arms, wanted)


def _is_run(folder: Path) -> bool:
    return (folder / "record.json").is_file()


def _arm_id(folder: Path) -> str:
    try:
        return read_record(folder).arm_id
    except RecordError as error:
        raise UserError(f"the record in {folder} cannot be read: {error}") from error


def _only(found: Collection, first: Arm, second: Arm) -> Collection:
    """Keep two arms, and of the excluded runs theirs and those that cannot be read."""
    ids = (first.arm_id, second.arm_id)
    excluded = [entry for entry in found.excluded if entry.record is None or entry.record.arm_id in ids]
    return Collection([first, second], excluded)


def _left(collection: Collection, wanted: Arm) -> Arm:
    """Return the arm as it is after the checks, which may have left nothing of it."""
    for arm in collection.arms:
        if arm.arm_id == wanted.arm_id:
            return arm
    lost = [entry for entry in collection.excluded if entry.record and entry.record.arm_id == wanted.arm_id]
    raise UserError(f"{wanted.label!r} has no run that compares: {reasons(lost)}.")


def _report(collection: Collection, baseline: Arm, folder: Path) -> Report:
    arms = collection.arms
    answers = predictions(arms, baseline)
    return Report(
        arms=arms,
        rows=arm_rows(arms),
        pairs=pair_rows(arms, baseline),
        claims=[],
        excluded=collection.excluded,
        configs=config_rows(arms, baseline),
        origins=origins(arms),
        crossed=crossed(arms),
        literature=beside(arms),
        folder=folder,
        answers=answers,
        image_pairs=image_pairs(answers),
        calibration=calibrated(answers),
    )


def _written(report: Report) -> Report:
    out = report.folder
    try:
        out.mkdir(parents=True, exist_ok=True)
        drawn, of_changes = _drawn(report)
        write_json(out / "report.json", as_json(report))
        write_atomic(out / "report.md", page(report, drawn, of_changes).encode())
        _write_page(out / "index.html", report)
    except OSError as error:
        raise UserError(f"cannot write the report to {out}: {error}; choose another folder with --out.") from error
    return report


def _drawn(report: Report) -> tuple[list[str], dict[str, list[str]]]:
    """Draw the plots and return their file names, those of each ablation by its name; none where matplotlib fails."""
    # It takes a while to import, as jinja2 and vl_convert do: not before the records are known to be good.
    try:
        from wrnexp.report.figures import ablation_plot, factorial_plot
        from wrnexp.report.figures.plots import draw

        factorial_plot.draw(report.crossed, report.folder)
        return draw(report, report.folder), ablation_plot.draw(report.ablations, report.folder)
    except OSError:  # of the folder
        raise
    except Exception as error:
        warn(f"left out: the plots, which cannot be drawn ({one_line(error)})")
        return [], {}


def _write_page(path: Path, report: Report) -> None:
    """Write the page; without the package that draws its charts there is none, and none of an earlier report."""
    from wrnexp.report.page.render import html

    try:
        text = html(report)
    except MissingPackageError as error:
        path.unlink(missing_ok=True)
        warn(f"left out: {error}")
    else:
        write_atomic(path, text.encode())
