"""Imports of wandb-workspaces, with an error that names the extra `dashboards` if it is not installed."""

from wrnexp.process.packages import require

require("a W&B workspace or report", "wandb_workspaces", extra="dashboards")

import wandb_workspaces.reports.v2 as wr  # noqa: E402
import wandb_workspaces.workspaces as ws  # noqa: E402
from wandb_workspaces import expr  # noqa: E402
from wandb_workspaces._graphql import execute_graphql  # noqa: E402
from wandb_workspaces.reports.v2 import gql  # noqa: E402

__all__ = ["execute_graphql", "expr", "gql", "wr", "ws"]
