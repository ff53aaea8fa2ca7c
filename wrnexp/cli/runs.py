"""Which run a command is about: a folder, or a label or run_id below outputs and multirun."""

import argparse
from pathlib import Path

from wrnexp.errors import UserError
from wrnexp.runs.record import Record, find_record, record_folders

FOLDERS = (Path("outputs"), Path("multirun"))


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a run and what its record may name."""
    parser.add_argument(
        "run_folder", metavar="RUN", help="a run's folder; or a run_id or label, where one completed run has it"
    )
    parser.add_argument(
        "--allow-target",
        action="append",
        default=[],
        metavar="PATH",
        help="dotted path of a class of your own, such as mypkg.Net, that the run's record may name; may be repeated",
    )


def find_run(name: str) -> Path:
    """Return the folder of the run that is named.

    Args:
        name: a folder, which is taken as it is; else a run_id or label of a run below outputs or multirun.

    Raises:
        UserError: no run is named so, or several are.
    """
    if Path(name).exists():
        return Path(name)
    folders = [folder for top in FOLDERS if top.is_dir() for folder in record_folders(top)]
    found = [folder for folder in folders if (record := find_record(folder)) and _is_named(record, name)]
    completed = [folder for folder in found if (record := find_record(folder)) and record.status == "completed"]
    chosen = completed or found
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        shown = ", ".join(map(str, chosen[:3])) + (", ..." if len(chosen) > 3 else "")
        raise UserError(f"{name} names {len(chosen)} runs: give the folder of one ({shown})")
    raise UserError(f"{name} is no folder, and no run in outputs or multirun has this run_id or label")


def _is_named(record: Record, name: str) -> bool:
    return name in (record.run_id, record.label)
