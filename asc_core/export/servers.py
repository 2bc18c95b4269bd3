"""Which servers of others take an exported folder, and the lines that start them. There is no server of our own.

Each entry is from the server's documentation, which is named with it; what is not documented there is not said here.
Servers of graphs take numbers: who asks them splits texts with `tokenizer.json` first, as `example.py` does.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc_core import modeling
from asc_core.encoder import CLASS_ENDINGS
from asc_core.errors import UserError
from asc_core.export.proof import PROOF_FILE, read_proof
from asc_core.json_files import read_json

# Of text-embeddings-inference, by what its pages list for positions that are absolute.
_TEI_EMBEDDINGS = ("bert", "camembert", "roberta", "xlm-roberta", "mpnet", "modernbert")
_TEI_CLASSES = ("camembert", "roberta", "xlm-roberta")
_TEI_PAGE = "https://huggingface.co/docs/text-embeddings-inference"
_TRITON_PAGE = (
    "https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/tutorials/Quick_Deploy/ONNX"
)
_OVMS_PAGE = "https://docs.openvino.ai/2025/model-server/ovms_docs_serving_model.html"
_ORT_SERVER_PAGE = "https://github.com/kibae/onnxruntime-server"


@dataclass(frozen=True)
class Server:
    """lines: shell commands. page: its documentation, which they are from. note: what to know of it."""

    name: str
    lines: tuple[str, ...]
    page: str
    note: str = ""


@dataclass(frozen=True)
class Serving:
    """format: of the folder. servers: () where none takes it; why says so, or what all of them have in common."""

    format: str
    servers: tuple[Server, ...]
    why: str


def serving(folder: str | Path) -> Serving:
    """Raises: UserError for a folder that was not exported."""
    folder = Path(folder)
    if not (folder / PROOF_FILE).exists():
        raise UserError(f"{folder} was not written by `asc export` (it has no {PROOF_FILE}): give a folder that was.")
    proof, _ = read_proof(folder)
    config = read_json(folder / "config.json")
    plain = isinstance(config, dict) and not str(config.get("model_type", "")).startswith(modeling.COMPACT)
    kind = "dense" if proof.form in ("compact", "weights-only") and plain else proof.form
    found = tuple(_SERVERS[kind](folder.resolve(), config)) if kind in _SERVERS else ()
    return Serving(proof.form, found, _NUMBERS if found and kind != "dense" else _why_none(proof.form) * (not found))


_NUMBERS = "These servers take numbers, not texts: split texts with tokenizer.json first, as example.py does."


def _why_none(form: str) -> str:
    if form in ("compact", "weights-only"):
        return (
            "No server that we know of builds a model with cut parts from its weights: export it in the onnx or the "
            "openvino format, or, at the cost of its speed, in the dense one."
        )
    if form == "dense":
        return (
            "No server that we know of documents this architecture with this head (`transformers serve` answers chats "
            "and completions alone): export it in the onnx format."
        )
    return "No server that we know of documents this format: export it in the onnx format."


def _onnx(folder: Path, config: Any) -> Iterator[Server]:
    name, at = _name(folder), _copied(folder, ("model.onnx",))
    yield Server(
        "Triton Inference Server",
        (
            *at,
            "docker run --rm -p 8000:8000 -v $PWD/models:/models nvcr.io/nvidia/tritonserver:<yy.mm>-py3 "
            "tritonserver --model-repository=/models",
        ),
        _TRITON_PAGE,
        "It writes the configuration of an ONNX model itself; put a release for <yy.mm>.",
    )
    yield Server("OpenVINO Model Server", (*at, _ovms(name)), _OVMS_PAGE, "It reads ONNX, too.")
    yield Server(
        "ONNX Runtime Server",
        (*at, "onnxruntime_server --model-dir=models --http-port=8080"),
        _ORT_SERVER_PAGE,
        f'Begin a session before the first question: POST /api/sessions {{"model": "{name}", "version": "1"}}.',
    )


def _openvino(folder: Path, config: Any) -> Iterator[Server]:
    lines = (*_copied(folder, ("model.xml", "model.bin")), _ovms(_name(folder)))
    yield Server("OpenVINO Model Server", lines, _OVMS_PAGE)


def _dense(folder: Path, config: Any) -> Iterator[Server]:
    """text-embeddings-inference has classes of its own, which read an ordinary checkpoint."""
    written = (config.get("architectures") or [""])[0]
    head = next((head for ending, head in CLASS_ENDINGS.items() if str(written).endswith(ending)), "embedding")
    known = {"embedding": _TEI_EMBEDDINGS, "sequence-classification": _TEI_CLASSES}.get(head, ())
    if config.get("model_type") not in known:
        return
    assumed = head == "embedding" and not (folder / "modules.json").exists()
    place, route = shlex.quote(str(folder)), "embed" if head == "embedding" else "predict"
    yield Server(
        "text-embeddings-inference",
        (
            f"docker run -p 8080:80 -v {place}:/model ghcr.io/huggingface/text-embeddings-inference:cpu-1.8 "
            "--model-id /model" + " --pooling mean" * assumed,
            f"curl 127.0.0.1:8080/{route} -X POST -H 'Content-Type: application/json' "
            f"""-d '{json.dumps({"inputs": "A text."})}'""",
        ),
        _TEI_PAGE,
        "Pooling by the mean is assumed, as the folder does not say it." if assumed else "",
    )


_SERVERS: dict[str, Callable[[Path, Any], Iterator[Server]]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "dense": _dense,
}


def _name(folder: Path) -> str:
    """What servers call it; of a folder's name what a path and a request can hold."""
    return re.sub(r"[^\w.-]+", "-", folder.name, flags=re.ASCII).strip(".-") or "model"


def _copied(folder: Path, files: tuple[str, ...]) -> tuple[str, ...]:
    """A repository of models, as they all want it: models/NAME/VERSION/FILE."""
    version = f"models/{_name(folder)}/1"
    sources = " ".join(shlex.quote(str(folder / file)) for file in files)
    return (f"mkdir -p {version} && cp {sources} {version}/",)


def _ovms(name: str) -> str:
    return (
        "docker run -d --rm -v $PWD/models:/models -p 9000:9000 -p 8000:8000 openvino/model_server:latest "
        f"--model_path /models/{name} --model_name {name} --port 9000 --rest_port 8000"
    )
