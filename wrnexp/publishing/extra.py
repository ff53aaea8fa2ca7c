"""wandb-workspaces, of the extra `dashboards`, imported in one place that says what to do where it is not installed."""

from wrnexp.errors import UserError

try:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr
    from wandb_workspaces._graphql import execute_graphql
    from wandb_workspaces.reports.v2 import gql
except ModuleNotFoundError as error:
    raise UserError(
        f"W&B workspaces and reports are written with the package wandb-workspaces, which is not installed ({error}): "
        "pip install -e '.[dashboards]'"
    ) from error

__all__ = ["execute_graphql", "expr", "gql", "wr", "ws"]
