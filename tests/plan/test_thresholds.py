from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import Part, asc_greedy, by_share, by_threshold, redundant_layers
from asc_core.values import PartValues, Plan, Scores, Shape
from tests.plan.builders import hands, keeps, scores_of, shape_of, shapes


def matrix(states: int, **similar: float) -> np.ndarray:
    """Zero but for the named pairs, s1_2 = 0.9."""
    found = np.eye(states)
    for pair, value in similar.items():
        one, other = map(int, pair[1:].split("_"))
        found[one, other] = found[other, one] = value
    return found


def asc_scores(similarity: np.ndarray, rows: list[int] | None = None) -> Scores:
    layers = len(similarity) - 1
    shape = shape_of(
        [2] * (layers if rows is None else len(set(rows))), [4] * (layers if rows is None else len(set(rows))), rows
    )
    values = PartValues(layers=1 - np.diag(similarity, 1))
    return Scores("asc-b", values, shape, "weights", "task", "train", 8, similarity=similarity)


@pytest.mark.parametrize(
    ("similarity", "threshold", "exact", "redundant"),
    [
        (matrix(4, s0_1=0.95), 0.9, False, [1]),
        (matrix(4, s0_1=0.89), 0.9, False, [1]),
        (matrix(4, s0_1=0.89), 0.9, True, []),
        (matrix(4, s0_1=0.9), 0.9, True, [1]),
        (matrix(4, s1_3=0.95), 0.9, False, [3]),
        (matrix(4, s0_1=0.95, s1_2=0.95), 0.9, False, [1]),
        (matrix(4, s0_1=0.95, s0_2=0.9, s1_3=0.99), 0.9, False, [1, 2]),
        (matrix(4, s1_2=0.95, s1_3=0.92), 0.9, False, [2, 3]),
        (matrix(13, s0_1=0.95, s2_3=0.93, s4_5=0.9, s7_8=0.91, s9_10=0.88), 0.9, False, [1, 3, 5, 8]),
        (
            matrix(13, s0_1=0.95, s2_3=0.93, s4_5=0.9, s7_8=0.91, s9_10=0.88, s6_12=0.85),
            0.85,
            False,
            [1, 3, 5, 8, 10, 12],
        ),
        (matrix(13, s0_1=0.95, s0_2=0.86, s2_3=0.93, s3_4=0.85, s4_5=0.9, s6_7=0.85), 0.85, False, [1, 2, 4, 7]),
    ],
    ids=[
        "like the embeddings",
        "the slack of 0.01",
        "no slack when exact",
        "equal is redundant",
        "later states count, not only neighbours",
        "what is gone removes nothing",
        "one survivor removes several",
        "a survivor that is not the embeddings",
        "published for NLI at 0.90: 1, 3, 5, 8",
        "a lower threshold of the same network",
        "a lower threshold may keep what a higher one removed",
    ],
)
def test_asc_rule(similarity: np.ndarray, threshold: float, exact: bool, redundant: list[int]) -> None:
    found = redundant_layers(similarity, threshold, exact)
    assert (np.flatnonzero(found) + 1).tolist() == redundant
    plan = asc_greedy(asc_scores(similarity), threshold, exact)
    assert [layer + 1 for layer in range(len(similarity) - 1) if layer not in plan.layers] == redundant
    assert plan.heads == Plan.full(plan.shape).heads


def literal_asc(similarity: np.ndarray, threshold: float) -> list[int]:
    """As the authors wrote it down."""
    redundant: list[int] = []
    for i in range(len(similarity)):
        if i in redundant:
            continue
        for k in range(i + 1, len(similarity)):
            if similarity[i, k] >= threshold - 0.01 and k not in redundant:
                redundant.append(k)
    return sorted(redundant)


@given(st.integers(0, 2**16), st.integers(1, 12), st.floats(0, 1))
def test_asc_rule_equals_the_published_loops(seed: int, layers: int, threshold: float) -> None:
    similarity = np.random.default_rng(seed).random((layers + 1, layers + 1))
    assert (np.flatnonzero(redundant_layers(similarity, threshold)) + 1).tolist() == literal_asc(similarity, threshold)


def test_asc_respects_layers_set_by_hand() -> None:
    scores = asc_scores(matrix(5, s0_1=0.95, s1_3=0.95))
    assert asc_greedy(scores, 0.9).layers == (1, 2, 3)
    assert asc_greedy(scores, 0.9, keep_parts={("layers", 0)}).layers == (0, 1, 3)
    assert asc_greedy(scores, 0.9, remove_parts={Part("layers", 3)}).layers == (1, 2)


def test_asc_says_which_threshold_leaves_a_layer() -> None:
    scores = asc_scores(matrix(3, s0_1=0.6, s0_2=0.7))
    with pytest.raises(UserError, match=r"above 0\.6100"):
        asc_greedy(scores, 0.5)
    assert asc_greedy(scores, 0.6101).layers == (0,)


def test_asc_needs_a_similarity_matrix_that_fits() -> None:
    with pytest.raises(UserError, match="fisher has none"):
        asc_greedy(scores_of(shape_of([2], [4])), 0.9)
    with pytest.raises(UserError, match="score again"):
        asc_greedy(replace(asc_scores(matrix(4)), similarity=matrix(5)), 0.9)
    with pytest.raises(UserError, match="layers \\+ 1"):
        redundant_layers(np.ones((2, 3)), 0.9)
    with pytest.raises(UserError, match="not a number"):
        redundant_layers(matrix(3), math.nan)


def test_asc_on_shared_weights_chooses_the_number_of_iterations() -> None:
    similarity = matrix(7, s0_2=0.95, s1_5=0.95)
    assert asc_greedy(asc_scores(similarity, rows=[0] * 6), 0.9).layers == (0, 1, 2, 3)
    assert asc_greedy(asc_scores(similarity, rows=[0, 0, 0, 1, 1, 1]), 0.9).layers == (0, 1, 3, 4)
    fewer = asc_greedy(asc_scores(similarity, rows=[0] * 6), 0.9, remove_parts={("layers", n) for n in range(4)})
    assert fewer.layers == (0, 1)


@given(shapes(), st.integers(0, 99), st.sampled_from([0.0, 0.3, 0.7, 1.0, 2.5, 99.0]), st.data())
def test_below_the_threshold_goes_and_the_rest_stays(
    shape: Shape, seed: int, threshold: float, data: st.DataObject
) -> None:
    scores = scores_of(shape, seed)
    kept, cut = data.draw(hands(shape))
    plan = by_threshold(scores, threshold, keep_parts=kept, remove_parts=cut)
    for kind in ("heads", "neurons"):
        for row, values in enumerate(getattr(scores.values, kind)):
            for number, value in enumerate(values.tolist()):
                part = (kind, row, number)
                assert keeps(plan, part) == (part in kept or (part not in cut and value >= threshold))
    assert len(plan.layers) == shape.layers


def test_each_kind_can_have_its_own_threshold() -> None:
    shape = shape_of([2, 2], [2, 2])
    values = PartValues(
        heads=(np.array([1.0, 5.0]), np.array([5.0, 5.0])),
        neurons=(np.array([0.1, 0.2]), np.array([0.2, 0.2])),
        attention=np.array([9.0, 1.0]),
        ffn=np.array([1.0, 9.0]),
        layers=np.array([1.0, 2.0]),
    )
    scores = Scores("update", values, shape, "w", "t", "train", 8)
    assert by_threshold(scores, {"heads": 2.0, "neurons": 0.15}).heads == ((1,), (0, 1))
    assert by_threshold(scores, {"heads": 2.0, "neurons": 0.15}).neurons == ((1,), (0, 1))
    sublayers = by_threshold(scores, 5.0, kinds=("attention", "ffn"))
    assert (sublayers.heads, sublayers.neurons) == (((0, 1), ()), ((), (0, 1)))
    assert by_threshold(scores, 2.0, kinds=("layers",)).layers == (1,)
    assert by_threshold(scores, 9.0, min_heads=1, kinds=("heads",)).heads == ((1,), (0,))
    with pytest.raises(UserError, match="the highest score is 2"):
        by_threshold(scores, 3.0, kinds=("layers",))
    assert by_threshold(scores, 3.0, kinds=("layers",), keep_parts={("layers", 0)}).layers == (0,)


def test_a_kind_without_scores_is_refused_with_those_that_there_are() -> None:
    scores = scores_of(shape_of([2], [4]), method="asc-b", kinds="layers")
    with pytest.raises(UserError, match="asc-b has no scores for heads, only for layers"):
        by_threshold(scores, 0.5, kinds=("heads",))
    with pytest.raises(UserError, match="no scores for neurons"):
        by_share(scores, keep_neurons=0.5)


@given(shapes(), st.integers(0, 99), st.integers(0, 100), st.sampled_from(["layer", "global"]))
def test_shares_keep_exactly_so_many_and_the_best(shape: Shape, seed: int, percent: int, scope: str) -> None:
    scores = scores_of(shape, seed)
    plan = by_share(scores, percent / 100, percent / 100, scope=scope)  # type: ignore[arg-type]
    for kind in ("heads", "neurons"):
        kept, values, counts = getattr(plan, kind), getattr(scores.values, kind), getattr(shape, kind)
        if scope == "global":
            kept = (tuple(i + sum(counts[:row]) for row, own in enumerate(kept) for i in own),)
            values, counts = (np.concatenate(values),), (sum(counts),)
        for own, scored, count in zip(kept, values, counts, strict=True):
            assert len(own) == (percent * count + 50) // 100
            gone = np.delete(scored, list(own))
            assert not own or not gone.size or scored[list(own)].min() >= gone.max()


@given(shapes(), st.floats(0, 1), st.integers(0, 3), st.sampled_from(["layer", "global"]), st.data())
def test_shares_respect_hands_and_minimum(
    shape: Shape, share: float, min_heads: int, scope: str, data: st.DataObject
) -> None:
    kept, cut = data.draw(hands(shape))
    plan = by_share(
        scores_of(shape),
        share,
        share,
        scope=scope,
        min_heads=min_heads,
        keep_parts=kept,
        remove_parts=cut,  # type: ignore[arg-type]
    )
    assert all(keeps(plan, part) for part in kept)
    assert not any(keeps(plan, part) for part in cut)
    for row, heads in enumerate(plan.heads):
        assert len(heads) >= min(min_heads, shape.heads[row] - sum(part[:2] == ("heads", row) for part in cut))


def test_share_of_layers_keeps_at_least_one() -> None:
    scores = scores_of(shape_of([2] * 4, [4] * 4), 1)
    order = np.argsort(-scores.values.layers, kind="stable").tolist()  # type: ignore[operator]
    assert by_share(scores, keep_layers=0.5).layers == tuple(sorted(order[:2]))
    assert by_share(scores, keep_layers=0.0).layers == (order[0],)
    shared = scores_of(shape_of([2, 2], [4, 4], rows=[0, 0, 0, 1, 1, 1]))
    assert by_share(shared, keep_layers=0.7).layers == (0, 1, 3, 4)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_outside_0_and_1_are_refused(share: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        by_share(scores_of(shape_of([2], [4])), keep_heads=share)


def test_a_plan_can_be_what_is_set_by_hand() -> None:
    scores = scores_of(shape_of([4, 4], [6, 6]))
    wanted = by_share(scores, 0.5, 0.5)
    assert by_threshold(scores, 1e9, keep_parts=wanted) == wanted
    assert by_threshold(scores, 0.0, remove_parts=wanted) == wanted
    with pytest.raises(UserError, match="The plan is for"):
        by_threshold(scores, 0.0, remove_parts=Plan.full(shape_of([4], [6])))


def test_iterations_that_contradict_each_other_are_refused() -> None:
    scores = scores_of(shape_of([2, 2], [4, 4], rows=[0, 0, 1, 1]))
    with pytest.raises(UserError, match="share weights"):
        by_threshold(scores, 0.0, keep_parts={("layers", 0), ("layers", 1)}, remove_parts={("layers", 2)})


def test_a_plan_says_where_it_comes_from() -> None:
    scores = scores_of(shape_of([2], [4]), seed=7)
    plan = by_threshold(scores, 0.5, keep_parts={("heads", 0, 1)})
    assert (plan.provenance.weights, plan.provenance.task, plan.provenance.method) == ("weights", "task", "fisher")
    assert (plan.provenance.split, plan.provenance.seed) == ("train", 7)
    assert plan.provenance.rule == "heads scored >= 0.5, neurons scored >= 0.5; by hand 1 kept, 0 cut"
    assert by_share(scores, 0.5, scope="global").provenance.rule == "best 0.5 of the heads"
    assert asc_greedy(asc_scores(matrix(3)), 0.9).provenance.rule == "ASC greedy, similarity >= 0.9 - 0.01"


def test_hand_kept_parts_count_towards_a_share() -> None:
    shape = shape_of([4], [0])
    scores = Scores("fisher", PartValues(heads=(np.array([1.0, 2, 3, 4]),)), shape, "w", "t", "train", 8)
    assert by_share(scores, 0.5, keep_parts={("heads", 0, 0)}).heads == ((0, 3),)
    assert by_share(scores, 0.5, remove_parts={("heads", 0, 3)}).heads == ((1, 2),)


def test_iterations_cut_by_hand_stay_cut() -> None:
    scores = scores_of(shape_of([2], [4], rows=[0] * 4))
    assert by_threshold(scores, 0.0, remove_parts={("layers", 0)}).layers == (0, 1, 2)
    assert by_share(scores, keep_layers=0.0, keep_parts={("layers", 1), ("layers", 3)}).layers == (0, 1)


@pytest.mark.parametrize("part", [Part("heads", 1, 0), Part("neurons", 1, 2), Part("attention", 1)])
def test_a_part_kept_by_hand_holds_its_layer(part: Part) -> None:
    scores = asc_scores(matrix(4, s0_1=0.99, s0_2=0.99))
    assert asc_greedy(scores, 0.9).layers == (2,)
    assert asc_greedy(scores, 0.9, keep_parts=[part]).layers == (1, 2)
    assert asc_greedy(scores, 0.9, keep_parts=[part], remove_parts=[Part("layers", 1)]).layers == (2,)
    assert by_share(scores, keep_layers=1 / 3, keep_parts=[part]).layers == (1,)
