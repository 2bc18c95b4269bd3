"""docs/accepted.md says of each case what its test asserts."""

from __future__ import annotations

from pathlib import Path

from tests.accepted import describe
from tests.accepted.checkpoints import ADAPTERS, READ, REFUSED
from tests.accepted.files import READ as FILES_READ
from tests.accepted.files import REFUSED as FILES_REFUSED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "accepted.md"


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert describe.rewritten(page) == page, "write it anew: make docs"


def test_every_case_has_a_row_and_a_name_of_its_own() -> None:
    for cases in (FILES_READ + FILES_REFUSED, READ + REFUSED, tuple(case for case, _ in ADAPTERS)):
        names = [case.what for case in cases]
        assert len(set(names)) == len(names)
        assert all(f"\n| {name} |" in describe.described() for name in names)


def test_what_is_refused_says_why() -> None:
    assert all(case.said.strip() for case in (*FILES_REFUSED, *REFUSED, *(case for case, _ in ADAPTERS)))
