"""Types and ranges of every config key, and one message for all that is wrong with a config. No torch."""

from wrnexp.schema.check import check, known_keys, message, nearest, problems
from wrnexp.schema.keys import Config
from wrnexp.schema.text import excerpt, is_printable, visible

__all__ = ["Config", "check", "excerpt", "is_printable", "known_keys", "message", "nearest", "problems", "visible"]
