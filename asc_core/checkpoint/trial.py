"""What a file of a stranger has a library do, tried first in a process that may not take much time or memory.

A regular expression can need longer than there is on a text of thirty letters, and a thread that is inside one cannot
be stopped; a process can.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SECONDS, BYTES = 20, 4 << 30
_PATIENCE = 6  # times as long on the clock: the machine may be busy
_LIMITS = f"""
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
    resource.setrlimit(resource.RLIMIT_AS, ({BYTES}, {BYTES}))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:  # Windows: the clock alone
    pass
import json, sys
asked = json.load(sys.stdin)
"""
MATCHES = """
import re
for pattern in asked["patterns"]:
    for name in asked["names"]:
        re.fullmatch(pattern, name)
"""
SPLITS = """
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(asked["file"])
for text in asked["texts"]:
    try:
        assert len(tokenizer.encode(text).ids) <= asked["most"]
    except AssertionError:
        raise
    except Exception:
        pass
"""


def went_well(code: str, asked: Any) -> bool:
    """Whether a piece of Python (MATCHES, SPLITS) came to its end within SECONDS of work and BYTES of memory."""
    command = [sys.executable, "-I", "-c", _LIMITS + code]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked), text=True, capture_output=True, timeout=SECONDS * _PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
