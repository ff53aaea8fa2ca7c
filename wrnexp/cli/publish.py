"""`wrnexp publish DIR...`: runs into W&B after they were trained, and dashboards over them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wrnexp.errors import UserError
from wrnexp.process.packages import require
from wrnexp.process.terminal import Terminal, printable, warn

if TYPE_CHECKING:
    from wrnexp.wandb_publish.local import LeftOut, LocalRun
    from wrnexp.wandb_publish.server import Server

DESCRIPTION = """\
Put runs into W&B that were trained offline, or whose server was lost, and complete those that are not whole there. What
is there already is left as it is: the same command again changes nothing, and goes on where a connection broke. Runs
without W&B's files are made anew from their records."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "publish", help="put runs into W&B later, and make dashboards there", description=DESCRIPTION
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="a run's folder, or one above such folders"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    parser.add_argument("--rebuild", action="store_true", help="take nothing from W&B's files, all from the records")
    parser.add_argument("--project", metavar="NAME", help="the W&B project (default: that of each run's config)")
    parser.add_argument("--entity", metavar="NAME", help="the W&B user or team (default: the run's, or the account's)")
    parser.add_argument("--workspace", action="store_true", help="also make or renew the project's workspace")
    parser.add_argument("--report", action="store_true", help="also make or renew a W&B report with the verdicts")
    parser.set_defaults(run=publish)


def publish(args: argparse.Namespace) -> int:
    """Publish, and say of each run what was done."""
    require("wrnexp publish", "wandb")
    from wrnexp.tracking.wandb.account import configure_sdk
    from wrnexp.wandb_publish.local import deduplicate, find_runs
    from wrnexp.wandb_publish.server import Server, ServerError, close, refuse_settings

    console = Terminal(soft_wrap=True)
    runs, left = find_runs(args.folders, args.project, args.entity)
    refuse_settings(args.folders)
    configure_sdk(args.folders[0] / "wandb")
    try:
        server = Server()
        runs, repeated = deduplicate(runs, server.entity)
        whole = _runs(runs, server, args, console)
        _say_left([*left, *repeated], console)
        if whole and not args.dry_run:
            _dashboards(runs, server, args, console)
    except ServerError as error:
        warn(f"error: {error}; the same command goes on where it stopped")
        close()  # else the SDK's process waits on for the server, and with it whoever reads this one's output
        return 1
    return 0 if whole else 1


def _runs(runs: Sequence["LocalRun"], server: "Server", args: argparse.Namespace, console: Terminal) -> bool:
    """Publish runs; return whether all are there. A run that fails does not stop the others."""
    from wrnexp.wandb_publish.runs import plan_upload
    from wrnexp.wandb_publish.runs import publish as publish_runs
    from wrnexp.wandb_publish.server import ServerError

    def head(run: "LocalRun", number: int) -> str:
        return f"[{number}/{len(runs)}] {run.name}  {server.entity(run.entity)}/{run.project}/{run.identity}"

    if args.dry_run:
        for number, run in enumerate(runs, 1):
            told = plan_upload(run, server.find(run.entity, run.project, run.identity), rebuild=args.rebuild)
            console.print(printable(f"{head(run, number)}: {PLANNED[told.action]}{told.detail}"))
        return True
    failed = 0
    for number, (run, done) in enumerate(publish_runs(runs, server, rebuild=args.rebuild), 1):
        failed += isinstance(done, ServerError)
        said = f"failed: {done}" if isinstance(done, ServerError) else f"{DONE[done.action]}{done.detail}"
        console.print(printable(f"{head(run, number)}: {said}"))
    if failed:
        told_of = f"{failed} of {len(runs)} runs are not whole in W&B"
        warn(f"error: {told_of}; the same command tries again")
    return not failed


PLANNED = {"there": "is there, ", "busy": "would be left, ", "send": "would be sent ", "complete": "would be given "}
DONE = {"there": "is there, ", "busy": "left, ", "send": "sent ", "complete": "given "}


def _say_left(left: Sequence["LeftOut"], console: Terminal) -> None:
    for one in left:
        console.print(printable(f"left out: {one.folder}: {one.reason}"))


def _dashboards(runs: Sequence["LocalRun"], server: "Server", args: argparse.Namespace, console: Terminal) -> None:
    """Make the workspace and the report, where asked for, in the project of the runs."""
    if not args.workspace and not args.report:
        return
    places = {(server.entity(run.entity), run.project) for run in runs}
    if len(places) > 1:
        named = ", ".join(sorted("/".join(place) for place in places))
        raise UserError(f"the runs are in several projects ({named}): give folders of one, or --project")
    ((entity, project),) = places
    if args.workspace:
        from wrnexp.wandb_publish.workspace import save_workspace

        console.print(f"workspace: {save_workspace(entity, project)}")
    if args.report:
        from wrnexp.wandb_publish.report import save_report

        console.print(f"report: {save_report(entity, project, args.folders)}")
