"""What goes wrong because of what the user gave us, said in one sentence.

The command line prints a `UserError` and exits with code 2, the dashboard shows it in the page. Everything else that
is raised is our own mistake and keeps its traceback.
"""


class UserError(ValueError):
    """Input that cannot be used. The message names the file, row or field, and the way out."""


def first_line(error: BaseException) -> str:
    """What an error of somebody else's library says, short enough for one of our sentences; no full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:300]


class Cancelled(Exception):
    """Raised inside long work when its owner no longer wants the result."""


def is_failure(error: BaseException) -> bool:
    """Whether something went wrong, and not the wish to end: an Exception, or the panic of a library in Rust, which is
    none."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
