"""Saved views of a W&B project, its workspaces and reports: created, or replaced if one of the same name exists."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import wandb

from wrnexp.errors import UserError, one_line
from wrnexp.tracking.wandb.account import has_key, server
from wrnexp.wandb_publish.extra import execute_graphql, gql

TIMEOUT = 30  # seconds for a request, including the SDK's retries

UNKNOWN = "unknown operation"  # in the answer of a server that implements only part of W&B's API

# A view's name is set by the client that creates it; users edit the display name only.
FIND = """
    query ProjectViews($project: String!, $entity: String!, $viewType: String, $viewName: String) {
        project(name: $project, entityName: $entity) {
            allViews(viewType: $viewType, viewName: $viewName) { edges { node { id name displayName } } }
        }
    }
"""


@dataclass(frozen=True)
class View:
    """A saved view.

    Attributes:
        kind: W&B's type: `project-view` is a workspace, `runs` a report.
        name: identifies the view within its project; not visible to users.
        spec: the contents as JSON.
    """

    kind: Literal["project-view", "runs"]
    name: str
    title: str
    description: str
    spec: str


class Project:
    """The connection to an existing W&B project.

    Raises:
        UserError: no API key, a server that does not answer, or no such project; the message says what to do.
    """

    def __init__(self, entity: str, name: str) -> None:
        if not has_key():
            raise UserError("W&B needs an API key to save views: set WANDB_API_KEY, or log in once with `wandb login`.")
        self.entity = entity
        self.name = name
        with user_errors():
            self._api = wandb.Api(timeout=TIMEOUT)
        self._find_views("runs", "")  # raises if there is no such project

    def save(self, view: View) -> str:
        """Create the view, or replace the one of its name; return its id.

        Raises:
            UserError: the server does not answer or refuses.
        """
        existing = self._find_views(view.kind, view.name)
        variables = {
            "id": next((node["id"] for node in existing if node["name"] == view.name), None),
            "entityName": self.entity,
            "projectName": self.name,
            "name": view.name,
            "displayName": view.title,
            "description": view.description,
            "type": view.kind,
            "spec": view.spec,
        }
        return str(self._ask(gql.upsert_view, variables)["upsertView"]["view"]["id"])

    def _find_views(self, kind: str, name: str) -> list[dict[str, Any]]:
        """Return `id`, `name` and `displayName` of the views with this name."""
        variables = {"project": self.name, "entity": self.entity, "viewType": kind, "viewName": name}
        try:
            project = self._ask(FIND, variables).get("project")
        except UserError as error:
            if UNKNOWN not in str(error):
                raise
            return []  # the server cannot list views: every call creates a new one
        if project is None:
            raise UserError(
                f"W&B has no project {self.entity}/{self.name}: publish its runs first, or check --entity, --project "
                "and that your account may see it."
            )
        return [edge["node"] for edge in project["allViews"]["edges"]]

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        with user_errors():
            answer: dict[str, Any] = execute_graphql(self._api, query, variables)
        return answer


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn every error of the SDK into a `UserError` that names the server."""
    try:
        yield
    except Exception as error:  # the SDK's errors have no common base, and some are private
        raise UserError(f"the request to the W&B server {server()} failed: {one_line(error)}") from error
