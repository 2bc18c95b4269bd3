"""What a folder in the device format takes where it runs: bytes on disk and in memory, time to start and to answer.

All of it is measured in a process of its own that has imported numpy and nothing to train with, on one thread, text by
text. The original is asked in another such process, in torch, in turns with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asc_core.errors import UserError
from asc_core.evaluate.layer_times import processor
from asc_core.export.answer import script
from asc_core.export.answer.numpy_model import Damaged, Model, read
from asc_core.export.comparison import TEXTS
from asc_core.export.device_file import FILE
from asc_core.progress import Progress

REPEATS = 30
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_IN_LAYER = {
    "query": "attention",
    "key": "attention",
    "value": "attention",
    "attention": "attention",
    "up": "ffn",
    "down": "ffn",
    "attention_norm": "norms",
    "ffn_norm": "norms",
}
_OUTSIDE = {"words": "words", "types": "positions and types", "places": "positions and types", "norm": "norms"}

Text = tuple[str, str | None]


@dataclass(frozen=True)
class Taken:
    """What a model took in a process of its own.

    cold_start: seconds from the start of the process to its first answer. bare, imported, loaded, answered: bytes in
    memory of Python alone, with the runtime, with the model, and after all texts; growth is the last less the first.
    most: bytes at their highest. arrays: bytes of the numbers that it keeps. median, p90: milliseconds of a request.
    """

    runtime: str
    cold_start: float
    bare: int
    imported: int
    loaded: int
    answered: int
    most: int
    arrays: int
    median: float
    p90: float

    @property
    def growth(self) -> int:
        return self.answered - self.bare


@dataclass(frozen=True)
class DeviceReport:
    """disk: bytes by part; they add up to the file's. multiply_adds, bytes_moved: of a request, the mean over texts;
    bytes moved are those of each matrix as often as it is multiplied, and of the rows that are read of tables, without
    what is computed on the way. ratio: the original's time by ours, the median of turns.
    """

    path: Path
    disk: Mapping[str, int]
    requests: int
    repeats: int
    tokens: float
    multiply_adds: float
    bytes_moved: float
    here: Taken
    original: Taken | None
    ratio: float | None
    machine: str

    def to_json(self) -> dict[str, Any]:
        both = {"here": self.here, "original": self.original}
        taken = {name: one and asdict(one) | {"growth": one.growth} for name, one in both.items()}
        return self.__dict__ | taken | {"path": str(self.path), "disk": dict(self.disk)}

    def lines(self) -> Iterator[str]:
        yield f"{self.path}: {sum(self.disk.values()):,} bytes on disk"
        for part, size in self.disk.items():
            yield f"  {size:>12,}  {part}"
        yield (
            f"a request of {self.tokens:.1f} tokens: {self.multiply_adds / 1e6:.2f} M multiply-adds, "
            f"{self.bytes_moved / 1e6:.2f} MB of weights read"
        )
        yield f"{self.requests} texts x {self.repeats} turns, one at a time on one thread; {self.machine}"
        for one in filter(None, (self.here, self.original)):
            yield f"  {one.runtime}: {one.median:.2f} ms median, {one.p90:.2f} ms at 90 %"
            yield f"    first answer {one.cold_start:.2f} s after the start of the process"
            yield (
                f"    {one.growth / 1e6:.1f} MB more memory than Python alone: "
                f"{(one.imported - one.bare) / 1e6:.1f} are the runtime's, {one.arrays / 1e6:.1f} the model's numbers; "
                f"{one.most / 1e6:.1f} MB at most"
            )
        if self.ratio is not None:
            yield f"  {self.ratio:.2f} x as fast as the original, median of turns"


def device_report(
    folder: str | Path,
    texts: Sequence[Text] = TEXTS,
    *,
    beside: str | None = None,
    repeats: int = REPEATS,
    progress: Progress | None = None,
) -> DeviceReport:
    """Measure a folder that `asc export --format device` wrote.

    texts: that are asked, one at a time, each `repeats` times in turn. beside: any encoder, asked in torch in turns.
    Raises: UserError where the folder holds no such model, or a process ends before it has answered; Cancelled.
    """
    path, progress = Path(folder) / FILE, progress or Progress()
    if not texts or repeats < 1:
        raise UserError("A device is measured on one text or more, in one turn or more.")
    try:
        model = Model(path)
    except (Damaged, OSError) as error:
        said = str(error) if isinstance(error, Damaged) else f"{folder} has no {FILE} that can be read."
        raise UserError(f"{said} `asc export --format device` writes one.") from None
    tokens = [len(model.encoded(*text)) for text in texts]
    processes = [_Process("numpy", str(path.parent.resolve()))]
    try:
        processes += [_Process("torch", _as_given(beside))] if beside is not None else []
        for process in processes:
            process.load(texts[0])
        if processes[0].said["imported"]:
            raise RuntimeError(f"measured beside {processes[0].said['imported']}, which a device has not")
        seconds = _in_turns(processes, texts, repeats, progress)
        taken = [process.taken(times) for process, times in zip(processes, seconds, strict=True)]
    finally:
        for process in processes:
            process.close()
    return DeviceReport(
        path=path,
        disk=disk_parts(path),
        requests=len(texts),
        repeats=repeats,
        tokens=float(np.mean(tokens)),
        multiply_adds=float(np.mean([multiply_adds(model, n) for n in tokens])),
        bytes_moved=float(np.mean([bytes_moved(model, n) for n in tokens])),
        here=taken[0],
        original=taken[1] if beside is not None else None,
        ratio=float(np.median(seconds[1] / seconds[0])) if beside is not None else None,
        machine=processor(),
    )


def _as_given(source: str) -> str:
    """Processes run elsewhere: a folder by its whole path, a name as it is."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def _in_turns(
    processes: Sequence[_Process], texts: Sequence[Text], repeats: int, progress: Progress
) -> list[np.ndarray]:
    """For each process seconds (repeats x texts), every text asked of all of them before the next one is."""
    seconds = [np.zeros((repeats, len(texts))) for _ in processes]
    for turn in range(repeats):
        progress.step(turn, repeats, "measuring the device")
        for number, text in enumerate(texts):
            order = range(len(processes)) if (turn + number) % 2 else reversed(range(len(processes)))
            for i in order:
                seconds[i][turn, number] = float(processes[i].ask(json.dumps(text)))
    progress.step(repeats, repeats, "measuring the device")
    return seconds


class _Process:
    """One of `answer/timed.py`, in a folder of its own."""

    def __init__(self, runtime: str, model: str):
        self.runtime, self.model = runtime, model
        self.said: dict[str, Any] = {}
        self.scratch = tempfile.TemporaryDirectory(prefix="asc-device-")
        self.errors = Path(self.scratch.name) / "errors.txt"
        environment = os.environ | dict.fromkeys(_ONE_THREAD, "1") | {"PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-P", str(script("timed.py")), runtime, model, str(time.time())]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=self.scratch.name,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            )

    def load(self, text: Text) -> None:
        self.said = json.loads(self.ask(json.dumps(text)))

    def ask(self, line: str) -> str:
        """Raises: UserError where the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.process.wait()
            lines = self.errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = lines[-1].rstrip(".") if lines else f"it ended with code {self.process.returncode}"
            raise UserError(f"{self.model} cannot be asked in {self.runtime}: {reason}.")
        return answer

    def taken(self, seconds: np.ndarray) -> Taken:
        now = json.loads(self.ask("memory"))
        return Taken(
            runtime=self.runtime,
            cold_start=self.said["cold_start"],
            bare=self.said["bare"]["resident"],
            imported=self.said["runtime"]["resident"],
            loaded=self.said["loaded"]["resident"],
            answered=now["resident"],
            most=now["most"],
            arrays=self.said["arrays"],
            median=float(1e3 * np.median(seconds)),
            p90=float(1e3 * np.quantile(seconds, 0.9)),
        )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.scratch.cleanup()


def disk_parts(path: Path) -> dict[str, int]:
    """Bytes of a file by what they are for, the largest first."""
    _, tensors, _ = read(path)
    found: dict[str, int] = {}
    for name, tensor in tensors.items():
        part = _part_of(name)
        found[part] = found.get(part, 0) + tensor.nbytes
    found["tokenizer and structure"] = path.stat().st_size - sum(found.values())
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _part_of(name: str) -> str:
    first, *others = name.split(".")
    return _IN_LAYER[others[1]] if first == "layer" else _OUTSIDE.get(first, "head")


def _sizes(model: Model) -> dict[str, int]:
    """Numbers of each matrix as it is multiplied: of a product, of both together."""
    found = {}
    for name, said in model.said["matrices"].items():
        parts = said.get("parts") or {"": said}
        found[name] = sum(_size(model.tensors, f"{name}.{part}".rstrip("."), one) for part, one in parts.items())
    return found


def _size(tensors: Mapping[str, np.ndarray], path: str, said: Mapping[str, Any]) -> int:
    if said["kind"] == "plain":
        return tensors[f"{path}.weight"].size
    codes = tensors[f"{path}.codes"]
    return len(codes) * said["width"] if said["kind"] == "packed" else codes.size


def _executed(model: Model) -> dict[str, int]:
    """Matrix name -> how often a request multiplies by it."""
    order = model.said["order"]
    return {
        name: order.count(int(name.split(".")[1])) if name.startswith("layer.") else 1
        for name in model.said["matrices"]
    }


def multiply_adds(model: Model, tokens: int) -> int:
    """Of one request: of its matrices and of attention; not of norms, activations and softmax."""
    sizes, times, head = _sizes(model), _executed(model), model.said["head"]
    of_one = {"pooler", "intents"} | ({"classifier"} if head == "sequence-classification" else set())
    matrices = sum(sizes[name] * times[name] * (1 if name in of_one else tokens) for name in sizes)
    heads = sum(model.said["heads"][row] for row in model.said["order"])
    return matrices + 2 * tokens**2 * heads * int(model.said["width"])


def bytes_moved(model: Model, tokens: int) -> int:
    """Of one request: matrices in float32 each time that they are multiplied, and rows of tables as they are stored."""
    sizes, times = _sizes(model), _executed(model)
    rows = 0
    for name in model.said["tables"]:
        of_rows = [tensor for last, tensor in model.tables[name].items() if last != "levels"]
        rows += sum(tensor[:1].nbytes for tensor in of_rows)
    return 4 * sum(sizes[name] * times[name] for name in sizes) + tokens * rows
