"""The W&B report: the texts and tables of `wrnexp report`, with live panels over the same runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wrnexp.errors import UserError
from wrnexp.report.build import gathered
from wrnexp.report.tables import Report
from wrnexp.report.text.markdown import sections
from wrnexp.report.text.summary_text import question
from wrnexp.wandb_publish.extra import expr, wr
from wrnexp.wandb_publish.panels import RECIPE, assign_ids, bars, curve, lay_out, scatter, stable_id
from wrnexp.wandb_publish.views import Project, View, user_errors

TITLE_LIMIT = 128  # characters, W&B's
LABEL = wr.Config("run.label")


def save_report(entity: str, project: str, folders: Sequence[Path]) -> str:
    """Save a W&B report on the runs below some folders and return its URL; replaces an earlier one of equal title.

    The panels show the runs that were published to the project.

    Raises:
        UserError: no run to report on, no API key, no such project, or a server that does not answer or refuses.
    """
    if not folders:
        raise UserError(
            "a W&B report needs the folders of the runs that it is about, for instance multirun/base_vs_light"
        )
    report = gathered(folders, folders[0] / "report")
    title = titled(folders)
    connection = Project(entity, project)
    wandb_report = writeup(report, title, entity, project)
    with user_errors():
        text = spec(wandb_report)  # asks the server for the project's id
    wandb_report.id = connection.save(View("runs", stable_id(title), title, question(report), text))
    return str(wandb_report.url)


def titled(folders: Sequence[Path]) -> str:
    """Return the title of the report on some folders; the report is found again by it."""
    names = ", ".join(folder.resolve().name for folder in folders)
    return f"wrnexp report on {names}"[:TITLE_LIMIT]


def writeup(report: Report, title: str, entity: str = "", project: str = "") -> Any:
    """Return the W&B report without saving it; without entity and project, its panels show the report's project."""
    (_, findings), *rest = sections(report)
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
            wr.MarkdownBlock(findings),
            wr.H2("The runs"),
            _live(report, title, entity, project),
            *(block for heading, text in rest for block in (wr.H2(heading), wr.MarkdownBlock(text))),
        ],
    )


def spec(wandb_report: Any) -> str:
    """Return the report's contents as the JSON that is sent."""
    return str(wandb_report._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def _live(report: Report, title: str, entity: str, project: str) -> Any:
    """Return panels over exactly the runs of the report, not other runs of their arms."""
    ids = sorted(run.record.run_id for arm in report.arms for run in arm.runs)
    runs = wr.Runset(
        entity=entity,
        project=project,
        name="the runs of this report",
        filters=expr.And(expr.Metric("State") == "finished", expr.Config("run.value.run_id").isin(ids)),
    )
    runs._id = stable_id(f"{title}/runs")
    return wr.PanelGrid(runsets=[runs], panels=lay_out(assign_ids(_panels(report), title)))


def _panels(report: Report) -> list[Any]:
    by, name = _grouping(report)
    return [
        curve(f"Test accuracy by {name}", "test_accuracy", by),
        curve(f"Training loss by {name}", "train_loss", by),
        bars(f"Final test accuracy by {name}", "test_accuracy", by),
        *(bars(f"Final test accuracy by {key}", "test_accuracy", wr.Config(key)) for key in _keys(report)),
        scatter(
            "Test accuracy against training seconds, a point a run",
            wr.SummaryMetric("train_seconds"),
            wr.SummaryMetric("test_accuracy"),
        ),
    ]


def _keys(report: Report) -> tuple[str, ...]:
    return report.crossed.keys if report.crossed else ()


def _grouping(report: Report) -> tuple[Any, str]:
    """Return the key that groups the runs and its name: the recipe if each arm has a different one, else the label."""
    recipes = {run.record.provenance.get("recipe") for arm in report.arms for run in arm.runs}
    if None not in recipes and len(recipes) == len(report.arms):
        return RECIPE, "recipe"
    return LABEL, "arm"
