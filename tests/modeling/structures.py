"""Random structures on tiny encoders, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import load_file

from asc_core import modeling
from asc_core.compress.low_bits import Coded, coded_module
from asc_core.encoder import Encoder
from asc_core.export import export
from asc_core.gates import gated
from asc_core.loading import load_encoder
from asc_core.plan.encoder_cost import cost_model
from asc_core.values import Plan
from tests.test_surgery import plans
from tests.tiny import logits, padded_batch, tokenizer

KINDS = (
    "codes",
    "cut",
    "differences",
    "embedding-factors",
    "factor",
    "hashed",
    "positions",
    "quantize",
    "share",
    "sparse",
    "vocabulary",
)
OF_TABLES = ("codes", "embedding-factors", "hashed")


def factored(encoder: Encoder, ranks: list[dict[str, int]]) -> Encoder:
    """By truncated SVD, so that it is near the original where ranks are high."""
    tensors: dict[str, torch.Tensor] = {}
    names = {id(module): name for name, module in encoder.model.named_modules()}
    for row, wanted in zip(modeling.rows_of(encoder.model), ranks, strict=True):
        for path, rank in wanted.items():
            module = row.get_submodule(path)
            left, values, right = torch.linalg.svd(modeling.matrix(module).detach(), full_matrices=False)
            name = names[id(module)]
            tensors[f"{name}.first.weight"] = values[:rank, None] * right[:rank]
            tensors[f"{name}.second.weight"] = left[:, :rank].contiguous()
            offset = modeling.bias(module)
            if offset is not None:
                tensors[f"{name}.second.bias"] = offset.detach()
    return encoder.with_structure({"kind": "factor", "ranks": ranks}, tensors)


def differing(encoder: Encoder, rank: int, seed: int = 0) -> Encoder:
    """Rows that several layers run on get random differences; the same where there is no such row."""
    shape, generator = encoder.shape, torch.Generator().manual_seed(seed)
    several = [shape.rows.count(row) > 1 for row in range(len(shape.heads))]
    if not any(several):
        return encoder
    table, tensors, ranks = modeling.architecture_of(encoder.model), {}, []
    names = {id(module): name for name, module in encoder.model.named_modules()}

    def near(values: torch.Tensor, turns: int) -> torch.Tensor:
        return values.detach() + 0.2 * torch.randn(turns, *values.shape, generator=generator)

    for number, row in enumerate(modeling.rows_of(encoder.model)):
        found = modeling.matrices(table, row) if several[number] else {}
        turns = shape.rows.count(number)
        ranks.append({path: min(rank, *module.weight.shape) for path, module in found.items()})
        for path, module in found.items():
            name, (rows, columns), thin = names[id(module)], module.weight.shape, ranks[-1][path]
            tensors[f"{name}.weight"] = module.weight
            if thin:
                tensors[f"{name}.first"] = (
                    torch.randn(turns, thin, columns, generator=generator) / max(1, columns) ** 0.5
                )
                tensors[f"{name}.second"] = torch.randn(turns, rows, thin, generator=generator) / thin**0.5
            if module.bias is not None:
                tensors[f"{name}.biases"] = near(module.bias, turns)
        for module in modeling.own_modules(table, row).values() if several[number] else ():
            for kind, parameter in module.named_parameters():
                for turn, values in enumerate(near(parameter, turns)):
                    tensors[f"{names[id(module)]}.turns.{turn}.{kind}"] = values
    return encoder.with_structure({"kind": "differences", "ranks": ranks}, tensors)


def quantized(encoder: Encoder, names: list[str], activations: str = "none") -> Encoder:
    entry = {"kind": "quantize", "bits": 8, "matrices": names, "activations": activations}
    return encoder.with_structure(entry, modeling.quantized_tensors(encoder.model, names))


def packed(encoder: Encoder, names: list[str], bits: int, group: int, embedding_bits: int = 8) -> Encoder:
    """In the nearest codes of a few bits, with a scale for each group."""
    entry = {"kind": "quantize", "bits": bits, "activations": "none", "group": group, "embedding_bits": embedding_bits}
    able = modeling.quantizable(encoder.model, outside=True)
    modules = {name: coded_module(able[name], modeling.Form.of(encoder.model, name, entry)) for name in names}
    return Coded(entry, modules).encoder(encoder, names)


def sparse(encoder: Encoder, names: list[str], share: float) -> Encoder:
    """About this share of the numbers of some matrices is zero: the smallest of each."""
    able = modeling.sparsifiable(encoder.model)
    values = {}
    for name in names:
        weight = modeling.matrix(able[name]).detach()
        limit = weight.abs().flatten().quantile(share) if weight.numel() else 0
        values[name] = torch.where(weight.abs() < limit, 0.0, weight)
    offsets = {name: modeling.bias(able[name]) for name in names}
    entry = {"kind": "sparse", "kept": {name: int((one != 0).sum()) for name, one in values.items()}}
    return encoder.with_structure(entry, modeling.sparse_tensors(encoder.model, values, offsets))


def shortened(encoder: Encoder, kept: list[int]) -> Encoder:
    """The vocabulary's rows `kept`, in that order, and a tokenizer of their words; those without one get a name."""
    words = {i: word for word, i in encoder.tokenizer.get_vocab().items()}
    padding = encoder.model.config.pad_token_id
    entry = {"kind": "vocabulary", "rows": len(kept), "special": {"pad_token_id": kept.index(padding)}}
    new = tokenizer(tuple(words.get(i, f"word{i}") for i in kept))
    return encoder.with_structure(entry, modeling.rows_of_tokens(encoder.model, torch.tensor(kept)), new)


def coded(encoder: Encoder, books: int, entries: int, blocks: bool, seed: int = 0) -> Encoder:
    """Random codes into random codebooks."""
    _, table = modeling.plain_table(encoder.model)
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, entries, (table.num_embeddings, books), generator=generator).to(torch.uint8)
    width = table.embedding_dim // books if blocks else table.embedding_dim
    codebooks = torch.randn(books, entries, width, generator=generator) / (1 if blocks else books**0.5)
    entry = {"kind": "codes", "codebooks": books, "entries": entries, "blocks": blocks}
    return encoder.with_structure(entry, modeling.codes_tensors(encoder.model, codes, codebooks, entries))


def factored_table(encoder: Encoder, rank: int) -> Encoder:
    """By truncated SVD."""
    _, table = modeling.plain_table(encoder.model)
    left, values, right = torch.linalg.svd(table.weight.detach(), full_matrices=False)
    factors = left[:, :rank] * values[:rank], right[:rank].T
    entry = {"kind": "embedding-factors", "rank": rank}
    return encoder.with_structure(entry, modeling.embedding_factors_tensors(encoder.model, *factors))


def hashed(encoder: Encoder, pool: int, functions: int, seed: int = 0) -> Encoder:
    """Random weights of rows of a random pool."""
    _, table = modeling.plain_table(encoder.model)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(table.num_embeddings, functions, generator=generator) / functions**0.5
    rows = torch.randn(pool, table.embedding_dim, generator=generator)
    entry = {"kind": "hashed", "pool": pool, "functions": functions, "seed": seed}
    return encoder.with_structure(entry, modeling.hashed_tensors(encoder.model, weights, rows))


def _of_table(draw: Any, encoder: Encoder, kind: str) -> Encoder:
    _, table = modeling.plain_table(encoder.model)
    width, seed = table.embedding_dim, draw(st.integers(0, 3))
    if kind == "embedding-factors":
        return factored_table(encoder, draw(st.integers(1, min(width, table.num_embeddings))))
    if kind == "hashed":
        return hashed(encoder, draw(st.integers(1, table.num_embeddings)), draw(st.integers(1, 3)), seed)
    blocks, entries = draw(st.booleans()), draw(st.sampled_from([2, 8, 16, 256]))
    able = [books for books in range(1, width + 1) if width % books == 0 or not blocks]
    return coded(encoder, draw(st.sampled_from(able)), entries, blocks, seed)


def structured(draw: Any, encoder: Encoder, kind: str) -> Encoder:
    """An encoder with one more random structure of a kind; the same where it can have none."""
    if kind in OF_TABLES:
        return _of_table(draw, encoder, kind)
    if kind == "cut":
        return encoder.cut(draw(plans(encoder.shape)))
    if kind == "factor":
        ranks = []
        for matrices in modeling.factorable(encoder.model):
            able = {path: min(modeling.rows_of_matrix(m), modeling.columns_of(m)) for path, m in matrices.items()}
            chosen = draw(st.sets(st.sampled_from(sorted(able)))) if able else set()
            ranks.append({path: draw(st.integers(1, able[path])) for path in sorted(chosen) if able[path]})
        return factored(encoder, ranks)
    if kind == "differences":
        if modeling.depth_is_grouped(encoder.model):
            return encoder
        shared = encoder if encoder.shape.shares_weights else structured(draw, encoder, "share")
        return differing(shared, draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    if kind == "quantize":
        able = sorted(modeling.quantizable(encoder.model, outside=True))
        names = sorted(draw(st.sets(st.sampled_from(able)))) if able else []
        if draw(st.booleans()):
            return quantized(encoder, names)
        sizes = draw(
            st.tuples(st.sampled_from([1, 2, 3, 4, 8]), st.sampled_from([3, 8, 64]), st.sampled_from([2, 4, 8]))
        )
        return packed(encoder, names, *sizes)
    if kind == "positions":
        table = modeling.positions_of(encoder.model)
        if table is None:
            return encoder
        least, most = 16 + modeling.rows_before(encoder.model.config), modeling.tokens_of(table)
        return encoder.with_structure({"kind": "positions", "rows": draw(st.integers(min(least, most), most))})
    if kind == "sparse":
        able = sorted(modeling.sparsifiable(encoder.model))
        names = sorted(draw(st.sets(st.sampled_from(able)))) if able else []
        return sparse(encoder, names, draw(st.floats(0, 1)))
    if kind == "share":
        layers = modeling.layers_of(encoder.model)
        able = [i for i in range(1, len(layers)) if modeling.shapes(layers[i]) == modeling.shapes(layers[i - 1])]
        if not able or encoder.shape.shares_weights:
            return encoder
        second = draw(st.sampled_from(able))
        return encoder.with_structure(
            {"kind": "share", "layers": [second - 1 if i == second else i for i in range(len(layers))]}
        )
    tokens = int(encoder.model.config.vocab_size)
    kept = draw(st.sets(st.integers(5, tokens - 1), max_size=20)) if tokens > 5 else set()
    return shortened(encoder, [*range(5), *sorted(kept)])


@st.composite
def structures(draw: st.DrawFn, then: str | None = None) -> list[str]:
    """Kinds in an order that is allowed. then: a kind that could follow them."""
    found: list[str] = []
    able = [kind for kind in KINDS if then is None or modeling.can_follow(then, kind)]
    for kind in draw(st.lists(st.sampled_from(able), min_size=1, max_size=4)):
        if all(modeling.can_follow(kind, before) for before in found):
            found.append(kind)
    return found


def batch_within(tokens: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random ids of a vocabulary, with padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, tokens, (4, 12), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(4):
        mask[row, 12 - 2 * row :] = 0
    ids = torch.where((ids == 0) & (mask == 1), 1, ids * mask)  # 0 is the padding of the tiny encoders
    return {"input_ids": ids, "attention_mask": mask}


def assert_cut_as_gated_and_counted(encoder: Encoder, plan: Plan, inputs: dict[str, Any], lengths: np.ndarray) -> None:
    """Gated = cut, and forecast cost = counted cost."""
    with gated(encoder, plan):
        expected = logits(encoder, inputs)
    smaller = encoder.cut(plan)
    torch.testing.assert_close(logits(smaller, inputs), expected, atol=1e-4, rtol=0)
    assert cost_model(encoder, lengths).cost(plan) == smaller.cost(lengths)
    assert cost_model(smaller, lengths).dense == smaller.cost(lengths)


def assert_reloaded_as_built_and_counted(encoder: Encoder, folder: Path, lengths: np.ndarray) -> None:
    """Reloaded = built, and counted bytes = bytes written."""
    export(encoder, folder)
    again, inputs = load_encoder(folder, device="cpu"), padded_batch()
    torch.testing.assert_close(logits(again, inputs), logits(encoder, inputs), atol=1e-5, rtol=0)
    assert (again.blueprint, again.weights) == (encoder.blueprint, encoder.weights)
    assert again.cost(lengths) == encoder.cost(lengths)
    stored = load_file(folder / "model.safetensors").values()
    assert sum(tensor.numel() * tensor.element_size() for tensor in stored) == encoder.cost(lengths).bytes
