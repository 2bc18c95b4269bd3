"""Corruptions that may befall an exported folder, and how many of them its digests catch.

Used by the test of `asc verify` and by `benchmarks.deploy`.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from asc_core.checkpoint.digests import DIGESTS_FILE, check_digests
from asc_core.errors import UserError

COUNT = 200


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def write_weights(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def swapped_layer(folder: Path, draw: random.Random) -> None:
    weights = weights_of(folder)
    alike = [n for n in weights if ".layer.0." in n and weights[n].shape == weights[other(n)].shape]
    for name in draw.sample(alike, draw.randint(1, len(alike))):
        weights[name], weights[other(name)] = weights[other(name)], weights[name]
    write_weights(folder, weights)


def other(name: str) -> str:
    return name.replace(".layer.0.", ".layer.1.")


def wrong_row(folder: Path, draw: random.Random) -> None:
    weights = weights_of(folder)
    name = next(n for n in weights if n.endswith("word_embeddings.weight"))
    row, instead = draw.sample(range(5, 40), 2)
    weights[name][row] = weights[name][instead]
    write_weights(folder, weights)


def stale_tokenizer(folder: Path, draw: random.Random) -> None:
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    words = data["model"]["vocab"]
    for one in ("the", "a", "in", "?", ".", "what", "is"):  # in the sentences that a proof asks
        two = draw.choice([word for word in list(words)[5:] if word != one])
        words[one], words[two] = words[two], words[one]
    path.write_text(json.dumps(data))


def truncated_file(folder: Path, draw: random.Random) -> None:
    path = some_file(folder, draw)
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])


def flipped_bit(folder: Path, draw: random.Random) -> None:
    path = some_file(folder, draw)
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def lost_file(folder: Path, draw: random.Random) -> None:
    some_file(folder, draw).unlink()


def added_file(folder: Path, draw: random.Random) -> None:
    (folder / draw.choice(["pytorch_model.bin", "setup.py", "sub.json", "model.py"])).write_bytes(b"x")


def changed_plan(folder: Path, draw: random.Random) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    plan["heads"][draw.randrange(1, 3)].append(0)
    (folder / "plan.json").write_text(json.dumps(plan))


def some_file(folder: Path, draw: random.Random) -> Path:
    return draw.choice(sorted(path for path in folder.rglob("*") if path.name != DIGESTS_FILE))


KINDS: tuple[Callable[[Path, random.Random], None], ...] = (
    swapped_layer, wrong_row, stale_tokenizer, truncated_file, flipped_bit, lost_file, added_file, changed_plan,
)  # fmt: skip


def caught(exported: Path, work: Path, count: int = COUNT) -> int:
    """How many of so many corrupted copies of a folder, of all kinds in turns, are refused in one sentence."""
    check_digests(exported)
    found = 0
    for seed in range(count):
        folder = shutil.copytree(exported, work / "received")
        KINDS[seed % len(KINDS)](folder, random.Random(seed))
        try:
            check_digests(folder)
        except UserError as error:
            found += str(error)[-1] in ".?" and "\n" not in str(error)
        shutil.rmtree(folder)
    return found
