"""Folders of a study as one zip file that is made while it is sent: neither memory nor disk holds it.

Streamlit's own download button takes the whole content into memory and keeps it for as long as the page is open. Here
a page offers a folder and gets an address that nobody can guess; what is sent are the folder's own files, stored as
they are (weights hardly compress), a piece at a time.
"""

from __future__ import annotations

import hmac
import os
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from asc_core.errors import UserError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PIECE = 1 << 20
LARGEST_WITHOUT_ZIP64 = (1 << 31) - 1
_LOCAL, _CENTRAL, _END, _DESCRIPTOR = 30, 46, 22, 16  # bytes of a zip file's headers, names left out
_KEY = secrets.token_bytes(32)
_OFFERED: dict[str, Path] = {}
_SERVED: list[str] = []


def routes() -> list[Route]:
    """For the server that also has the pages."""
    _SERVED[:] = ["downloads"]
    return [Route("/downloads/{ticket}/{name}", _download, methods=["GET", "HEAD"])]


def address_of(folder: Path) -> str | None:
    """Where this process hands out a folder, relative to its pages; None where it was started without `serve.py`.

    The same for the same folder, and of use to whom a page has shown it alone.
    """
    if not _SERVED:
        return None
    place = folder.absolute()
    ticket = hmac.new(_KEY, str(place).encode(), "sha256").hexdigest()
    _OFFERED[ticket] = place
    return f"downloads/{ticket}/{quote(place.name)}.zip"


def zip_of(folder: Path) -> Iterator[bytes]:
    """A zip file of a folder in pieces of about `PIECE` bytes. Raises: UserError for a link, before the first piece."""
    return _pieces(folder, files_of(folder))


def zip_bytes(folder: Path, files: Sequence[Path]) -> int | None:
    """How long `zip_of` is; None where files are so large that their headers vary."""
    sizes = [(folder / file).stat().st_size for file in files]
    if sum(sizes) > LARGEST_WITHOUT_ZIP64 or len(files) > 0xFFFE:
        return None
    names = sum(len(_name(folder, file).encode()) for file in files)
    return sum(sizes) + len(files) * (_LOCAL + _CENTRAL + _DESCRIPTOR) + 2 * names + _END


def files_of(folder: Path) -> list[Path]:
    """Relative paths of all files. Raises: UserError for a link: what it leads to is not the folder's."""
    if folder.is_symlink():
        raise UserError(f"{folder} is no folder but a link: it is not handed out, so remove it.")
    found = []
    for place, folders, files in os.walk(folder, followlinks=False):
        for name in (*folders, *files):
            path = Path(place) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise UserError(f"{path} is no file of this folder but a link: it is not handed out, so remove it.")
        found += [(Path(place) / name).relative_to(folder) for name in files]
    return sorted(found)


class _Sink:
    """What a zip file is written to, and taken from."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> int:
        self.content += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        taken = bytes(self.content)
        self.content.clear()
        return taken


def _pieces(folder: Path, files: Sequence[Path]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for file in files:
            with _opened(folder / file) as source:
                size = os.fstat(source.fileno()).st_size
                header = zipfile.ZipInfo(_name(folder, file))
                header.external_attr, header.file_size = 0o644 << 16, size
                with archive.open(header, "w", force_zip64=size > LARGEST_WITHOUT_ZIP64) as target:
                    while piece := source.read(PIECE):
                        target.write(piece)
                        yield sink.take()
    yield sink.take()


def _opened(path: Path) -> BinaryIO:
    """Not through a link that was put there since."""
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")


def _name(folder: Path, file: Path) -> str:
    return f"{folder.name}/{file.as_posix()}"


def _download(request: Request) -> Response:
    folder = _OFFERED.get(request.path_params["ticket"])
    if folder is None or not folder.is_dir():
        return PlainTextResponse("There is no such download any more: open the page Export again.\n", 404)
    try:
        files = files_of(folder)
    except UserError as error:
        return PlainTextResponse(f"{error}\n", 409)
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(folder.name)}.zip"}
    length = zip_bytes(folder, files)
    if length is not None:
        headers["Content-Length"] = str(length)
    if request.method == "HEAD":
        return PlainTextResponse("", headers=headers | {"Content-Type": "application/zip"})
    return StreamingResponse(_pieces(folder, files), headers=headers, media_type="application/zip")
