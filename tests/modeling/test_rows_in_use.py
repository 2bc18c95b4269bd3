"""Training on the rows in use alone is training of the whole table."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from asc_core import modeling


class Mean(nn.Module):
    def __init__(self, tokens: int):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(tokens, 4, padding_idx=0)
        self.head = nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(ids).mean(1))


def trained(model: Mean, batches: list[torch.Tensor]) -> Mean:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    for ids in batches:
        model(ids).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model


@given(tokens=st.integers(5, 30), seed=st.integers(0, 99), others=st.sets(st.integers(0, 4)), count=st.integers(1, 4))
def test_a_table_learns_by_some_of_its_rows_what_it_learns_whole(
    tokens: int, seed: int, others: set[int], count: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    batches = [torch.randint(0, tokens, (2, 3), generator=generator) for _ in range(count)]
    rows = torch.tensor(sorted({0, *others, *(int(token) for ids in batches for token in ids.flatten())}))
    whole, some = trained(Mean(tokens), batches), Mean(tokens)
    before = some.words.weight.detach().clone()
    assert modeling.leave_rows_in_use(some, "words", rows)
    assert sum(p.numel() for p in some.words.parameters()) == 4 * len(rows)
    assert modeling.tokens_of(some.words) == tokens
    trained(some, batches)
    modeling.put_rows_back(some, "words")
    assert torch.allclose(some.words.weight, whole.words.weight, atol=1e-6)
    untouched = [token for token in range(tokens) if token not in rows]
    assert torch.equal(some.words.weight[untouched], before[untouched])


def test_what_is_no_plain_table_stays_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert not modeling.leave_rows_in_use(model, "0", torch.tensor([0]))
    modeling.put_rows_back(model, "0")
    assert isinstance(model[0], nn.Linear)
