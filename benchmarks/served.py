"""A dashboard of our own on a free port, for as long as a browser drives it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@contextmanager
def served(study: Path) -> Iterator[tuple[str, int]]:
    """(address, process id). What the server prints goes to server.log beside the study.

    Raises: RuntimeError, with that log, where it does not answer within two minutes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "asc_core", "dashboard", "--study", str(study), "--port", str(port)]
    log = study.parent / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                    break
            except OSError:
                if server.poll() is not None:
                    raise RuntimeError(f"the dashboard ended:\n{log.read_text()}") from None
                time.sleep(0.5)
        else:
            raise RuntimeError(f"the dashboard did not answer within two minutes:\n{log.read_text()}")
        yield address, server.pid
    finally:
        if server.poll() is None:
            os.killpg(server.pid, 15)
            server.wait(20)
