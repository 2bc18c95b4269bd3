"""What goes wrong because of what the user gave us, said in one sentence.

The command line prints a `UserError` and exits with code 2, the dashboard shows it in the page. Everything else that
is raised is our own mistake and keeps its traceback.
"""


class UserError(ValueError):
    """Input that cannot be used. The message names the file, row or field, and the way out."""


class Cancelled(Exception):
    """Raised inside long work when its owner no longer wants the result."""
