"""Matrices of low rank, each in two thin ones: {"kind": "factor", "ranks": [{path: rank}, one a row]}."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel

from .architectures import (
    ARCHITECTURES,
    architecture_name,
    architecture_of,
    matrices,
    matrix_paths,
    put_submodule,
    rows_of,
)
from .linears import FactoredLinear, bias, columns_of, matrix, rows_of_matrix
from .structure import Entry, State, Structure, tensors_of

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

MOST_RANK = 1 << 16


class Factor(Structure):
    kind = "factor"
    after = frozenset({"cut", "factor", "share", "vocabulary"})
    fields = frozenset({"ranks"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        wrong = wrong_rank(entry["ranks"], config, 1)
        if wrong is not None:
            path, rank = wrong
            raise ValueError(f"{path} of rank {rank!r} is no factored matrix of a {config.model_type} model")

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        rows = rows_of(model)
        if len(entry["ranks"]) != len(rows):
            raise ValueError(f"its ranks are of {len(entry['ranks'])} rows of layer weights, the model has {len(rows)}")
        for row, ranks in zip(rows, entry["ranks"], strict=True):
            for path, rank in ranks.items():
                module = row.get_submodule(path)
                if type(module) is not nn.Linear:
                    raise ValueError(f"{path} is factored already")
                if rank > min(module.in_features, module.out_features):
                    raise ValueError(f"{path} has no rank of {rank}")
                thin = FactoredLinear(module.in_features, rank, module.out_features, module.bias is not None)
                put_submodule(row, path, thin.to(module.weight.device).requires_grad_(module.weight.requires_grad))

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        of_rows = zip(rows_of(model), entry["ranks"], strict=True)
        return tensors_of(model, (row.get_submodule(path) for row, ranks in of_rows for path in ranks))

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """All factors of a model are multiplied at once, whichever entry they are of: later cuts renumber its rows."""
        for path, module in model.named_modules(remove_duplicate=False):  # a shared one under each of its paths
            if isinstance(module, FactoredLinear):
                for name in [name for name in state if name.startswith(f"{path}.")]:
                    del state[name]
                state[f"{path}.weight"] = matrix(module).detach()
                offset = bias(module)
                if offset is not None:
                    state[f"{path}.bias"] = offset.detach()


def wrong_rank(ranks: Any, config: PreTrainedConfig, least: int) -> tuple[str, Any] | None:
    """The first (path, rank) that is of no matrix, or no rank from `least` on; None where all are right.

    ranks: [{path: rank}, one a row], JSON that may come from anyone. Raises: ValueError where it is no such list.
    """
    if not isinstance(ranks, list) or not all(isinstance(row, dict) for row in ranks):
        raise ValueError("its ranks are no list with an object for each row of layer weights")
    known = matrix_paths(ARCHITECTURES[architecture_name(config)])
    for row in ranks:
        for path, rank in row.items():
            if path not in known or type(rank) is not int or not least <= rank <= MOST_RANK:
                return path, rank
    return None


def saving_rank(module: nn.Module, share: float) -> int | None:
    """The rank at which two factors hold `share` of a matrix's numbers; None where no rank holds fewer than all."""
    rows, columns = rows_of_matrix(module), columns_of(module)
    rank = int(share * rows * columns / (rows + columns)) if rows and columns else 0
    return rank if rank >= 1 and rank * (rows + columns) < rows * columns else None


def factorable(model: PreTrainedModel, which: str = "all") -> list[dict[str, nn.Module]]:
    """For each row, path -> matrix of those that can be factored. which: "all", "attention" or "ffn"."""
    table = architecture_of(model)
    kinds = ("attention", "ffn") if which == "all" else (which,)
    wanted = {path for kind in kinds for path in (table.readout(kind), *(f.path for f in table.feeders(kind)))}
    if which == "all":
        wanted |= {*table.recurrent}
    return [
        {path: module for path, module in matrices(table, row).items() if path in wanted and type(module) is nn.Linear}
        for row in rows_of(model)
    ]
