"""docs/accepted.md from the cases: `python -m tests.accepted.describe docs/accepted.md` writes its tables anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from asc_core import marked_page
from tests.accepted.case import Checkpoint, DataFile
from tests.accepted.checkpoints import ADAPTERS, READ, REFUSED
from tests.accepted.files import READ as FILES_READ
from tests.accepted.files import REFUSED as FILES_REFUSED

BEGIN = "<!-- from the cases, by `python -m tests.accepted.describe docs/accepted.md` -->"


def described() -> str:
    """Markdown: what is read and what is refused, of data files and of checkpoints."""
    return "\n\n".join(
        [
            "## Data files",
            _table(("file", "name", "read", "what is said"), map(_file, FILES_READ)),
            _table(("file", "name", "refused: the sentence says"), map(_refused_file, FILES_REFUSED)),
            "## Checkpoints",
            "These answer as the same checkpoint does without it:",
            _table(("checkpoint",), ((case.what,) for case in READ)),
            "These are refused:",
            _table(("checkpoint", "the sentence says"), map(_checkpoint, REFUSED)),
            _table(("adapter", "the sentence says"), (_checkpoint(case) for case, _ in ADAPTERS)),
        ]
    )


def rewritten(page: str) -> str:
    """The page with what stands between the two marks made anew. Raises: UserError where a mark is missing."""
    return marked_page.rewritten(page, BEGIN, described())


def _file(case: DataFile) -> tuple[str, ...]:
    return case.what, f"`{case.name}`", "with a note" if case.said else "yes", _quoted(case.said)


def _refused_file(case: DataFile) -> tuple[str, ...]:
    return case.what, f"`{case.name}`", _quoted(case.said)


def _checkpoint(case: Checkpoint) -> tuple[str, ...]:
    return case.what, _quoted(case.said)


def _quoted(said: str) -> str:
    return f"“{said}”" if said else ""


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(_lines(header, rows))


def _lines(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|---" * len(header) + "|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


if __name__ == "__main__":
    marked_page.rewrite(rewritten, __doc__)
