"""What holds for tasks of every kind."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.tasks import Task, task_from_rows
from tests.tasks.running import losses, output_of, predictions, run
from tests.tiny import tiny

WORDS = "the big cat sat on a small mat under the tree and who flies to paris from rome is not dull".split()


def _rows(count: int = 12) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    rows = []
    for i in range(count):
        words = list(generator.choice(WORDS, generator.integers(3, 12)))
        other = " ".join(generator.choice(WORDS, generator.integers(2, 9)))
        start = int(generator.integers(len(words)))
        answer = {"text": [words[start]], "answer_start": [len(" ".join(words[:start])) + (start > 0)]}
        rows.append(
            {
                "text": " ".join(words),
                "other": other,
                "class": "abc"[i % 3],
                "many": ["a", "c"] if i % 2 else [],
                "number": float(i % 5),
                "tokens": words,
                "tags": ["O", *["B-x" if generator.integers(2) else "I-x" for _ in words[1:]]],
                "question": other,
                "context": " ".join(words),
                "answers": answer,
            }
        )
    return rows


FIELDS: dict[str, dict[str, Any]] = {
    "text-classification": {"texts": ["text"], "label": "class"},
    "pair-classification": {"texts": ["text", "other"], "label": "class"},
    "multi-label": {"texts": ["text"], "label": "many"},
    "regression": {"texts": ["text", "other"], "label": "number"},
    "question-answering": {"texts": ["question", "context"], "label": "answers"},
    "tagging": {"texts": ["tokens"], "label": "tags"},
    "intent-slots": {"texts": ["tokens"], "label": "class", "slots": "tags"},
    "sentence-similarity": {"texts": ["text", "other"], "label": "number"},
}
TAGS = ["I-x", "B-x", "O"]
LABELS = {"multi-label": ["a", "c"], "regression": ["number"], "tagging": TAGS}
KINDS = list(FIELDS)


def make(kind: str, labelled: bool = True, **options: Any) -> Task:
    fields = FIELDS[kind] if labelled else FIELDS[kind] | {"label": None}
    return task_from_rows("t", kind, fields, {"train": _rows, "test": _rows}, **options)


def encoder_for(task: Task, seed: int = 0, architecture: str = "bert", **overrides: Any) -> Encoder:
    return tiny(architecture, task.head, seed, LABELS.get(task.kind, ["c", "b", "a"]), TAGS, **overrides)


@pytest.fixture(params=KINDS)
def task(request: pytest.FixtureRequest) -> Task:
    return make(request.param)


def test_a_task_runs_and_its_metric_is_in_range(task: Task) -> None:
    _, value = run(task, encoder_for(task))
    assert -1 <= value <= 1


def test_the_loss_of_a_feature_does_not_depend_on_its_batch(task: Task) -> None:
    encoder = encoder_for(task)
    features = task.features(task.examples("test"), encoder)
    rows = list(range(len(features)))[::-1]
    together = losses(task, features, encoder, rows)
    assert together.shape == (len(features),)
    alone = np.concatenate([losses(task, features, encoder, [row]) for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-4, rtol=1e-4)


def test_predictions_do_not_depend_on_the_batch(task: Task) -> None:
    encoder = encoder_for(task)
    examples = task.examples("test")
    features = task.features(examples, encoder)
    one, many = (task.statistics(predictions(task, features, encoder, n), features, examples) for n in (1, 7))
    np.testing.assert_allclose(one, many, atol=1e-4)


def test_a_batch_is_padded_to_its_longest_feature_and_masks_the_padding(task: Task) -> None:
    encoder = encoder_for(task)
    features = task.features(task.examples("test"), encoder)
    batch = task.batch(features, [3, 0, 5], encoder)
    shape = batch.inputs["input_ids"].shape
    assert all(tensor.shape == shape for tensor in batch.inputs.values())
    assert shape[0] == 3 * batch.rows_per_feature
    per_row = batch.mask.sum(1)
    assert int(per_row.max()) == shape[1]
    assert per_row.view(3, -1).sum(1).tolist() == features.lengths[[3, 0, 5]].tolist()
    assert (batch.inputs["input_ids"][batch.mask == 0] == encoder.tokenizer.pad_token_id).all()


def test_some_examples_have_the_statistics_they_have_among_all(task: Task) -> None:
    encoder = encoder_for(task)
    examples = task.examples("test")
    features = task.features(examples, encoder)
    whole = task.statistics(predictions(task, features, encoder), features, examples)
    chosen = np.asarray([7, 2, 9])
    part = features.of_examples(chosen)
    assert part.example.tolist() == sorted(part.example.tolist())
    statistics = task.statistics(predictions(task, part, encoder), part, examples.subset(chosen))
    np.testing.assert_allclose(statistics, whole[chosen], atol=1e-4)


@pytest.mark.parametrize("targets", ["sampled", "argmax"])
def test_the_models_own_targets_give_gradients(task: Task, targets: Any) -> None:
    encoder = encoder_for(task)
    features = task.features(task.examples("test"), encoder)
    batch = task.batch(features, [0, 1, 2], encoder)
    loss = task.loss(encoder.model(**batch.inputs), batch, targets, torch.Generator().manual_seed(0))
    loss.sum().backward()
    assert max(float(p.grad.abs().max()) for p in encoder.model.parameters() if p.grad is not None) > 1e-3


def test_samples_depend_on_the_seed_alone(task: Task) -> None:
    encoder = encoder_for(task)
    features = task.features(task.examples("test"), encoder)
    rows = list(range(len(features)))
    first, again, other = (losses(task, features, encoder, rows, "sampled", seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_without_labels_a_model_agrees_with_itself_and_less_with_others(kind: str) -> None:
    task = make(kind, labelled=False)
    assert not task.labelled
    assert task.metric.name == "agreement"
    encoder = encoder_for(task)
    _, with_itself = run(task, encoder, reference=encoder)
    _, with_another = run(task, encoder, reference=encoder_for(task, seed=1))
    assert with_itself == pytest.approx(1)
    assert with_another < 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_without_labels_scoring_uses_the_models_own(kind: str) -> None:
    task = make(kind, labelled=False)
    encoder = encoder_for(task)
    examples = task.examples("test")
    features = task.features(examples, encoder)
    assert features.targets is None
    assert losses(task, features, encoder, [0, 1], "sampled").shape == (2,)
    with pytest.raises(UserError, match="no labels"):
        losses(task, features, encoder, [0, 1])
    with pytest.raises(UserError, match="--against"):
        task.statistics(predictions(task, features, encoder), features, examples)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_left_aside_where_agreement_is_the_metric(kind: str) -> None:
    assert not make(kind, metric="agreement").labelled


def test_what_is_kept_of_a_prediction_is_small_and_on_no_device(task: Task) -> None:
    encoder = encoder_for(task)
    features = task.features(task.examples("test"), encoder)
    for prediction in predictions(task, features, encoder):
        parts = prediction if isinstance(prediction, tuple) else (prediction,)
        assert all(isinstance(part, np.ndarray | np.generic) for part in parts)
        assert sum(part.nbytes for part in parts) < 1000


def test_a_model_with_another_head_is_told(task: Task) -> None:
    encoder = encoder_for(task)
    features = task.features(task.examples("test"), encoder)
    batch = task.batch(features, [0], encoder)
    wrong = "token-classification" if task.head == "embedding" else "embedding"
    with pytest.raises(UserError, match=f"needs a {task.head} head"):
        task.loss(output_of(tiny(head=wrong), batch), batch)


@pytest.mark.parametrize(
    "architecture", ["distilbert", "roberta", "deberta-v2", "modernbert", "electra", "mpnet", "albert"]
)
def test_pairs_go_to_models_with_and_without_token_types(architecture: str) -> None:
    task = make("pair-classification")
    encoder = encoder_for(
        task, architecture=architecture, **({"type_vocab_size": 1} if architecture == "roberta" else {})
    )
    encoder.tokenizer = copy.copy(encoder.tokenizer)
    encoder.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    features = task.features(task.examples("test"), encoder)
    assert (features.token_types is not None) == (architecture in ("electra", "albert"))
    run(task, encoder)


def test_token_types_tell_the_texts_of_a_pair_apart() -> None:
    task = make("pair-classification")
    encoder = encoder_for(task)
    encoder.tokenizer = copy.copy(encoder.tokenizer)
    encoder.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    examples = task.examples("test")
    features = task.features(examples, encoder)
    assert features.token_types is not None
    for row, ids, types in zip(examples.rows, features.input_ids, features.token_types, strict=True):
        first = len(row["text"].split()) + 2
        assert types.tolist() == [0] * first + [1] * (len(ids) - first)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("text-classification", 4), ("pair-classification", 4), ("tagging", 4), ("sentence-similarity", 4)],
)
def test_truncated_examples_are_counted(kind: str, expected: int) -> None:
    rows = [
        {**row, "text": text, "tokens": text.split(), "tags": ["O"] * len(text.split()), "other": "a"}
        for row, text in zip(_rows(6), ["cat " * n for n in (3, 9, 10, 4, 11, 12)], strict=True)
    ]
    rows = [{**row, "text": row["text"].strip()} for row in rows]
    encoder = tiny(head=make(kind).head, labels=LABELS.get(kind, ["c", "b", "a"]))
    special = 2 + (kind == "pair-classification") * 2
    task = task_from_rows(
        "t",
        kind,
        FIELDS[kind],
        {"train": lambda: rows, "test": lambda: rows},
        max_length=8 + special,
        labels=LABELS.get(kind, ["a", "b", "c"]),
    )
    features = task.features(task.examples("test"), encoder)
    assert features.truncated == expected
    assert max(len(ids) for ids in features.input_ids) <= (8 + special) * (2 if kind == "sentence-similarity" else 1)


def test_features_keep_no_padding_and_small_integers(task: Task) -> None:
    encoder = encoder_for(task)
    features = task.features(task.examples("test"), encoder)
    assert {ids.dtype for ids in features.input_ids} == {np.dtype(np.int32)}
    assert not any((ids == encoder.tokenizer.pad_token_id).any() for ids in features.input_ids)
    assert replace(features, notes=("x",)).of_examples(np.asarray([0])).notes == ("x",)
