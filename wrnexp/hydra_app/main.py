"""Starts the Hydra application and turns what goes wrong into one clear message and the right exit code."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from wrnexp.errors import OutOfTimeError, Stopped, TrainingError, UserError, causes, one_line
from wrnexp.hydra_app.naming import app_config
from wrnexp.process import torchrun
from wrnexp.process.signals import STOPPING
from wrnexp.runs.invocation import Invocation

WANTS_TRACEBACK = "WRNEXP_FULL_ERROR"
LOOKING = {"-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info", "-sc", "--shell-completion"}
SIGNALS = (130, *(128 + number for number in STOPPING))  # exit codes after Ctrl-C, SIGTERM and SIGUSR2


def start(main: Callable[[], object], root: Path, follow: Callable[[], object] | None = None) -> None:
    """Run `main`, a function that `hydra.main` decorates, and exit with 0, 1, 2, 124, 130, 140 or 143.

    Args:
        main: the application.
        root: the folder that holds `conf/`.
        follow: what all but the first of the processes that torchrun started do instead: one alone composes.
    """
    if follow is not None and (place := torchrun.process_rank()) is not None and place.rank > 0:
        if LOOKING & {argument.split("=")[0] for argument in sys.argv[1:]}:
            return
        main = follow
    if os.environ.get("HYDRA_FULL_ERROR") == "1":  # the user asks for tracebacks
        os.environ[WANTS_TRACEBACK] = "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of printing them its own way
    if not all(map(str.isascii, sys.argv[1:])):
        from wrnexp.hydra_app.environment import encoding_problem  # only where it is needed: --cfg answers at once

        if (problem := encoding_problem(sys.argv[1:])) is not None:
            sys.exit(_say(problem, 2))
        from wrnexp.hydra_app.overrides import quote_letters

        sys.argv[1:] = quote_letters(sys.argv[1:])
    try:
        main()
    except (KeyboardInterrupt, SystemExit) as stop:
        code = 130 if isinstance(stop, KeyboardInterrupt) else stop.code
        if (code in SIGNALS or isinstance(stop, Stopped)) and main is not follow:
            why = f": {stop}" if isinstance(stop, Stopped) else ""
            from wrnexp.process.terminal import warn  # rich comes with it

            warn(f"interrupted{why}; the same command resumes from the last checkpoint")
        sys.exit(code)
    except Exception as error:
        if os.environ.get(WANTS_TRACEBACK):
            raise
        sys.exit(_report(error, root))


@contextmanager
def one_message(job: Invocation) -> Iterator[None]:
    """End a single run at once where the user or training is at fault; in a sweep the error goes on to Hydra.

    Hydra would put a line of its own before the message. In a sweep that line is wanted, for it names the job, and an
    exit would take the other jobs with it: at a time limit the job ends with `OutOfTimeError`.
    """
    try:
        yield
    except Stopped as stopped:
        if job.sweep is None or stopped.limit is None:
            raise
        raise OutOfTimeError(one_line(stopped)) from None
    except Exception as error:
        if job.sweep is not None:
            from wrnexp.process.terminal import warn  # rich comes with it

            warn(f"failed: {' '.join(job.overrides)}: {error}", newlines=True)
            # Hydra keeps the error until the sweep's end, and with it all that its frames hold: model, loader, memory.
            traceback.clear_frames(error.__traceback__)
        if job.sweep is not None or os.environ.get(WANTS_TRACEBACK):
            raise
        if isinstance(error, UserError | TrainingError):
            sys.exit(_say(str(error), 2 if isinstance(error, UserError) else 1))
        from wrnexp.hydra_app.environment import unwritable_folder

        if (problem := unwritable_folder(error)) is None:
            raise
        sys.exit(_say(problem, 2))


def composition_message(error: HydraException, arguments: Iterable[str], root: Path) -> str:
    """Return one message for every wrong key among `arguments`, or Hydra's own where the trouble lies elsewhere."""
    from wrnexp.config.check import message, nearest  # pydantic comes with it: only once something is wrong

    overrides = _overrides(arguments)
    wrong = [one for one in overrides if _unknown(one, root)]
    if not wrong:
        return "\n".join(part for part in (str(error), str(error.__cause__ or "")) if part)
    lines = [f"{one.input_line}: there is no such key{nearest(str(one.key_or_group))}" for one in wrong]
    kept = [str(one.input_line) for one in overrides if one not in wrong and not one.is_sweep_override()]
    return message(lines + _other_problems(kept, root))


def _report(error: Exception, root: Path) -> int:
    for cause in causes(error):
        if isinstance(cause, UserError):
            return _say(str(cause), 2)
        if isinstance(cause, TrainingError):
            return _say(str(cause), 1)
    from wrnexp.hydra_app.environment import unwritable_folder

    if (problem := unwritable_folder(error)) is not None:
        return _say(problem, 2)
    if isinstance(error, HydraException):
        return _say(composition_message(error, sys.argv[1:], root), 2)
    if isinstance(error, OmegaConfBaseException):
        return _say(f"config: {str(error).splitlines()[0]}", 2)
    if isinstance(error, ValueError | RuntimeError | ImportError) and _raised_in_hydra(error):
        return _say(str(error), 2)
    traceback.print_exception(error)
    return 1


def _raised_in_hydra(error: Exception) -> bool:
    """Say whether Hydra itself refused the command, flags that exclude each other for instance."""
    from wrnexp.hydra_app.environment import modules

    return modules(error)[-1].startswith("hydra.")


def _say(text: str, code: int) -> int:
    from wrnexp.process.terminal import warn  # rich comes with it

    warn(f"error: {text}", newlines=True)
    return code


def _other_problems(overrides: list[str], root: Path) -> list[str]:
    """Return what is wrong with the rest of the command, so that one message says it all."""
    from wrnexp.config.check import problems

    try:
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            return problems(app_config(compose("config", overrides=overrides)))
    except Exception:  # one more error of composition: it is told once the known ones are mended
        return []


def _overrides(arguments: Iterable[str]) -> list[Override]:
    parser = OverridesParser.create()
    found = []
    for argument in arguments:
        try:
            found += parser.parse_overrides([argument])
        except HydraException:  # a flag or its value
            continue
    return found


def _unknown(override: Override, root: Path) -> bool:
    from wrnexp.config.check import known_keys

    key = str(override.key_or_group)
    is_group = (root / "conf" / key).is_dir() or key.startswith("hydra")
    return not is_group and key.lstrip("+~") not in known_keys()
