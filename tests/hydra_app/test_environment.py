"""What ends a command before training: folders that cannot be written, and arguments that are not text."""

import errno
from typing import Any

import pytest

from wrnexp.hydra_app import environment
from wrnexp.hydra_app.main import one_message
from wrnexp.runs.invocation import Invocation

READ_ONLY = OSError(errno.EROFS, "Read-only file system", "/media/cd/outputs")


def raised(error: BaseException, cause: BaseException | None = None, module: str = "hydra.core.utils") -> Any:
    """Return the error as one that a function of `module` has raised."""
    names: dict[str, Any] = {"__name__": module, "error": error, "cause": cause}
    try:
        exec("raise error from cause", names)
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (raised(READ_ONLY), ["/media/cd/outputs: Read-only file system", "hydra.run.dir"]),
        (raised(ValueError("Unable to configure handler 'file'"), READ_ONLY), ["/media/cd/outputs"]),
        (raised(PermissionError(errno.EACCES, "", "runs/a\nb")), [r"runs/a\nb: Permission denied"]),
        (raised(OSError(errno.ENOSPC, "", "x"), module="wrnexp.runs.journal"), ["x: No space left"]),
        (raised(OSError(errno.ENAMETOOLONG, "", "out/" + "é" * 128)), ["is 256 bytes long, 255 are allowed"]),
        (raised(OSError(errno.ENAMETOOLONG, "", "a/" * 3000)), ["the path is too long", "(6,000 characters)"]),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_line(
    error: BaseException, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, one_message(Invocation()):
        raise error
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the folder cannot be written: ")
    assert all(word in line for word in words)


@pytest.mark.parametrize(
    "error",
    [
        raised(FileNotFoundError(errno.ENOENT, "", "weights.pt")),
        raised(OSError("no number")),
        raised(OSError(errno.ENOSPC, "", "last.pt"), module="wrnexp.engine.checkpoint"),  # while it trains
        raised(PermissionError(errno.EACCES, "", "store"), module="wrnexp.data.store"),
        raised(ValueError("a bug")),
    ],
)
def test_other_errors_are_not_taken_for_that(error: Exception) -> None:
    with pytest.raises(type(error)), one_message(Invocation()):
        raise error


def test_an_error_within_a_handler_is_not_taken_for_what_was_handled() -> None:
    error = RuntimeError("a bug")
    error.__context__ = READ_ONLY
    assert environment.unwritable_folder(error) is None


def test_a_file_name_that_the_locale_cannot_write_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ENCODING", "ascii")
    error = raised(UnicodeEncodeError("ascii", "outputs/日本", 8, 10, "ordinal not in range(128)"))
    problem = environment.unwritable_folder(error)
    assert problem is not None
    assert problem.startswith(r"'outputs/\u65e5\u672c' cannot be written: the encoding of this locale is ascii")


def test_arguments_in_utf8_are_accepted() -> None:
    assert environment.encoding_problem(["label='日本 😀'", "-m", "", "name=дропаут"]) is None


@pytest.mark.parametrize("argument", ["label=caf\udce9", "--config-dir=/\udcff", "\ud83d"])
def test_another_argument_is_refused(argument: str) -> None:
    problem = environment.encoding_problem(["-m", argument])
    assert problem is not None
    assert problem.startswith("config: ")
    assert "is not valid UTF-8" in problem
