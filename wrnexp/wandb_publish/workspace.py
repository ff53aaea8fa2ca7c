"""The W&B workspace `wrnexp`: base against light, the ablations, what runs cost, how they went, their pictures."""

from typing import Any

from wrnexp.wandb_publish.extra import expr, wr, ws
from wrnexp.wandb_publish.panels import RECIPE, RUNS_SHOWN, assign_ids, bars, curve, parallel, pictures, scatter
from wrnexp.wandb_publish.views import Project, View

TITLE = "wrnexp"
NAME = "nw-wrnexpboard-v"  # W&B's format of workspace names; the URL then ends in ?nw=wrnexpboard
DROPOUT, SMOOTHING = wr.Config("model.dropout"), wr.Config("optim.label_smoothing")
VALIDATION, TEST = wr.SummaryMetric("val_accuracy"), wr.SummaryMetric("test_accuracy")

TABLE = (  # the first columns of the run table
    "run:displayName",
    "run:group",
    "config:seed.value",
    "summary:test_accuracy",
    "summary:val_accuracy",
    "summary:train_seconds",
    "summary:images_per_second",
    "summary:peak_memory_bytes",
    "config:model.value.dropout",
    "config:optim.value.label_smoothing",
    "config:optim.value.lr",
    "config:optim.value.weight_decay",
)

BASE_AGAINST_LIGHT = (
    "A line is the mean over the runs of a recipe (the job type), its band one standard deviation over them. "
    "**Show one sweep at a time**: filter by Group, for instance base_vs_light; else the arms of an ablation count as "
    "their recipe. "
    "Verdicts, paired by seed, are in the W&B report that `wrnexp publish --report` saves."
)
ABLATION = (
    "Filter by Group = the sweep in question. Settings are chosen on validation accuracy, which the files in `sweeps/` "
    "measure on 5,000 images held out; test accuracy is shown beside it and never chosen by. Parameter importance is a "
    "fit to the runs shown, no test."
)
COST = "Seconds are of training alone. Runs on different devices do not compare."


def save_workspace(entity: str, project: str) -> str:
    """Save the workspace in an existing project, replacing an earlier version, and return its URL.

    Raises:
        UserError: no API key, no such project, or a server that does not answer or refuses.
    """
    board = workspace(entity, project)
    Project(entity, project).save(View("project-view", NAME, TITLE, "", spec(board)))
    board._internal_name = NAME
    return str(board.url)


def workspace(entity: str, project: str) -> Any:
    """Return the workspace without saving it."""
    return ws.Workspace(
        entity=entity,
        project=project,
        name=TITLE,
        sections=[
            _section("Base against light", _base_against_light(), is_open=True),
            _section("Ablation", _ablation(), is_open=True),
            _section("Cost", _cost()),
            _section("Health", _health()),
            _section("Pictures", _pictures()),
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=RUNS_SHOWN),
        runset_settings=ws.RunsetSettings(
            # Failed, interrupted and unfinished runs would lower the bars of their group.
            filters=expr.And(expr.Metric("State") == "finished"),
            groupby=[expr.Metric("JobType")],
            pinned_columns=list(TABLE),
        ),
    )


def spec(board: Any) -> str:
    """Return the workspace's contents as the JSON that is sent."""
    model = board._to_model()
    section = model.spec.section
    # The run table's grouping would reduce scatter plots and parallel coordinates to one point per recipe. The library
    # does not expose this setting.
    panel_sections = section.panel_bank_config.sections
    for settings in (section.settings, *(panel_section.local_panel_settings for panel_section in panel_sections)):
        settings.use_runs_table_grouping_in_panels = False
    return str(model.spec.model_dump_json(by_alias=True, exclude_none=True))


def _section(name: str, panels: list[Any], is_open: bool = False) -> Any:
    return ws.Section(
        name=name,
        panels=assign_ids(panels, f"workspace/{name}"),
        is_open=is_open,
        panel_settings=ws.SectionPanelSettings(x_axis="epoch"),
    )


def _base_against_light() -> list[Any]:
    return [
        wr.MarkdownPanel(markdown=BASE_AGAINST_LIGHT),
        bars("Final test accuracy by recipe", "test_accuracy", RECIPE),
        curve("Test accuracy", "test_accuracy", RECIPE),
        curve("Validation accuracy", "val_accuracy", RECIPE),
        curve("Training loss", "train_loss", RECIPE),
        curve("Test loss", "test_loss", RECIPE),
    ]


def _ablation() -> list[Any]:
    settings = [("dropout", DROPOUT), ("label smoothing", SMOOTHING)]
    return [
        wr.MarkdownPanel(markdown=ABLATION),
        *(bars(f"Validation accuracy by {name}", "val_accuracy", key) for name, key in settings),
        *(bars(f"Test accuracy by {name}", "test_accuracy", key) for name, key in settings),
        *(curve(f"Validation accuracy by {name}", "val_accuracy", key) for name, key in settings),
        *(curve(f"Training loss by {name}", "train_loss", key) for name, key in settings),
        parallel(
            "Settings and accuracy, a line a run",
            [
                ("dropout", DROPOUT, False),
                ("stem dropout", wr.Config("model.stem_dropout"), False),
                ("label smoothing", SMOOTHING, False),
                ("learning rate", wr.Config("optim.lr"), True),
                ("weight decay", wr.Config("optim.weight_decay"), True),
                ("clip norm", wr.Config("optim.clip_norm"), False),
                ("validation accuracy", VALIDATION, False),
                ("test accuracy", TEST, False),
            ],
        ),
        wr.ParameterImportancePlot(with_respect_to="val_accuracy"),
    ]


def _cost() -> list[Any]:
    return [
        wr.MarkdownPanel(markdown=COST),
        scatter("Test accuracy against training seconds, a point a run", wr.SummaryMetric("train_seconds"), TEST),
        bars("Training, seconds", "train_seconds", RECIPE),
        bars("Training, images/s", "images_per_second", RECIPE),
        bars("Peak memory, bytes", "peak_memory_bytes", RECIPE),
        bars("Parameters", "parameters", RECIPE),
        bars("Multiply-adds an image", "macs_per_image", RECIPE),
    ]


def _health() -> list[Any]:
    return [
        curve("Learning rate", "lr"),
        curve("Gradient norm", "grad_norm"),
        curve("Share of steps clipped", "clipped"),
        curve("Share of the time spent waiting for data", "data_wait"),
        curve("Images/s", "images_per_second"),
        curve("Peak memory", "peak_memory_bytes", unit="bytes"),
    ]


def _pictures() -> list[Any]:
    return [
        pictures("Augmented training images, as the network sees them", "media/augmented"),
        pictures("Confusion", "media/confusion"),
        pictures("Reliability", "media/reliability"),
        wr.WeavePanelSummaryTable(table_name="media/mistakes"),
    ]
