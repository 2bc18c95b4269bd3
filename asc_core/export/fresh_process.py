"""Run a script in a process that knows nothing of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from asc_core.errors import Cancelled


def run_alone(script: Path, arguments: list[str], scratch: Path, cancel: threading.Event) -> str:
    """Run a script of this package in a fresh process that sees nothing of asc_core, and wait for its end.

    Returns: the last line of what it wrote to standard error. Raises: Cancelled, after ending it.
    """
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(scratch / "modules"),  # code that transformers copies there leaves with the scratch
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    log_path = scratch / "errors.txt"
    with log_path.open("wb") as log:
        # -P: the script's own folder is not on the path.
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), *arguments],
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            while True:
                try:
                    process.wait(timeout=0.1)
                    break
                except subprocess.TimeoutExpired:
                    if cancel.is_set():
                        raise Cancelled(script.stem) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else f"it ended with code {process.returncode}"
