"""A checkpoint of the hub as a folder here: fetched, or what was fetched before; a mistyped folder does not wait."""

from __future__ import annotations

import os
import re
import socket
import threading
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants, snapshot_download

from asc_core.checkpoint.digests import WANTED
from asc_core.checkpoint.other_forms import instead_of_a_file
from asc_core.checkpoint.reasons import reason
from asc_core.errors import UserError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_WAIT = 3.0  # seconds for the first connection
_NOT_WANTED = ("onnx/*", "openvino/*", "coreml/*", "runs/*", "checkpoint-*/*", "*/onnx/*", "*/openvino/*")


def hub_folder(source: str) -> Path:
    """Raises: UserError where `source` is no id, where there is no such model, or where the hub cannot be reached."""
    if Path(source).expanduser().is_file():
        raise UserError(instead_of_a_file(Path(source).expanduser()))
    near = _near(source)
    if looks_like_a_path(source):
        raise UserError(f"{source} is not a folder with a checkpoint: give a folder, a hub id or demo:NAME.{near}")
    offline = bool(constants.HF_HUB_OFFLINE)
    can_be_reached = not offline and reachable(constants.ENDPOINT)
    try:
        return Path(
            snapshot_download(
                source, allow_patterns=[*WANTED], ignore_patterns=[*_NOT_WANTED], local_files_only=not can_be_reached
            )
        )
    except Exception as error:  # of the network, of the hub, of the cache on this disk
        if can_be_reached:
            why = reason(error)
        else:
            why = "the hub is switched off here (HF_HUB_OFFLINE)" if offline else "the hub cannot be reached"
        raise UserError(
            f"{source} is neither a folder here nor a model that can be fetched now ({why}).{near}"
        ) from None


def looks_like_a_path(source: str) -> bool:
    """Whether a source that is no folder was meant to be one: not an id of the hub, or beside folders that are here."""
    path = Path(source)
    if path.exists() or not _ID.fullmatch(source):
        return True
    return len(path.parts) > 1 and path.parent.is_dir()


def _near(source: str) -> str:
    """The folder here whose name is closest."""
    parent = Path(source).expanduser().parent
    try:
        names = [entry.name for entry in parent.iterdir() if entry.is_dir()][:1000]
    except OSError:
        return ""
    close = get_close_matches(Path(source).name, names, 1, 0.75)
    return f" Did you mean {parent / close[0]}?" if close else ""


def reachable(address: str) -> bool:
    """Whether a connection to a hub, or to the proxy before it, can be made at all; asked without waiting long."""
    endpoint = urlsplit(address)
    proxy = os.environ.get(f"{endpoint.scheme}_proxy") or os.environ.get(f"{endpoint.scheme}_proxy".upper())
    to = urlsplit(proxy if "//" in proxy else f"//{proxy}") if proxy else endpoint
    host, port = to.hostname, to.port or (80 if to.scheme == "http" else 443)
    connected = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=_WAIT).close()
        except OSError:
            return
        connected.set()

    attempt = threading.Thread(target=connect, daemon=True)  # a name server may take its time, too
    attempt.start()
    attempt.join(_WAIT)
    return connected.is_set()
