from __future__ import annotations

from asc_core import parts
from asc_core.plan.parts import flat_scores, kinds_of
from asc_core.scores.magnitude import chance
from asc_core.values import PartValues, Scores
from tests.tiny import tiny


def test_scores_have_a_place_for_every_kind_that_is_scored() -> None:
    encoder = tiny()
    scores = Scores("random", chance(encoder), encoder.shape, encoder.weights, "toy", "train", 0)
    assert kinds_of(scores) == parts.KINDS
    assert set(PartValues.from_arrays(scores.values.arrays()).by_kind) == set(parts.KINDS)
    counts = {"block": None, "row": len(encoder.shape.heads), "layer": encoder.shape.layers}
    for kind in parts.KINDS:
        expected = counts[parts.BY_NAME[kind].per] or sum(getattr(encoder.shape, kind))
        assert flat_scores(scores, kind).shape == (expected,)


def test_every_block_and_sublayer_lies_on_one_kind_of_readout() -> None:
    readouts = {readout.kind for readout in tiny().readouts}
    assert set(parts.READOUT_OF.values()) == readouts == set(parts.BLOCKS_OF)
    assert set(parts.BLOCKS_OF.values()) == set(parts.BLOCKS)
    assert set(parts.READOUT_OF) | {"layers"} == set(parts.BY_NAME)


def test_a_kind_is_spelled_as_a_word_of_its_own() -> None:
    assert [parts.headline(kind) for kind in ("heads", "ffn")] == ["Heads", "FFN sublayers"]
    assert len({kind.one for kind in parts.BY_NAME.values()}) == len(parts.BY_NAME)
