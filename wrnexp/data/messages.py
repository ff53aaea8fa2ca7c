"""Text of other libraries' exceptions for error messages."""


def reason(error: BaseException) -> str:
    """Return the first line of an exception's text, or its type if it has no text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
