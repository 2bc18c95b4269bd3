"""From the bytes of a file to its text: compression and encodings are recognised, and what was assumed is said."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from pathlib import Path

from asc_core.errors import UserError

PACKED = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
_MAGIC = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"),
          (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # fmt: skip
_SIMPLE = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # control characters that no text has
_HALF = re.compile("[\ud800-\udfff]")


def format_of(path: Path) -> str:
    """The ending that says the format: ".csv" also of data.csv.gz."""
    endings = [ending.lower() for ending in path.suffixes]
    if endings and endings[-1] in PACKED:
        return endings[-2] if len(endings) > 1 else ""
    return endings[-1] if endings else ""


def text_of(path: Path, encoding: str | None = None) -> tuple[str, tuple[str, ...]]:
    """(the text of a file, what had to be assumed). Raises: UserError where it is no text that can be recognised."""
    data = bytes_of(path)
    if encoding is not None:
        try:
            return data.decode(encoding).removeprefix("\ufeff"), ()
        except LookupError:
            raise UserError(f"{path}: there is no encoding {encoding!r}; utf-8, cp1252, utf-16 are some.") from None
        except UnicodeError as error:
            raise UserError(f"{path} is not {encoding} text ({error}); name its encoding under [data].") from None
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _decoded(path, data, name), ()
    wide = _without_mark(data)
    if wide is not None:
        return _decoded(path, data, wide), (f"{path} was read as {wide.upper()}; set `encoding` under [data] to say.",)
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        return _western(path, data, error)


def bytes_of(path: Path) -> bytes:
    """Unpacked where it is compressed, whatever its name. Raises: UserError where it is damaged; OSError."""
    data = path.read_bytes()
    for magic, unpack in _MAGIC.items():
        if data.startswith(magic):
            try:
                return unpack(data)
            except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
                raise UserError(f"{path} is compressed and damaged ({error}); fetch it again.") from None
    if data.startswith((b"PK\x03\x04", b"(\xb5/\xfd")):
        raise UserError(f"{path} is an archive; unpack it, and name the file inside.")
    return data


def whole_characters(value: object) -> object:
    """The same JSON value with U+FFFD for half a surrogate pair, as a cut emoji leaves it: no text holds that."""
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [whole_characters(entry) for entry in value]
    if isinstance(value, dict):
        return {whole_characters(key): whole_characters(entry) for key, entry in value.items()}
    return value


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeError as error:
        raise UserError(
            f"{path} begins as {encoding} text and goes on otherwise ({error}); convert it first."
        ) from None


def _without_mark(data: bytes) -> str | None:
    """UTF-16 without its mark: every other byte of Western text is zero."""
    head = data[:4096]
    if len(head) < 4 or len(data) % 2:
        return None
    even, odd = head[0::2].count(0) / len(head[0::2]), head[1::2].count(0) / len(head[1::2])
    if odd > 0.4 and even < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 and odd < 0.1 else None


def _western(path: Path, data: bytes, error: UnicodeDecodeError) -> tuple[str, tuple[str, ...]]:
    """cp1252, where the file can be that: few of its letters are outside ASCII, and none of them is UTF-8."""
    line = data[: error.start].count(b"\n") + 1
    where = f"{path} is not UTF-8 text (byte 0x{data[error.start]:02x} in line {line})"
    high = sum(byte > 127 for byte in data[:1_000_000])
    letters = sum(chr(byte).isalpha() for byte in data[:1_000_000] if byte < 128)
    if _SIMPLE.search(data):
        raise UserError(f"{where}, and it is no text in another encoding either; is it another kind of file?")
    damaged = data.decode("utf-8", errors="replace")
    valid = sum(ord(character) > 127 and character != "\ufffd" for character in damaged)
    if valid > damaged.count("\ufffd"):
        raise UserError(f"{where}, though the rest is; correct this line.")
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = None
    if text is None or high > 0.25 * max(letters, 1):
        raise UserError(f'{where}; name its encoding under [data], such as encoding = "cp1251".')
    return text, (
        f"{path} is not UTF-8 and was read as cp1252 (Western European); set `encoding` under [data] to say.",
    )
