"""What lies where a checkpoint was looked for, and the way from there to one: other formats, other folders, files."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.json"
_SAVED = (
    "load them with from_tf=True or from_flax=True in transformers 4, save_pretrained(folder), and give that folder"
)
_SOURCE = "give the checkpoint folder that it was exported from, for there is nothing to cut in it"
_FORMS = {  # ending -> what it is, what to do
    ".onnx": ("an ONNX model", _SOURCE),
    ".asc": ("a model in the device format", _SOURCE),
    ".gguf": ("a GGUF model", _SOURCE),
    ".tflite": ("a TensorFlow Lite model", _SOURCE),
    ".h5": ("weights for TensorFlow", _SAVED),
    ".msgpack": ("weights for Flax", _SAVED),
    ".ckpt": (
        "a checkpoint of a training framework",
        "save_pretrained(folder) of the model in it, and give that folder",
    ),
    ".cfg": ("a pipeline of spaCy", "take the checkpoint that it was made from"),
}
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".whl")


def instead(folder: Path) -> str:
    """A clause about a folder that is no checkpoint; empty where nothing in it says more."""
    inner = sorted(path.parent.relative_to(folder) for path in folder.glob(f"*/{CONFIG}"))
    if inner:
        return f"; {inner[0]} in it has one: give {folder / inner[0]}"
    files = [path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)) if path.is_file()]
    for path in files:
        if path.suffix in _FORMS:
            what, way = _FORMS[path.suffix]
            return f"; it holds {what} ({path.relative_to(folder)}): {way}"
    archives = [path.name for path in files if path.suffix in _ARCHIVES]
    return f"; unpack {archives[0]} and give the folder with config.json" if archives else ""


def instead_of_a_file(file: Path) -> str:
    """The way out where a file was given for a folder."""
    if file.suffix in _ARCHIVES:
        return f"{file} is an archive: unpack it and give the folder with {CONFIG}."
    if file.suffix in _FORMS:
        what, way = _FORMS[file.suffix]
        return f"{file} is {what}: {way}."
    return f"{file} is a file: give the folder that it lies in, {file.parent}."
