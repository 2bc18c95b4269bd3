"""Is a graph in int8 faster than the same in float32, on this machine? Measured, as it often is not."""

from __future__ import annotations

import os
from importlib import metadata

import numpy as np

from asc_core.evaluate.latency import measure_in_turns
from asc_core.runtimes import Session

SHAPES = ((1, 24), (1, 128))  # texts, tokens
REPEATS = 15
THREADS = 1


def said_of_speed(integers: Session, floats: Session) -> str:
    """A sentence for card and report. Both of one model, on `THREADS` in one runtime."""
    longest, said, slower = integers.max_tokens or SHAPES[-1][1], [], False
    for texts, length in sorted({(texts, min(length, longest)) for texts, length in SHAPES}):
        both = {"floats": floats, "integers": integers}
        times = measure_in_turns(both, np.full(texts, length), batch_size=texts, repeats=REPEATS)
        ours, theirs = times["integers"], times["floats"]
        slower = slower or ours.ratio < 1
        milliseconds = f"{1e3 * ours.median:.1f} ms against {1e3 * theirs.median:.1f}"
        said.append(f"{texts} x {length} tokens {milliseconds} ({ours.ratio:.2f}x)")
    return (
        f"int8 is {'slower' if slower else 'faster'} than float32 on this machine: {', '.join(said)}, medians in turns "
        f"on one thread of {integers.runtime} {metadata.version(integers.runtime)}, {os.cpu_count()} processors in the "
        "machine."
    )
