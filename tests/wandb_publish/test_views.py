"""Saving views with the real SDK: idempotent, equal to the golden files, one message per error."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.wandb_publish.conftest import GOLDEN, ViewServer
from wrnexp.errors import UserError
from wrnexp.wandb_publish.report import save_report
from wrnexp.wandb_publish.workspace import save_workspace

Save = Callable[[str, str], str]


def golden(name: str) -> Any:
    return json.loads((GOLDEN / "wandb" / f"{name}.json").read_text())


@pytest.fixture
def base_and_light(dashboards: ModuleType, tmp_path: Path) -> Path:
    folder: Path = dashboards.records(tmp_path)
    return folder


@pytest.fixture(params=["workspace", "report"])
def save(request: pytest.FixtureRequest, base_and_light: Path) -> Save:
    if request.param == "workspace":
        return save_workspace
    return lambda entity, project: save_report(entity, project, [base_and_light])


def test_saving_twice_leaves_one_view_as_it_was(server: ViewServer, save: Save) -> None:
    first, sent = save("me", "wrnexp"), dict(server.views)
    assert save("me", "wrnexp") == first
    assert server.views == sent
    assert len(sent) == 1


def test_a_view_that_a_user_renamed_and_edited_is_written_over(server: ViewServer, save: Save) -> None:
    save("me", "wrnexp")
    ((key, made),) = server.views.items()
    server.views[key] = made | {"displayName": "mine", "spec": "{}"}
    save("me", "wrnexp")
    assert server.views == {key: made}


@pytest.mark.parametrize("filtering", [True, False])
def test_views_of_others_are_left_alone(server: ViewServer, save: Save, filtering: bool) -> None:
    server.filtering = filtering
    users_views = {kind: {"type": kind, "name": "nw-abc-v", "spec": "{}"} for kind in ("runs", "project-view")}
    server.views |= users_views
    save("me", "wrnexp")
    assert len(server.views) == len(users_views) + 1
    assert server.views | users_views == server.views


def test_the_workspace_arrives_as_the_golden_file_says(server: ViewServer) -> None:
    url = save_workspace("me", "wrnexp")
    assert url.endswith("/me/wrnexp?nw=wrnexpboard")
    (view,) = server.views.values()
    assert server.specs() == [golden("workspace")["spec"]]
    assert (view["name"], view["displayName"]) == (golden("workspace")["name"], "wrnexp")
    assert (view["entityName"], view["projectName"], view["type"]) == ("me", "wrnexp", "project-view")


def test_the_report_arrives_as_the_golden_file_says(server: ViewServer, base_and_light: Path) -> None:
    url = save_report("me", "wrnexp", [base_and_light])
    assert "/me/wrnexp/reports/wrnexp-report-on-base_vs_light--view0" in url
    (view,), (spec,) = server.views.values(), server.specs()
    grids = [block for block in spec["blocks"] if block["type"] == "panel-grid"]
    named = [runs.pop("project") for grid in grids for runs in grid["metadata"]["runSets"]]
    assert named == [{"entityName": "me", "id": "id-wrnexp", "name": "wrnexp"}]  # the server's id of the project
    assert spec == golden("report")["spec"]
    assert (view["displayName"], view["type"]) == (golden("report")["displayName"], "runs")
    assert view["description"] == golden("report")["description"]


def test_reports_on_other_folders_are_reports_of_their_own(
    server: ViewServer, base_and_light: Path, dashboards: ModuleType
) -> None:
    save_report("me", "wrnexp", [base_and_light])
    save_report("me", "wrnexp", [dashboards.FACTORIAL])
    assert len({view["name"] for view in server.views.values()}) == len(server.views) == 2


def test_the_workspace_and_a_report_lie_side_by_side(server: ViewServer, base_and_light: Path) -> None:
    for _ in range(2):
        save_workspace("me", "wrnexp")
        save_report("me", "wrnexp", [base_and_light])
    assert [view["type"] for view in server.views.values()] == ["project-view", "runs"]


def test_a_project_that_does_not_exist(server: ViewServer, save: Save) -> None:
    with pytest.raises(UserError, match="no project me/other: publish its runs first"):
        save("me", "other")
    assert server.views == {}


def test_no_key(server: ViewServer, save: Save, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(UserError, match="WANDB_API_KEY"):
        save("me", "wrnexp")


def test_a_server_that_refuses_says_why(server: ViewServer, save: Save) -> None:
    server.refusal = "you may not write here"
    with pytest.raises(UserError, match=r"127\.0\.0\.1.*you may not write here"):
        save("me", "wrnexp")


def test_a_server_that_fails(server: ViewServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrnexp.wandb_publish.views.TIMEOUT", 1)
    server.status = 500
    with pytest.raises(UserError, match=r"the request to the W&B server http://127\.0\.0\.1:\d+ failed"):
        save_workspace("me", "wrnexp")


def test_a_server_that_is_not_there(server: ViewServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrnexp.wandb_publish.views.TIMEOUT", 1)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the request to the W&B server http://127\.0\.0\.1:9 failed"):
        save_workspace("me", "wrnexp")


def test_a_report_on_no_folder() -> None:
    with pytest.raises(UserError, match="needs the folders"):
        save_report("me", "wrnexp", [])


@pytest.mark.parametrize("module", ["workspace", "report"])
def test_without_the_extra_one_message_says_what_to_install(module: str) -> None:
    code = (
        "import sys; sys.modules['wandb_workspaces'] = None\n"
        "from wrnexp.errors import UserError\n"
        f"try: import wrnexp.wandb_publish.{module}\n"
        "except UserError as error: print(error)"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert (
        "needs wandb_workspaces, not installed here: pip install -c constraints.txt -e '.[dashboards]'"
        in completed.stdout
    )
