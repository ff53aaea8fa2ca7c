"""What ends a command before training that is no fault of its config: folders, file names and the locale."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

ENCODING = sys.getfilesystemencoding()
LOCALE = "use a UTF-8 one, such as LC_ALL=C.UTF-8"
NOT_WRITABLE = {
    getattr(errno, name)
    for name in ("ENAMETOOLONG", "EROFS", "EACCES", "EPERM", "ENOSPC", "EDQUOT", "EEXIST", "ENOTDIR", "EISDIR", "ELOOP")
    if hasattr(errno, name)
}


def encoding_problem(arguments: Iterable[str]) -> str | None:
    """Return why an argument cannot be written into a record: lone surrogates stand for bytes that are not decoded."""
    wrong = next((argument for argument in arguments if re.search("[\ud800-\udfff]", argument)), None)
    if wrong is None:
        return None
    try:
        shown = os.fsencode(wrong).decode()
    except UnicodeError:
        from wrnexp.config.text import visible  # pydantic comes with it: only once something is wrong

        return f"config: {visible(wrong)} is not valid UTF-8; allowed: text in UTF-8"
    return f"config: {shown} cannot be read: the encoding of this locale is {ENCODING}; {LOCALE}"


def unwritable_folder(error: BaseException) -> str | None:
    """Return why the folder of a run or a sweep cannot be written, in one line; None for an error of another kind."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError | UnicodeEncodeError):
        cause = cause.__cause__
    if any(module.startswith(("wrnexp.engine", "wrnexp.data")) for module in modules(error)):
        return None  # it was written; the disk is full now, or it is another file
    if isinstance(cause, UnicodeEncodeError) and cause.encoding == ENCODING:
        return f"{cause.object!a} cannot be written: the encoding of this locale is {ENCODING}; {LOCALE}"
    if not isinstance(cause, OSError) or cause.filename is None or cause.errno not in NOT_WRITABLE:
        return None
    from wrnexp.config.text import excerpt

    name, why = os.fsdecode(cause.filename), os.strerror(cause.errno or 0)
    if cause.errno == errno.ENAMETOOLONG:
        longest = max(len(os.fsencode(part)) for part in Path(name).parts)
        why = f"a part of it is {longest} bytes long, 255 are allowed" if longest > 255 else "the path is too long"
    others = "hydra.run.dir names another folder, hydra.sweep.dir for a sweep"
    return f"the folder cannot be written: {excerpt(name)}: {why}; {others}"


def modules(error: BaseException) -> list[str]:
    """Return the names of the modules that an error passed through, the one that raised it last."""
    return [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
