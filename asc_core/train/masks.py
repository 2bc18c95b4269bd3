"""Which weights of an encoder stay, as masks: made by magnitude or at random, kept in a file, compared with others.

A mask has the name of a parameter (of a whole part: the name of its row) and is True where a number stays. Zeros save
disk where a file is compressed, and no time: torch multiplies them like other numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from asc_core import modeling
from asc_core.atomic_file import write_whole
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.seals import KEY, UNSEALED, check_file, sealed_bytes

Masks = dict[str, torch.Tensor]


def matrices_of(encoder: Encoder) -> dict[str, nn.Linear]:
    """Name -> linear, of all plain matrices of the layers; one that several layers share is there once.

    Raises: UserError where there is none (all are whole numbers, say).
    """
    table = modeling.ARCHITECTURES[encoder.architecture]
    names = {id(module): name for name, module in encoder.model.named_modules()}
    rows = modeling.rows_of(encoder.model)
    every = (linear for row in rows for m in modeling.matrices(table, row).values() for linear in modeling.plain(m))
    found = {names[id(linear)]: linear for linear in every if linear.weight.numel()}
    if not found:
        raise UserError(f"The layers of {encoder.name} have no matrices whose single weights could be pruned.")
    return found


def whole(encoder: Encoder) -> Masks:
    """Everything stays."""
    return {name: torch.ones_like(m.weight, dtype=torch.bool, device="cpu") for name, m in matrices_of(encoder).items()}


def sparsity(masks: Mapping[str, torch.Tensor]) -> float:
    """Share of the numbers that are gone."""
    total = sum(mask.numel() for mask in masks.values())
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / total


def by_magnitude(masks: Masks, encoder: Encoder, share: float) -> Masks:
    """Without the `share` of the weights left that are smallest in the encoder, all matrices taken together.

    (`torch.nn.utils.prune.global_unstructured` with `L1Unstructured` makes the same masks.)
    """
    modules = matrices_of(encoder)
    sizes = [modules[name].weight.detach().abs().cpu()[mask] for name, mask in masks.items()]
    left = torch.cat(sizes)
    stays = torch.ones(len(left), dtype=torch.bool)
    stays[left.argsort(stable=True)[: round(share * len(left))]] = False
    found = {}
    for (name, mask), kept in zip(masks.items(), stays.split([len(size) for size in sizes]), strict=True):
        found[name] = mask.clone()
        found[name][mask] = kept
    return found


def at_random(masks: Masks, seed: int) -> Masks:
    """As many numbers of each mask, drawn by a seed: where they lie is all that differs."""
    return {name: _shuffled(mask.flatten(), name, seed).view_as(mask) for name, mask in masks.items()}


def without(masks: Mapping[str, torch.Tensor]) -> Callable[[Encoder], None]:
    """What puts zeros, in place, where an encoder's masks say so: for `Run.keep`, after every step of the optimiser."""

    @torch.no_grad()
    def put_zeros(encoder: Encoder) -> None:
        for name, mask in masks.items():
            weight = encoder.model.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            weight.mul_(mask.to(weight.device))

    return put_zeros


def masked(encoder: Encoder, masks: Masks) -> Encoder:
    """A copy with zeros where the masks say so, and its own values elsewhere."""
    made = encoder.copy()
    without(masks)(made)
    return made


@torch.no_grad()
def reinitialised(encoder: Encoder, seed: int) -> Encoder:
    """A copy whose layers' matrices are drawn anew, as their class does (normal; biases are 0)."""
    made = encoder.copy()
    deviation = float(getattr(encoder.model.config, "initializer_range", 0.02))
    for name, linear in matrices_of(made).items():
        linear.weight.copy_(deviation * torch.randn(linear.weight.shape, generator=_generator(name, seed)))
        if linear.bias is not None:
            linear.bias.zero_()
    return made


@torch.no_grad()
def shuffled(encoder: Encoder, masks: Mapping[str, torch.Tensor], seed: int) -> Encoder:
    """A copy in which each matrix's weights that stay change places; of one without a mask all of them do."""
    made = encoder.copy()
    for name, linear in matrices_of(made).items():
        values = linear.weight.detach().cpu().clone()
        mask = masks.get(name, torch.ones_like(values, dtype=torch.bool))
        values[mask] = _shuffled(values[mask], name, seed)
        linear.weight.copy_(values)
    return made


def overlap(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> tuple[float, float]:
    """(Jaccard index of what two masks keep, the one that is expected where masks that keep as many numbers of each
    matrix are drawn independently).

    Raises: UserError where they are of other models.
    """
    if {n: m.shape for n, m in one.items()} != {n: m.shape for n, m in other.items()}:
        raise UserError("These tickets are of models of different shapes, so what they keep cannot be compared.")
    both = expected = together = 0.0
    for name, mask in one.items():
        mine, theirs = int(mask.sum()), int(other[name].sum())
        both += int((mask & other[name]).sum())
        expected += mine * theirs / max(mask.numel(), 1)
        together += mine + theirs
    return both / max(together - both, 1.0), expected / max(together - expected, 1.0)


def write_masks(path: Path, masks: Mapping[str, torch.Tensor]) -> None:
    """One bit a number; the file appears whole or not at all. Raises: UserError where it cannot be written."""
    bits = {name: torch.from_numpy(np.packbits(mask.numpy())) for name, mask in masks.items()}
    shapes = {name: " ".join(map(str, mask.shape)) for name, mask in masks.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, sealed_bytes(save(bits, metadata=shapes | {KEY: UNSEALED})))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}. Name another folder.") from None


def read_masks(path: Path) -> Masks:
    """Raises: UserError where the file is none of `write_masks`."""
    found: Masks = {}
    try:
        check_file(path)
        with safe_open(str(path), framework="np") as file:
            shapes = file.metadata() or {}
            for name in file.keys():  # noqa: SIM118 (not a dict)
                shape = [int(n) for n in shapes[name].split()]
                bits = np.unpackbits(file.get_tensor(name), count=int(np.prod(shape)))
                found[name] = torch.from_numpy(bits.astype(bool)).reshape(shape)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{path} holds no masks that can be read ({error}): name the folder of another run.") from None
    return found


def _generator(name: str, seed: int) -> torch.Generator:
    state = np.random.SeedSequence((seed, zlib.crc32(name.encode()))).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def _shuffled(values: torch.Tensor, name: str, seed: int) -> torch.Tensor:
    return values[torch.randperm(len(values), generator=_generator(name, seed))]
