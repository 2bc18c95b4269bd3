"""SQuAD's official scoring, on cases worked out by hand."""

import numpy as np
import pytest

from asc_core.tasks.question_answering import best_span, normalise, squad_scores, token_span


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Eiffel Tower!", "eiffel tower"),
        ("an  apple\n a day", "apple day"),
        ("U.S.", "us"),
        ("theatre", "theatre"),
        ("the", ""),
        ("twenty-five", "twentyfive"),
    ],
)
def test_answers_are_normalised_as_squad_does(answer: str, expected: str) -> None:
    assert normalise(answer) == expected


@pytest.mark.parametrize(
    ("answer", "gold", "no_answer", "f1", "em"),
    [
        pytest.param("The Normans", ["Normans"], False, 1, 1, id="an article does not count"),
        pytest.param("in France", ["France"], False, 2 / 3, 0, id="a needless word costs precision"),
        pytest.param("France", ["in northern France", "France"], False, 1, 1, id="the best gold answer counts"),
        pytest.param("a b c", ["b b d"], False, 2 * 1 / (2 + 3), 0, id="words count as often as in both"),
        pytest.param("Spain", ["France"], False, 0, 0, id="nothing in common"),
        pytest.param("", [], True, 1, 1, id="2.0: rightly no answer"),
        pytest.param("France", [], True, 0, 0, id="2.0: answered what has no answer"),
        pytest.param("", ["France"], True, 0, 0, id="2.0: wrongly no answer"),
        pytest.param("the", ["the"], False, 0, 1, id="1.1: nothing is left of the answer"),
    ],
)
def test_f1_and_exact_match(answer: str, gold: list[str], no_answer: bool, f1: float, em: float) -> None:
    assert squad_scores(answer, gold, no_answer) == pytest.approx((f1, em))


def _prediction(starts: dict[int, float], ends: dict[int, float]) -> tuple[np.ndarray, ...]:
    return (
        np.asarray(list(starts)),
        np.asarray(list(starts.values())),
        np.asarray(list(ends)),
        np.asarray(list(ends.values())),
        np.asarray(0.0),
    )


@pytest.mark.parametrize(
    ("starts", "ends", "expected"),
    [
        pytest.param({3: 2.0, 5: 1.0}, {4: 1.0, 6: 0.5}, (3.0, 3, 4), id="the best sum"),
        pytest.param({5: 5.0, 2: 1.0}, {3: 5.0, 6: 0.5}, (6.0, 2, 3), id="never backwards"),
        pytest.param({1: 5.0, 40: 1.0}, {41: 5.0}, (6.0, 40, 41), id="at most 30 tokens"),
        pytest.param({9: 1.0}, {2: 1.0}, None, id="no legal span"),
    ],
)
def test_the_best_legal_span_is_found(starts: dict, ends: dict, expected: tuple | None) -> None:
    assert best_span(_prediction(starts, ends)) == expected  # type: ignore[arg-type]


OFFSETS = np.asarray([[-1, -1], [-1, -1], [0, 3], [4, 7], [7, 8], [9, 12], [-1, -1]])


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        pytest.param((4, 8), (3, 4), id="whole tokens"),
        pytest.param((5, 6), (3, 3), id="inside a token"),
        pytest.param((0, 12), (2, 5), id="the whole window"),
        pytest.param((9, 15), (0, 0), id="ends after the window"),
        pytest.param(None, (0, 0), id="no answer"),
    ],
)
def test_characters_become_tokens(span: tuple[int, int] | None, expected: tuple[int, int]) -> None:
    assert token_span(span, OFFSETS) == expected
