"""A folder is downloaded as one zip file that neither memory nor disk ever holds, and nothing outside of it is."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from asc_core.errors import UserError
from asc_core.study import Study
from dashboard.measuring import downloads
from dashboard.measuring.downloads import PIECE, address_of, files_of, routes, zip_bytes, zip_of
from dashboard.measuring.export_jobs import exports_of

MB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "ein Modell, 50 %"
    (place / "1_Pooling").mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "empty").touch()
    (place / "1_Pooling/配置.json").write_text('{"pooling": "mean"}')
    (place / "model.safetensors").write_bytes(bytes(range(256)) * 4096 * 3)
    return place


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_SERVED", [])
    monkeypatch.setattr(downloads, "_OFFERED", {})


def test_the_zip_holds_the_folder_and_is_as_long_as_was_said(folder: Path) -> None:
    content = b"".join(zip_of(folder))
    assert len(content) == zip_bytes(folder, files_of(folder))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_memory_does_not_grow_with_the_folder(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(100 * MB)
    tracemalloc.start()
    try:
        length = sum(map(len, zip_of(tmp_path)))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length > 100 * MB
    assert most < 6 * PIECE


def links(folder: Path) -> Iterator[tuple[Path, Path]]:
    (folder.parent / "secrets").mkdir()
    (folder.parent / "secrets/key").write_text("secret")
    yield folder / "key", folder.parent / "secrets/key"
    yield folder / "1_Pooling/secrets", folder.parent / "secrets"
    yield folder / "gone", folder.parent / "nowhere"


@pytest.mark.parametrize("which", range(3))
def test_a_link_is_not_followed(which: int, folder: Path) -> None:
    link, target = list(links(folder))[which]
    link.symlink_to(target)
    with pytest.raises(UserError, match="is no file of this folder but a link"):
        next(zip_of(folder))
    with TestClient(Starlette(routes=routes())) as client:
        answer = client.get("/" + str(address_of(folder)))
    assert answer.status_code == 409
    assert "secret\n" not in answer.text


def test_a_link_that_takes_a_files_place_while_it_is_sent_is_not_followed(folder: Path) -> None:
    pieces = zip_of(folder)
    next(pieces)
    (folder.parent / "secret").write_text("secret")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder.parent / "secret")
    with pytest.raises(OSError, match="symbolic link"):
        list(pieces)


def test_only_who_was_shown_an_address_has_it(folder: Path) -> None:
    assert address_of(folder) is None
    with TestClient(Starlette(routes=routes())) as client:
        address = address_of(folder)
        assert address == address_of(folder)
        answer = client.get(f"/{address}")
        assert answer.status_code == 200
        assert answer.content == b"".join(zip_of(folder))
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["content-disposition"].endswith("ein%20Modell%2C%2050%20%25.zip")
        assert client.head(f"/{address}").headers["content-type"] == "application/zip"
        assert client.get("/downloads/" + "0" * 64 + "/x.zip").status_code == 404
        assert client.get("/downloads/..%2f..%2fetc/passwd").status_code == 404


def test_a_link_in_the_place_of_an_export_is_neither_shown_nor_handed_out(folder: Path, tmp_path: Path) -> None:
    study = Study.open(tmp_path / "study")
    own = study.path / "exports" / "own"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    (study.path / "exports" / "link").symlink_to(folder)
    assert exports_of(study) == [own]
    with pytest.raises(UserError, match="no folder but a link"):
        files_of(study.path / "exports" / "link")
