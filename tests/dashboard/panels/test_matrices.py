"""Map's panel on int8: what the scan measured, in words that its figures bear out."""

from __future__ import annotations

from asc_core.compress.matrix_scan import Effect, MatrixScan, least_kept
from dashboard.panels.matrices import called, what_it_shows, what_stays

SCAN = MatrixScan(
    ("word_embedding", "0.query", "1.query"),
    (Effect(0.01, 0.0), Effect(0.08, 0.02), Effect(0.01, 0.005)),
    Effect(0.05, 0.04),
    (9, 4, 4),
    "dynamic",
    200,
    900,
)


def test_the_whole_and_the_worst_matrix_are_named() -> None:
    said = what_it_shows(SCAN)
    assert "All 3 matrices in int8 together change 4.00 % of the answers on 200 texts" in said
    assert "<b>layer 1, query</b> moves outputs most (it changes 2.00 % of the answers)" in said
    numbers = MatrixScan(("0.query",), (Effect(0.001, 0.0, False),), Effect(0.002, 0.0, False), (4,), "none", 9, 9)
    assert "together take 0.200 % of the outputs' square" in what_it_shows(numbers)


def test_what_stays_at_a_limit_is_named_with_what_the_rest_is_expected_to_change() -> None:
    stay = least_kept(SCAN, 0.02)
    assert stay == ("0.query",)
    said = what_stays(SCAN, stay, 0.02)
    assert "For at most 2.0 %, <b>1</b> stays in float32: layer 1, query." in said
    assert "expected to change 1.79 %: an estimate" in said  # 0.04 times the root of 0.02 / 0.1
    assert "none stays in float32" in what_stays(SCAN, least_kept(SCAN, 0.05), 0.05)


def test_layers_are_counted_from_one() -> None:
    assert called("3.output.dense") == "layer 4, output.dense"
    assert called("word_embedding") == "the word embedding"
