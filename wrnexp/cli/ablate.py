"""`wrnexp ablate A B`: which of the changes from one recipe to the other matter, as a sweep."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from wrnexp.errors import UserError
from wrnexp.process.terminal import Terminal, safe_text

if TYPE_CHECKING:
    from wrnexp.sweeps.ablation.design import AblationDesign

ROOT = Path(__file__).parents[2]
KINDS = ("ladder", "leave-one-out", "add-one")
INTERRUPTED = (130, 143)  # exit codes after Ctrl-C and SIGTERM

DESCRIPTION = """\
Which of the changes from recipe A to recipe B matter? Compares the two composed configs, makes one change of the
settings that belong together, and runs a sweep: the ladder from A to B, B without each change, and A with each change.
The same command goes on where it stopped; at the end it says what each change is worth."""

EXAMPLES = """\
examples:
  wrnexp ablate base light --dry-run               what differs, the arms, the number of runs; runs nothing
  wrnexp ablate base light seed=0,1,2 data=shapes optim.epochs=10 hydra/launcher=joblib
  wrnexp ablate base light --only leave-one-out    the cheapest of the three: one arm a change, near B
  wrnexp ablate base light --order depth,width     the ladder takes the smaller net first, so that the rest is quick
  wrnexp ablate base light --together depth,width  one change of two"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "ablate",
        help="which of the changes from one recipe to another matter",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", metavar="A", help="an experiment, or an option that all of the four groups have")
    parser.add_argument("b", metavar="B", help="the recipe compared with it")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="of run.py, common to all runs (default: seed=0,1,2)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what differs and what would be run, and stop")
    parser.add_argument(
        "--only", action="append", choices=KINDS, default=[], help="leave out the other arms; may be repeated"
    )
    parser.add_argument("--order", metavar="CHANGE,...", default="", help="the changes that the ladder takes first")
    parser.add_argument(
        "--together", metavar="CHANGE,...", action="append", default=[], help="make these one change; may be repeated"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the sweep's YAML to FILE, and stop")
    parser.set_defaults(run=ablate)


def ablate(args: argparse.Namespace) -> int:
    """Show, write or run the ablation; return the sweep's exit code."""
    from wrnexp.hydra_app.overrides import quote_letters
    from wrnexp.sweeps.ablation.design import ablation, write  # hydra takes a while to import

    if not (ROOT / "conf").is_dir():
        raise UserError(f"there is no folder conf in {ROOT}: ablate needs wrnexp's repository, as run.py does")
    study = ablation(
        ROOT,
        args.a,
        args.b,
        quote_letters(args.overrides),
        kinds=args.only or KINDS,
        order=_names(args.order),
        merged=[_names(group) for group in args.together],
    )
    _show(study, brief=not args.dry_run)
    if args.dry_run:
        return 0
    command = _command(args)
    if args.write:
        write(study, args.write, command)
        place = shlex.join(["--config-dir", str(args.write.parent), "-cn", args.write.stem])
        print(f"written: {args.write}\nto run it: python run.py {place}")
        return 0
    folder = Path("multirun") / study.name
    write(study, folder / f"{study.name}.yaml", command)
    code = _sweep(folder, study)
    if code not in INTERRUPTED:
        _report(folder)
    return code if code >= 0 else 128 - code  # a signal, as a shell says it


def _show(study: "AblationDesign", *, brief: bool) -> None:
    from wrnexp.cli.differences import print_design, print_differences

    console = Terminal()
    if not brief:
        print_differences(study, console)
    print_design(study, console, _seconds(study), brief=brief)


def _seconds(study: "AblationDesign") -> list[float | None]:
    """Return how long a run of each arm takes, by what runs on record took."""
    from wrnexp.sweeps.estimates import Measured

    measured = Measured.read([Path("outputs"), Path("multirun")])
    found = (measured.run_seconds(config) for _, config in study.arms)
    return [None if estimate is None else estimate.seconds for estimate in found]


def _sweep(folder: Path, study: "AblationDesign") -> int:
    """Run the sweep's file as run.py does, in a process of its own, and wait for it; return its exit code."""
    words = ["--config-dir", str(folder), "-cn", study.name, *study.command.own]
    print(f"python run.py {shlex.join(words)}", flush=True)
    child: subprocess.Popen[bytes] | None = None

    def hand_on(number: int, frame: FrameType | None) -> None:
        # Ctrl-C reaches the child by itself, with all of the terminal's processes; either way it closes its records.
        if child is not None and number != signal.SIGINT:
            child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        child = subprocess.Popen([sys.executable, str(ROOT / "run.py"), *words], env=os.environ | {"PYTHONPATH": paths})
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _command(args: argparse.Namespace) -> str:
    """Return the command in its shortest form, for the head of the sweep's file."""
    words = ["wrnexp", "ablate", args.a, args.b, *args.overrides]
    words += [word for kind in args.only for word in ("--only", kind)]
    words += ["--order", args.order] if args.order else []
    words += [word for group in args.together for word in ("--together", group)]
    return shlex.join(words)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _report(folder: Path) -> None:
    """Report on what has been run so far; nothing where that is too little."""
    from wrnexp.report.build import build
    from wrnexp.report.text.console import print_ablation

    try:
        report = build([folder], folder / "report")
    except UserError:  # no run is completed; the sweep has said why
        return
    console = Terminal()
    for study in report.ablations:
        print_ablation(study, console)
    console.print(safe_text(f"Report: {report.folder / 'report.md'}"), soft_wrap=True)
