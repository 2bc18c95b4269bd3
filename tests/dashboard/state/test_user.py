"""Users of one server have studies of their own, and no way to another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from asc_core.errors import UserError
from asc_core.study import Study
from dashboard.state.session import FOLDER_VARIABLE, begin
from dashboard.state.user import HEADER, PASSWORDS_VARIABLE, check_place, home_of, user_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "studies" / "demo"))
    monkeypatch.setenv(PASSWORDS_VARIABLE, str(tmp_path / "passwords"))
    return tmp_path / "studies" / "demo"


def test_each_has_a_folder_of_their_own(home: Path) -> None:
    folders = {begin({}, user).study.path.resolve() for user in ("ada", "grace")}
    assert folders == {(home.parent / "users" / user / "demo").resolve() for user in ("ada", "grace")}
    assert begin({}).study.path.resolve() == home.resolve()


@pytest.mark.parametrize("study", ["theirs", "../grace/theirs", "grace", "../../demo", "/etc"])
def test_no_link_leads_to_anothers_study(home: Path, study: str) -> None:
    Study.open(home_of(home, "grace").parent / "theirs")
    Study.open(home)
    session = begin({"study": study}, "ada")
    assert session.study.path.resolve() == home_of(home, "ada").resolve()
    assert begin({"study": "theirs"}, "grace").study.path.name == "theirs"


def test_who_is_not_named_by_the_doors_gets_no_page(home: Path) -> None:
    assert user_of({HEADER.title(): "ada"}) == "ada"
    for headers in ({}, {HEADER: ""}, {HEADER: "../grace"}, {HEADER: "A B"}):
        with pytest.raises(UserError, match="logged in"):
            user_of(headers)


def test_where_nobody_logs_in_nobody_can_say_to_be_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORDS_VARIABLE, raising=False)
    assert user_of({HEADER: "ada"}) is None


def test_only_files_of_ones_own_can_be_named(home: Path) -> None:
    own, theirs = (home_of(home, user).parent for user in ("ada", "grace"))
    for folder in (own, theirs):
        folder.mkdir(parents=True)
        (folder / "t.toml").touch()
    (own / "link.toml").symlink_to(theirs / "t.toml")
    for place in (str(own / "t.toml"), "demo:nli", "glue/mrpc", "owner/model", "bert-base"):
        check_place(place, home, "ada")
    for place in (
        str(theirs / "t.toml"),
        str(own / "link.toml"),
        f"{own}/../grace/t.toml",
        "/etc",
        "../x",
        "file:///etc",
    ):
        with pytest.raises(UserError, match="not in your own folder"):
            check_place(place, home, "ada")
    check_place("/etc", home, None)
