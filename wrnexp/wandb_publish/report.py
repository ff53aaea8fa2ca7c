"""The W&B report: what `wrnexp report` says of some folders, and beside it live panels over the same runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wrnexp.errors import UserError
from wrnexp.report.build import gathered
from wrnexp.report.tables import Report
from wrnexp.report.text.markdown import sections
from wrnexp.report.text.summary_text import question
from wrnexp.wandb_publish.extra import expr, wr
from wrnexp.wandb_publish.panels import RECIPE, bars, curve, named, placed, scatter, stable_id
from wrnexp.wandb_publish.views import Project, View, answering

TITLE_LIMIT = 128  # characters, W&B's
LABEL = wr.Config("run.label")


def save_report(entity: str, project: str, folders: Sequence[Path]) -> str:
    """Save a W&B report on the runs under some folders, over the one of the same folders' names; return its URL.

    Args:
        entity: the W&B user or team.
        project: a project of theirs, to which the runs were published: the panels show those that are there.
        folders: runs' folders or folders above them, as `wrnexp report` takes them.

    Raises:
        UserError: no run to report on, no API key, no such project, or a server that does not answer or refuses.
    """
    if not folders:
        raise UserError(
            "a W&B report needs the folders of the runs that it is about, for instance multirun/base_vs_light"
        )
    report = gathered(folders, folders[0] / "report")
    title = titled(folders)
    found = Project(entity, project)
    made = writeup(report, title, entity, project)
    with answering():
        text = spec(made)  # asks the server for the project's id
    made.id = found.save(View("runs", stable_id(title), title, question(report), text))
    return str(made.url)


def titled(folders: Sequence[Path]) -> str:
    """Return the title of the report on some folders, by which it is found again: their names."""
    names = ", ".join(folder.resolve().name for folder in folders)
    return f"wrnexp report on {names}"[:TITLE_LIMIT]


def writeup(report: Report, title: str, entity: str = "", project: str = "") -> Any:
    """Return the W&B report; nothing is sent.

    Every word and figure is of `wrnexp.report`; without entity and project the panels show the project that the report
    is in.
    """
    (_, found), *rest = sections(report)
    return wr.Report(
        entity=entity,
        project=project,
        title=title,
        description=question(report),
        width="fluid",
        blocks=[
            wr.H2("Question"),
            wr.P(question(report)),
            wr.H2("What was found"),
            wr.MarkdownBlock(found),
            wr.H2("The runs"),
            _live(report, title, entity, project),
            *(block for heading, text in rest for block in (wr.H2(heading), wr.MarkdownBlock(text))),
        ],
    )


def spec(made: Any) -> str:
    """Return what the report holds as JSON, as it is sent."""
    return str(made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def _live(report: Report, title: str, entity: str, project: str) -> Any:
    """Return panels over exactly the runs of the report, wherever else the project holds their arms."""
    ids = sorted(run.record.run_id for arm in report.arms for run in arm.runs)
    runs = wr.Runset(
        entity=entity,
        project=project,
        name="the runs of this report",
        filters=expr.And(expr.Metric("State") == "finished", expr.Config("run.value.run_id").isin(ids)),
    )
    runs._id = stable_id(f"{title}/runs")
    return wr.PanelGrid(runsets=[runs], panels=placed(named(_panels(report), title)))


def _panels(report: Report) -> list[Any]:
    by, what = _grouped(report)
    return [
        curve(f"Test accuracy by {what}", "test_accuracy", by),
        curve(f"Training loss by {what}", "train_loss", by),
        bars(f"Final test accuracy by {what}", "test_accuracy", by),
        *(bars(f"Final test accuracy by {key}", "test_accuracy", wr.Config(key)) for key in _keys(report)),
        scatter(
            "Test accuracy against training seconds, a point a run",
            wr.SummaryMetric("train_seconds"),
            wr.SummaryMetric("test_accuracy"),
        ),
    ]


def _keys(report: Report) -> tuple[str, ...]:
    return report.crossed.keys if report.crossed else ()


def _grouped(report: Report) -> tuple[Any, str]:
    """Return what groups the runs: the recipe where each arm is a recipe of its own, else the arm's label."""
    recipes = {run.record.provenance.get("recipe") for arm in report.arms for run in arm.runs}
    if None not in recipes and len(recipes) == len(report.arms):
        return RECIPE, "recipe"
    return LABEL, "arm"
