"""Other libraries' errors in our messages."""


def reason(error: BaseException) -> str:
    """Return an error's first line; its kind, where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
