"""A BiLSTM that begins with a task's words: what it begins with, what it learns, and what it cannot be asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asc_core import ablate, evaluate, layer_times, load_encoder, modeling, score
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.export import export
from asc_core.recipes import Recipe
from asc_core.tasks import Task
from asc_core.train.distil import distil
from asc_core.train.finetune import finetune
from asc_core.train.fresh import BiLstm, fresh_bilstm
from asc_core.train.heads import with_head_for
from asc_core.train.options import TrainingOptions
from asc_core.train.ticket_kinds import PartTickets
from asc_core.train.tickets import find_tickets
from asc_core.vocabulary.word_tokenizer import SPECIAL
from tests.evaluate.toy_tasks import encoder_for, toy_task, written
from tests.export.conftest import checked_in_process
from tests.test_cli import run
from tests.train.test_finetune import cancel_after, same_weights

SMALL = BiLstm(width=16, hidden=12, layers=2)
FAST: dict[str, Any] = {"batch_size": 16, "lr": 1e-2, "patience": None}
KINDS = ("text-classification", "pair-classification", "multi-label", "regression", "tagging", "intent-slots")


def recipe(*steps: dict[str, Any]) -> Recipe:
    return Recipe.from_json({"format": "asc-recipe/1", "steps": list(steps)})


@pytest.fixture
def task() -> Task:
    return toy_task(train=96, validation=40)


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Of 300 words, two of which stand in the texts."""
    values = np.random.default_rng(0).normal(scale=3, size=(302, 6)).round(3)
    words = [*(f"word{n}" for n in range(300)), "Great", "the"]
    lines = [f"{word} {' '.join(map(str, row))}" for word, row in zip(words, values, strict=True)]
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "vectors.txt"


def table(encoder: Encoder) -> torch.Tensor:
    return encoder.model.get_input_embeddings().weight.detach()


def row_of(encoder: Encoder, word: str) -> torch.Tensor:
    return table(encoder)[encoder.tokenizer.get_vocab()[word]]


# What it begins with


def test_its_words_are_those_of_the_training_texts_alone_the_most_frequent_first(task: Task) -> None:
    encoder = fresh_bilstm(task, SMALL, device="cpu")
    counted: dict[str, int] = {}
    for row in task.examples("train").rows:
        for word in row["text"].lower().split():
            counted[word] = counted.get(word, 0) + 1
    words = encoder.tokenizer.convert_ids_to_tokens(range(len(SPECIAL), encoder.tokens))
    assert words == sorted(counted, key=lambda word: (-counted[word], word))
    assert table(encoder).shape == (len(SPECIAL) + len(counted), 16)
    few = fresh_bilstm(task, BiLstm(words=5), device="cpu")
    assert few.tokenizer.convert_ids_to_tokens([3, 4]) == words[:2]
    assert few.tokens == 5


def test_rows_begin_with_the_vectors_of_a_file_and_the_others_as_large_at_random(task: Task, vectors: Path) -> None:
    encoder = fresh_bilstm(task, BiLstm(hidden=4, vectors=vectors), device="cpu")
    known = {line.split()[0].lower(): line.split()[1:] for line in vectors.read_text().splitlines()}
    for word, numbers in known.items():
        assert torch.allclose(row_of(encoder, word), torch.tensor([float(n) for n in numbers]))
    others = [word for word in encoder.tokenizer.get_vocab() if word not in known and word not in SPECIAL]
    assert len(others) > 10
    spread = float(torch.stack([row_of(encoder, word) for word in others]).std())
    assert 2 < spread < 4
    assert not row_of(encoder, "[PAD]").any()


def test_a_table_has_as_many_rows_as_it_is_to_have_and_the_tasks_words_are_among_them(
    task: Task, vectors: Path
) -> None:
    own = fresh_bilstm(task, SMALL, device="cpu").tokens
    encoder = fresh_bilstm(task, BiLstm(vectors=vectors, words=own + 50), device="cpu")
    assert encoder.tokens == own + 50
    assert {"great", "the", "word0", "word49"} <= encoder.tokenizer.get_vocab().keys()
    assert "word50" not in encoder.tokenizer.get_vocab()
    listed = vectors.with_name("words.txt")
    listed.write_text("".join(f"word{n}\t{n}\n" for n in range(3000)))
    many = fresh_bilstm(task, BiLstm(width=7, hidden=4, word_list=listed, words=2000), device="cpu")
    assert table(many).shape == (2000, 7)
    assert many.cost(np.asarray([4])).bytes >= 2000 * 7 * 4


def test_the_same_seed_makes_the_same_model(task: Task) -> None:
    made = [fresh_bilstm(task, SMALL, seed, "cpu").weights for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 0}, "width = 0"),
        ({"layers": 0}, "layers = 0"),
        ({"hidden": 1 << 20}, "hidden"),
        ({"words": 3}, "words = 3"),
        ({"vectors": "a", "word_list": "b"}, "either vectors"),
        ({"vectors": "nowhere.txt"}, "no file nowhere.txt"),
    ],
)
def test_sizes_and_files_that_make_no_model_are_refused(options: dict[str, Any], said: str, task: Task) -> None:
    with pytest.raises(UserError, match=said):
        fresh_bilstm(task, BiLstm(**options), device="cpu")


def test_a_width_that_is_not_the_vectors_and_a_head_that_there_is_not_are_refused(task: Task, vectors: Path) -> None:
    with pytest.raises(UserError, match="6 wide"):
        fresh_bilstm(task, BiLstm(width=5, vectors=vectors), device="cpu")
    with pytest.raises(UserError, match="no head for question-answering"):
        fresh_bilstm(toy_task("question-answering", train=4), SMALL, device="cpu")


# What it learns


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_is_learnt_and_comes_back_from_its_folder(kind: str, tmp_path: Path) -> None:
    task = toy_task(kind, train=320)
    result = finetune(fresh_bilstm(task, SMALL, device="cpu"), task, tmp_path / "out", epochs=12, **FAST)
    assert result.best_metric > (0.75 if kind == "regression" else 0.9)
    again = load_encoder(tmp_path / "out", device="cpu")
    assert same_weights(again, result.encoder)
    assert type(table(again)) is torch.Tensor
    measured = evaluate(again, task, "validation")
    assert measured.value == pytest.approx(result.best_metric)


def test_only_rows_that_its_texts_use_change_and_the_state_of_a_run_holds_no_others(
    task: Task, vectors: Path, tmp_path: Path
) -> None:
    encoder = fresh_bilstm(task, BiLstm(hidden=4, vectors=vectors), device="cpu")
    before = table(encoder).clone()
    with pytest.raises(Cancelled):
        finetune(encoder, task, tmp_path / "out", epochs=2, progress=cancel_after(4), **FAST)
    stored = (tmp_path / "out/.resume/state.safetensors").stat().st_size
    assert stored < 4 * before.numel() * 3  # as many moments and weights of the whole table
    result = finetune(encoder, task, tmp_path / "out", epochs=2, **FAST)
    changed = (table(result.encoder) != before).any(1)
    ids = task.features(task.examples("train"), encoder).input_ids
    used = set(np.concatenate(ids).tolist()) | {encoder.tokenizer.unk_token_id}
    assert set(torch.nonzero(changed)[:, 0].tolist()) <= used
    assert len(used) // 2 < int(changed.sum())
    assert table(result.encoder).shape == before.shape
    assert torch.equal(table(encoder), before)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_in_the_weights_of_one_that_was_not(task: Task, tmp_path: Path) -> None:
    whole = finetune(fresh_bilstm(task, SMALL, device="cpu"), task, tmp_path / "whole", epochs=3, **FAST)
    start = fresh_bilstm(task, SMALL, device="cpu")
    with pytest.raises(Cancelled):
        finetune(start, task, tmp_path / "out", epochs=3, progress=cancel_after(8), **FAST)
    resumed = finetune(fresh_bilstm(task, SMALL, device="cpu"), task, tmp_path / "out", epochs=3, **FAST)
    assert same_weights(resumed.encoder, whole.encoder)
    assert resumed.history[-1].step == whole.history[-1].step


def test_it_learns_at_a_rate_of_its_own_where_none_is_said(task: Task) -> None:
    encoder = fresh_bilstm(task, SMALL, device="cpu")
    options = [TrainingOptions(lr=lr).of_encoder(one) for one in (encoder, encoder_for(task)) for lr in (None, 0.02)]
    assert [one.learning_rate for one in options] == [1e-3, 0.02, 5e-5, 0.02]
    said, silent = (finetune(encoder, task, max_steps=3, **given).encoder for given in ({"lr": 1e-3}, {}))
    assert same_weights(said, silent)


@pytest.mark.slow
def test_it_is_taught_by_itself_after_it_was_made_smaller(task: Task) -> None:
    teacher = finetune(fresh_bilstm(task, SMALL, device="cpu"), task, epochs=6, **FAST).encoder
    smaller = recipe({"step": "factor", "keep": 0.4}).apply(teacher, task)
    taught = distil(smaller, teacher, task, steps=12, lr=1e-2)
    assert taught.encoder.parameters == smaller.parameters < teacher.parameters
    assert taught.best_metric >= taught.history[0].metric


@pytest.mark.slow
def test_it_is_fine_tuned_further_on_another_task_under_a_new_head(task: Task) -> None:
    first = finetune(fresh_bilstm(task, SMALL, device="cpu"), task, epochs=2, **FAST).encoder
    other = toy_task("intent-slots", train=320)
    start = with_head_for(first, other)
    assert torch.equal(table(start), table(first))
    assert finetune(start, other, epochs=12, **FAST).best_metric > 0.9


# What is made of it


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        ({"step": "quantize"},),
        ({"step": "quantize", "bits": 4, "embedding_bits": 4, "rounding": "second-order"},),
        ({"step": "factor", "keep": 0.5}, {"step": "quantize", "choose": False}),
        ({"step": "sparsify", "by": "magnitude"},),
        ({"step": "pack"},),
    ],
    ids=lambda steps: " ".join(step["step"] for step in steps),
)
def test_recipes_make_it_smaller_and_it_leaves_in_the_compact_format(
    steps: tuple[dict[str, Any], ...], task: Task, tmp_path: Path
) -> None:
    encoder = fresh_bilstm(task, BiLstm(width=32, hidden=32), device="cpu")
    made = recipe(*steps).made(encoder, task)
    assert not modeling.rounds_inputs(made.encoder.model)
    assert "inputs rounded" not in made.done[0]
    assert "second order" not in made.done[0]
    with checked_in_process():
        report = export(made.encoder, tmp_path / "out", "compact", recipe=recipe(*steps), original=encoder)
    assert report.max_difference <= 1e-4
    stored = (tmp_path / "out/model.safetensors").stat().st_size
    assert stored < modeling.count(encoder.model).bytes
    assert load_encoder(tmp_path / "out", device="cpu").cost(np.asarray([4])).bytes <= stored


@pytest.mark.slow
def test_an_export_answers_in_a_process_that_has_never_heard_of_it(task: Task, tmp_path: Path) -> None:
    encoder = recipe({"step": "quantize", "choose": False}).apply(fresh_bilstm(task, SMALL, device="cpu"), task)
    report = export(encoder, tmp_path / "out", "compact")
    assert report.max_difference <= 1e-4
    assert json.loads((tmp_path / "out/config.json").read_text())["auto_map"]["AutoConfig"] == "compact.AscBiLstmConfig"


# What it cannot be asked


@pytest.mark.parametrize(
    "ask",
    [
        lambda encoder, task, folder: score(encoder, task),
        lambda encoder, task, folder: ablate(encoder, task),
        lambda encoder, task, folder: layer_times(encoder, np.asarray([4])),
        lambda encoder, task, folder: find_tickets(encoder, task, folder, kind=PartTickets()),
        lambda encoder, task, folder: recipe({"step": "share"}).apply(encoder, task),
        lambda encoder, task, folder: recipe({"step": "eliminate-tokens"}).apply(encoder, task),
        lambda encoder, task, folder: recipe({"step": "early-exit"}).apply(encoder, task),
        lambda encoder, task, folder: recipe({"step": "cut-to-budget", "keep": 0.5}).apply(encoder, task),
        lambda encoder, task, folder: recipe({"step": "student", "depth": 1}).apply(encoder, task),
    ],
    ids=["score", "ablate", "layer times", "tickets", "share", "tokens", "exits", "cut", "student"],
)
def test_what_is_asked_of_heads_and_neurons_is_refused_in_a_sentence(ask: Any, task: Task, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no heads or neurons to score or to cut"):
        ask(fresh_bilstm(task, SMALL, device="cpu"), task, tmp_path / "out")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda e, t: finetune(e, t, lora_rank=2), "train all weights"),
        (lambda e, t: recipe({"step": "vocabulary"}).apply(e, t), "list of whole words"),
        (lambda e, t: recipe({"step": "factor", "keep": 0.5, "nearest": "outputs"}).apply(e, t), 'nearest "weights"'),
        (lambda e, t: recipe({"step": "sparsify", "by": "wanda"}).apply(e, t), 'by "magnitude"'),
        (lambda e, t: export(e, "nowhere", "onnx"), "no ONNX format. Export it in the compact"),
        (lambda e, t: export(e, "nowhere", "torch-export"), "Export it in the compact"),
        (lambda e, t: export(e, "nowhere", "dense"), "no class for bilstm"),
    ],
    ids=["LoRA", "vocabulary", "factor", "sparsify", "ONNX", "torch.export", "dense"],
)
def test_what_its_matrices_or_its_words_do_not_allow_is_refused_with_the_way_out(
    ask: Any, said: str, task: Task
) -> None:
    with pytest.raises(UserError, match=said):
        ask(fresh_bilstm(task, SMALL, device="cpu"), task)


# On the command line


@pytest.mark.slow
def test_the_command_line_trains_one_and_says_how_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(toy_task(train=64, validation=24), tmp_path)
    sizes = ("--model", "bilstm", "--width", 16, "--hidden", 12, "--layers", 1, "--words", 40)
    said = run("finetune", *sizes, "--task", "mood.toml", "--epochs", 8, "--lr", 0.01, "-o", "out")
    assert said["value"] > 0.9
    (stage,) = json.loads((tmp_path / "out/ancestry.json").read_text())["stages"]
    again = stage["command"].removeprefix("asc ").split()
    shutil.move("out", "first")
    assert run(*again)["value"] == said["value"]
    assert same_weights(load_encoder("first", device="cpu"), load_encoder("out", device="cpu"))
    assert "no heads or neurons" in run("score", "out", "--task", "mood.toml", "--study", "s", exit_code=2)
    frontier = ("frontier", "out", "--task", "mood.toml", "--study", "s")
    assert "no heads or neurons" in run(*frontier, exit_code=2)
    fitted = run("fit", "out", "--task", "mood.toml", "--budget", "bytes=50%", "--most", 1)
    assert fitted["left_out"]["cut"] == "it has no heads or neurons"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model", "--model", "bilstm"], "leave model out"),
        (["--model", "lstm"], "--model is bilstm"),
        ([], "Name the encoder"),
        (["model", "--width", "4"], "--width is for a fresh model"),
        (["model", "--word-list", "a"], "--word-list is for a fresh model"),
        (["model", "--cased"], "--cased is for a fresh model"),
    ],
)
def test_options_of_a_fresh_model_and_a_named_one_are_not_mixed(arguments: list[str], said: str) -> None:
    assert said in run("finetune", *arguments, "--task", "mood.toml", "-o", "out", exit_code=2)
