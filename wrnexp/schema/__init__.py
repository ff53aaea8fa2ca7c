"""Types and ranges of every config key, and one message for all that is wrong with a config. No torch."""

from wrnexp.schema.check import check, known_keys, message, nearest, problems
from wrnexp.schema.keys import Config

__all__ = ["Config", "check", "known_keys", "message", "nearest", "problems"]
