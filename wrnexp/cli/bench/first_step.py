"""A run that notes when it has passed what, and ends after its first step; `wrnexp bench startup` starts it.

    python -m wrnexp.cli.bench.first_step RUN_PY STARTED [overrides]

RUN_PY is run as its users run it, in this process. The last line of the output is JSON: seconds since STARTED (of
`time.time`) until the imports were done, the data there, the model built, the first step computed.
"""

import json
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any


def main(script: str, started: float) -> None:
    """Run `script` and print the times."""
    passed: dict[str, float] = {}

    def note(part: str) -> None:
        passed.setdefault(part, time.time() - started)

    _watch(note)
    note("imports")
    sys.argv = [script, *sys.argv[3:]]
    try:
        runpy.run_path(script, run_name="__main__")
    except _FirstStepDone:
        print(json.dumps(passed))


class _FirstStepDone(BaseException):
    """Ends the run from within; no part of it treats this as an error of its own."""


def _watch(note: Callable[[str], None]) -> None:
    """Import what a run imports; note the end of loading, the start of training, the end of its first step."""
    from wrnexp import app, data  # noqa: F401 (the time of importing app is the point)
    from wrnexp.engine import Trainer
    from wrnexp.runs.journal import Journal

    load, fit = data.load, Trainer.fit

    def loaded(*args: Any, **kwargs: Any) -> Any:
        found = load(*args, **kwargs)
        note("data")
        return found

    def trained(trainer: Any) -> Any:
        def first_step_done(*args: Any) -> None:
            trainer.hardware.synchronize()
            note("first step")
            raise _FirstStepDone

        setattr(Journal, "on_step", first_step_done)  # noqa: B010
        note("model")
        return fit(trainer)

    data.load = loaded
    setattr(Trainer, "fit", trained)  # noqa: B010


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
