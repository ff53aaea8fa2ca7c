"""Saved views of a W&B project, its workspaces and reports: found by W&B's own name of them, and written over."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import wandb

from wrnexp.errors import UserError, one_line
from wrnexp.tracking.wandb.account import has_key, server
from wrnexp.wandb_publish.extra import execute_graphql, gql

TIMEOUT = 30  # seconds that a request may take, the SDK's attempts to repeat it included

UNKNOWN = "unknown operation"  # in the answer of a server that speaks a part of W&B's language only

# The name under which W&B keeps a view is given by whoever makes it, and is no part of what a user edits.
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
        kind: `project-view` is a workspace, `runs` a report; the words are W&B's.
        name: what W&B keeps it under, one a project; not shown.
        title: what is shown.
        description: shown under the title.
        spec: what it holds, as JSON.
    """

    kind: Literal["project-view", "runs"]
    name: str
    title: str
    description: str
    spec: str


class Project:
    """A W&B project that was found on the server, and the connection to it.

    Args:
        entity: the W&B user or team.
        name: of a project of theirs.

    Raises:
        UserError: no API key, a server that does not answer, or no such project; the message says what to do.
    """

    def __init__(self, entity: str, name: str) -> None:
        if not has_key():
            raise UserError("W&B needs an API key to save views: set WANDB_API_KEY, or log in once with `wandb login`.")
        self.entity = entity
        self.name = name
        with answering():
            self._api = wandb.Api(timeout=TIMEOUT)
        self._named("runs", "")

    def save(self, view: View) -> str:
        """Write the view over the one of its name, or as the first of it; return its id.

        Raises:
            UserError: the server does not answer or refuses.
        """
        variables = {
            "id": next((node["id"] for node in self._named(view.kind, view.name) if node["name"] == view.name), None),
            "entityName": self.entity,
            "projectName": self.name,
            "name": view.name,
            "displayName": view.title,
            "description": view.description,
            "type": view.kind,
            "spec": view.spec,
        }
        return str(self._ask(gql.upsert_view, variables)["upsertView"]["view"]["id"])

    def _named(self, kind: str, name: str) -> list[dict[str, Any]]:
        """Return the views of this name, with `id` and `name`."""
        variables = {"project": self.name, "entity": self.entity, "viewType": kind, "viewName": name}
        try:
            found = self._ask(FIND, variables).get("project")
        except UserError as error:
            if UNKNOWN not in str(error):
                raise
            return []  # a server that cannot be asked: the view is made, and made again the next time
        if found is None:
            raise UserError(
                f"W&B knows no project {self.entity}/{self.name}: publish its runs first, or check --entity, --project "
                "and that your account may see it."
            )
        return [edge["node"] for edge in found["allViews"]["edges"]]

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        with answering():
            answer: dict[str, Any] = execute_graphql(self._api, query, variables)
        return answer


@contextmanager
def answering() -> Iterator[None]:
    """Turn what the SDK raises where the server does not answer or refuses into one message."""
    try:
        yield
    except Exception as error:  # the SDK's errors have no common base, and some are private
        where = server()
        raise UserError(f"the W&B server {where} did not do what was asked: {one_line(error)}") from error
