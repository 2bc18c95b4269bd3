"""Tables of tokens in other forms: what is looked up is what lies there, whatever was done before and after."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.modeling.hashed import PRIME, hash_functions, hashed_rows
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.modeling.structures import batch_within, coded, factored_table, hashed, packed, quantized, shortened
from tests.tiny import ARCHITECTURES, logits, tiny

FORMS: dict[str, Callable[[Encoder], Encoder]] = {
    "codes": lambda encoder: coded(encoder, 5, 8, False),
    "blocks": lambda encoder: coded(encoder, 4, 16, True),
    "factors": lambda encoder: factored_table(encoder, 8),
    "hashed": lambda encoder: hashed(encoder, 11, 2),
    "codes of factors": lambda encoder: coded(factored_table(encoder, 8), 4, 8, False),
    "blocks of factors": lambda encoder: coded(factored_table(encoder, 8), 4, 8, True),
    "hashed factors": lambda encoder: hashed(factored_table(encoder, 8), 11, 2),
}
BITS: dict[str, Callable[[Encoder], Encoder]] = {
    "float32": lambda encoder: encoder,
    "8 bits": lambda encoder: quantized(encoder, [modeling.EMBEDDING]),
    "4 bits": lambda encoder: packed(encoder, [modeling.EMBEDDING], 8, 8, 4),
    "2 bits": lambda encoder: packed(encoder, [modeling.EMBEDDING], 8, 8, 2),
}
every_form = pytest.mark.parametrize("form", FORMS)
every_bits = pytest.mark.parametrize("bits", BITS)


def table_of(encoder: Encoder) -> Any:
    return encoder.model.get_submodule(modeling.table_path(encoder.model))


def slow_row(table: Any, token: int) -> torch.Tensor:
    """By the words of the definitions, one token at a time."""
    if isinstance(table, modeling.FactoredTable):
        return modeling.matrix(table.second).detach() @ slow_row(table.first, token)
    if isinstance(table, modeling.CodedTable):
        bits, line = table.entries.bit_length() - 1, bytes(table.codes[token].tolist())
        whole = int.from_bytes(line, "little")
        codes = [(whole >> bits * book) % table.entries for book in range(table.books)]
        entries = [slow_row(table.codebooks, book * table.entries + code) for book, code in enumerate(codes)]
        return torch.cat(entries) if table.blocks else torch.stack(entries).sum(0)
    if isinstance(table, modeling.HashedTable):
        number = token if table.numbers is None else int(table.numbers[token])
        weights, pool = slow_row(table.weights, token), modeling.tokens_of(table.pool)
        rows = [(a * number + b) % PRIME % pool for a, b in hash_functions(table.functions, table.seed)]
        return torch.stack([weight * slow_row(table.pool, row) for weight, row in zip(weights, rows, strict=True)]).sum(
            0
        )
    return modeling.whole_table(table)[token]


@every_bits
@every_form
def test_a_row_is_what_the_definition_says_and_the_whole_table_is_its_rows(form: str, bits: str) -> None:
    made = BITS[bits](FORMS[form](tiny()))
    table = table_of(made)
    ids = torch.tensor([[0, 63, 7], [7, 1, 40]])
    with torch.no_grad():
        found = table(ids)
    expected = torch.stack([slow_row(table, int(token)) for token in ids.flatten()]).unflatten(0, ids.shape)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    whole = modeling.whole_table(table)
    assert whole.shape == (64, 24) == (modeling.tokens_of(table), modeling.width_of(table))
    torch.testing.assert_close(whole[ids], found, atol=1e-6, rtol=1e-6)


@every_form
def test_a_look_up_reads_no_more_than_the_rows_that_are_asked_for(form: str) -> None:
    table, read = table_of(FORMS[form](tiny(vocab_size=5000))), []
    for module in table.modules():
        if type(module) is nn.Embedding:
            module.register_forward_hook(lambda module, inputs, output: read.append(output.numel()))
    with torch.no_grad():
        table(torch.tensor([[3, 4999]]))
    assert read
    assert max(read) <= 2 * 5 * 24  # of two tokens, of five codebooks at most


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@every_form
def test_nothing_but_the_table_of_tokens_changes(form: str, architecture: str) -> None:
    encoder = tiny(architecture)
    made, path = FORMS[form](encoder), modeling.table_path(encoder.model)
    before, after = (
        {name: p for name, p in e.model.named_parameters() if not name.startswith(f"{path}.")} for e in (encoder, made)
    )
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    whole = encoder.copy()
    table_of(whole).weight.data = modeling.whole_table(table_of(made)).clone()
    inputs = batch_within(64)
    torch.testing.assert_close(logits(made, inputs), logits(whole, inputs), atol=1e-5, rtol=0)
    assert (logits(made, inputs) - logits(encoder, inputs)).abs().max() > 1e-4


@pytest.mark.usefixtures("in_process")
@every_bits
@every_form
def test_saved_and_reloaded_it_answers_bit_for_bit_and_takes_the_bytes_that_were_counted(
    form: str, bits: str, tmp_path: Path
) -> None:
    made, inputs = BITS[bits](FORMS[form](tiny())), batch_within(64)
    export(made, tmp_path / "out")
    again = load_encoder(tmp_path / "out", device="cpu")
    assert torch.equal(logits(again, inputs), logits(made, inputs))
    stored, path = load_file(tmp_path / "out" / "model.safetensors"), modeling.table_path(made.model)
    of_table = [tensor for name, tensor in stored.items() if name.startswith(f"{path}.")]
    assert sum(t.numel() * t.element_size() for t in of_table) == modeling.count(table_of(made)).bytes
    assert modeling.count(table_of(made)).macs == (8 * 24 if "factors" in form else 0)


def test_the_bytes_of_each_form_are_those_of_its_definition() -> None:
    sizes = {form: modeling.count(table_of(make(tiny()))).bytes for form, make in FORMS.items()}
    assert sizes["codes"] == 64 * 2 + 4 * (5 * 8 * 24)  # 15 bits a token
    assert sizes["blocks"] == 64 * 2 + 4 * (4 * 16 * 6)  # 16 bits a token
    assert sizes["factors"] == 4 * (64 * 8 + 8 * 24)
    assert sizes["hashed"] == 4 * (64 * 2 + 11 * 24)
    assert sizes["codes of factors"] == 64 * 2 + 4 * (4 * 8 * 8 + 8 * 24)
    eight = modeling.count(table_of(BITS["8 bits"](FORMS["codes"](tiny())))).bytes
    assert eight == 64 * 2 + 5 * 8 * (24 + 4)


@every_form
def test_kept_tokens_keep_their_rows_whatever_their_new_numbers(form: str) -> None:
    made = FORMS[form](tiny())
    first = [*range(5), 63, *range(9, 40)]
    second = [*range(5), 35, 7, 6]
    once = shortened(made, first)
    twice = shortened(once, second)
    whole = modeling.whole_table(table_of(made))
    assert torch.equal(modeling.whole_table(table_of(once)), whole[first])
    assert torch.equal(modeling.whole_table(table_of(twice)), whole[first][second])
    assert modeling.count(table_of(twice)).bytes < modeling.count(table_of(once)).bytes
    assert torch.equal(modeling.whole_table(table_of(made)), whole)


@pytest.mark.usefixtures("in_process")
@every_form
def test_it_is_cut_shortened_quantized_and_reloaded(form: str, tmp_path: Path) -> None:
    encoder = tiny()
    made = BITS["4 bits"](shortened(FORMS[form](shortened(encoder, [*range(50)])), [*range(5), *range(20, 44)]))
    export(made, tmp_path / "out")
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(29)
    assert torch.equal(logits(again, inputs), logits(made, inputs))
    assert again.tokens == 29


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("form", "format"),
    [
        ("codes", "onnx"),
        ("hashed", "onnx"),
        pytest.param("factors", "onnx", marks=pytest.mark.slow),
        pytest.param("blocks of factors", "onnx", marks=pytest.mark.slow),
        pytest.param("codes", "torch-export", marks=pytest.mark.slow),
        pytest.param("hashed", "torch-export", marks=pytest.mark.slow),
        pytest.param("codes", "openvino", marks=pytest.mark.slow),
        pytest.param("hashed", "openvino", marks=pytest.mark.slow),
    ],
)
def test_a_graph_answers_alike_and_holds_no_whole_table(form: str, format: str, tmp_path: Path) -> None:
    if format == "openvino":
        pytest.importorskip("openvino")
    encoder = tiny(vocab_size=20000)
    made = shortened(FORMS[form](encoder), [*range(5), *range(900, 18900)])
    report = export(made, tmp_path / "out", format)  # compared with the model in memory
    assert report.max_difference < 1e-4
    suffix = {"onnx": ".onnx", "openvino": ".bin", "torch-export": ".pt2"}[format]
    written = sum(file.stat().st_size for file in (tmp_path / "out").rglob(f"*{suffix}"))
    assert written > 0
    assert written < modeling.count(table_of(encoder)).bytes / 2
    said = (tmp_path / "out" / "README.md").read_text()
    assert ("lies in the graph as" in said) == (form != "factors")


def test_hash_functions_are_the_same_in_every_process() -> None:
    code = (
        "import torch; from asc_core.modeling.hashed import hashed_rows; "
        "print(hashed_rows(torch.arange(2000, dtype=torch.int32) * 1_000_003, 977, 3, 5).sum(0).tolist())"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
        for environment in ({"PYTHONHASHSEED": "1", "PYTHONPATH": "."}, {"PYTHONHASHSEED": "2", "PYTHONPATH": "."})
    ]
    here = hashed_rows(torch.arange(2000, dtype=torch.int32) * 1_000_003, 977, 3, 5).sum(0).tolist()
    assert said == [f"{here}\n"] * 2
    assert hashed_rows(torch.tensor([0, 1, 30521, 250001]), 3000, 2, 0).tolist() == [
        [2628, 1748],
        [1306, 2262],
        [1879, 2497],
        [2888, 355],
    ]


@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(st.integers(0, (1 << 31) - 1), min_size=1, max_size=5),
    pool=st.integers(1, 10**6),
    functions=st.integers(1, 4),
    seed=st.integers(0, (1 << 63) - 1),
)
def test_hashing_is_exact_in_64_bits(numbers: list[int], pool: int, functions: int, seed: int) -> None:
    found = hashed_rows(torch.tensor(numbers), pool, functions, seed)
    for number, rows in zip(numbers, found.tolist(), strict=True):
        assert rows == [(a * number + b) % PRIME % pool for a, b in hash_functions(functions, seed)]


def test_hash_functions_spread_tokens_over_the_pool() -> None:
    rows = hashed_rows(torch.arange(30000), 300, 2, 0)
    for function in range(2):
        held = torch.bincount(rows[:, function], minlength=300)
        assert held.min() > 50
        assert held.max() < 150
    assert ((rows[:, 0] == rows[:, 1]).float().mean() - 1 / 300).abs() < 0.003


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"kind": "codes", "codebooks": 0, "entries": 8, "blocks": False}, "none of 1 to"),
        ({"kind": "codes", "codebooks": True, "entries": 8, "blocks": False}, "none of 1 to"),
        ({"kind": "codes", "codebooks": 4, "entries": 12, "blocks": False}, "12 entries are none of 2, 4, 8"),
        ({"kind": "codes", "codebooks": 4, "entries": 512, "blocks": False}, "512 entries are none of"),
        ({"kind": "codes", "codebooks": 4, "entries": 8, "blocks": 1}, "neither true nor false"),
        ({"kind": "codes", "codebooks": 25, "entries": 8, "blocks": False}, "fewer than 25 codebooks"),
        ({"kind": "codes", "codebooks": 25, "entries": 8, "blocks": True}, "fewer than 25 codebooks"),
        ({"kind": "codes", "codebooks": 9, "entries": 8, "blocks": True}, "8 or 12 codebooks do"),
        ({"kind": "codes", "codebooks": 4, "entries": 8, "blocks": True}, "no values for"),
        ({"kind": "hashed", "pool": 65, "functions": 2, "seed": 0}, "none of 1 to 64"),
        ({"kind": "hashed", "pool": 6, "functions": 99, "seed": 0}, "99 hash functions"),
        ({"kind": "hashed", "pool": 6, "functions": 2, "seed": -1}, "no whole number"),
        ({"kind": "hashed", "pool": 6, "functions": 2, "seed": 1.5}, "no whole number"),
        ({"kind": "embedding-factors", "rank": 25}, "no rank of 25"),
        ({"kind": "embedding-factors", "rank": "8"}, "no rank of '8'"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tiny().with_structure(entry)


def test_a_table_is_compressed_once() -> None:
    for form in ("codes", "hashed", "codes of factors"):
        entry = {"kind": "codes", "codebooks": 4, "entries": 8, "blocks": False}
        with pytest.raises(UserError, match='"codes" cannot come after'):
            FORMS[form](tiny()).with_structure(entry)
    with pytest.raises(UserError, match='"codes" cannot come after "quantize"'):
        coded(quantized(tiny(), ["0.output.dense"]), 4, 8, False)


def test_codes_do_not_learn_and_codebooks_do() -> None:
    encoder = tiny()
    encoder.model.requires_grad_(True)
    for make in FORMS.values():
        table = table_of(make(encoder))
        table(torch.tensor([3, 4])).square().sum().backward()
        for parameter in table.parameters():
            assert parameter.requires_grad == parameter.is_floating_point()
            assert not parameter.requires_grad or parameter.grad is not None
