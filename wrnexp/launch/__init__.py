"""What Hydra needs of wrnexp: folders and labels by identity, one message for a wrong command, sweeps with a name."""

from wrnexp.launch.naming import current_job
from wrnexp.launch.start import one_message, start

__all__ = ["current_job", "one_message", "start"]
