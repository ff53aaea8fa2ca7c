"""Sweeps on disk: `sweep.json` beside the runs' folders, what state each job is in, and both as tables.

The states in `sweep.json` are a copy; the runs' records are the truth, and reading a sweep asks them anew.
"""

from wrnexp.sweeps.store import (
    Code,
    JobEntry,
    State,
    Sweep,
    completed_record,
    question_of,
    read_sweep,
    state_of,
    update_sweep,
)
from wrnexp.sweeps.tables import duration, jobs_table, sweeps_table, totals

__all__ = [
    "Code",
    "JobEntry",
    "State",
    "Sweep",
    "completed_record",
    "duration",
    "jobs_table",
    "question_of",
    "read_sweep",
    "state_of",
    "sweeps_table",
    "totals",
    "update_sweep",
]
