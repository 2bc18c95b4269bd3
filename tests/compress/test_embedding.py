"""The word embedding in another form: what the step makes, what it says, and what trains it afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from asc_core import modeling
from asc_core.compress.codebooks import error
from asc_core.compress.embedding import Embedding
from asc_core.compress.quantize import Quantize
from asc_core.compress.row_weights import row_weights
from asc_core.compress.step import StepContext
from asc_core.compress.vocabulary import Vocabulary
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.recipes.registry import parse_step, step_json
from asc_core.train.steps import Distil, Finetune
from asc_core.vocabulary import token_counts
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.modeling.structures import batch_within
from tests.tiny import ARCHITECTURES, logits, tiny

TASK = toy_task(train=96)
TRAIN = Finetune(epochs=1, lr=1e-2, batch_size=16)
FORMS: dict[str, dict[str, Any]] = {
    "codes": {"codebooks": 4, "entries": 8},
    "product": {"codebooks": 4, "entries": 8},
    "hashed": {"pool": 0.2},
    "factors": {"rank": 5},
}
every_form = pytest.mark.parametrize("form", FORMS)


def step(form: str, **others: Any) -> Embedding:
    return Embedding(form=form, **{**FORMS[form], **others})  # type: ignore[arg-type]


def table_of(encoder: Encoder) -> torch.Tensor:
    return modeling.whole_table(encoder.model.get_submodule(modeling.table_path(encoder.model)))


def lost(before: Encoder, after: Encoder, weights: torch.Tensor | None = None) -> float:
    rows = table_of(before)
    return error(table_of(after), rows, torch.ones(len(rows)) if weights is None else weights)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@every_form
def test_the_table_is_smaller_and_nearer_to_the_original_than_nothing(form: str, architecture: str) -> None:
    encoder, context = tiny(architecture), StepContext()
    path = modeling.table_path(encoder.model)
    made = step(form).apply(encoder, context)
    tables = [modeling.count(one.model.get_submodule(path)).bytes for one in (encoder, made)]
    assert tables[1] < tables[0]
    share = lost(encoder, made)
    assert 0 < share < 0.95
    assert made.structures[-1]["kind"] == step(form).adds
    assert context.done is not None
    assert (
        f"{tables[1] / 1e6:.3g} of {tables[0] / 1e6:.3g} MB, {100 * share:.2g} % of the rows' squares is lost"
        in context.done
    )
    assert torch.equal(table_of(step(form).apply(encoder, StepContext())), table_of(made))


@pytest.mark.parametrize("options", [{"form": "factors", "rank": 24}, {"entries": 64, "codebooks": 1}])
def test_room_for_everything_loses_nothing(options: dict[str, Any]) -> None:
    encoder, distinct = tiny(vocab_size=1000), torch.randn(60, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rows = encoder.model.get_input_embeddings().weight
        if "rank" in options:
            options, low = {**options, "rank": 6}, torch.randn(6, 24, generator=torch.Generator().manual_seed(0))
            rows.copy_(rows[:, :6] @ low)
        else:
            rows.copy_(distinct[torch.arange(1000) % 60])
    made, inputs = Embedding(**options).apply(encoder, StepContext()), batch_within(1000)
    assert lost(encoder, made) < 1e-9
    torch.testing.assert_close(logits(made, inputs), logits(encoder, inputs), atol=1e-3, rtol=0)


@pytest.mark.parametrize("form", ["codes", "product", "factors", "hashed"])
@pytest.mark.parametrize("weighted", ["use", "outputs"])
def test_rows_that_the_application_uses_are_nearer(form: str, weighted: Any) -> None:
    encoder = encoder_for(TASK)
    equal, own = (step(form, weighted=by).apply(encoder, StepContext(TASK)) for by in ("equal", weighted))
    weights = row_weights(encoder, TASK, weighted)
    assert lost(encoder, own, weights) < lost(encoder, equal, weights)
    if weighted == "use":
        used = (torch.from_numpy(token_counts(encoder, TASK)) > 0).float()
        assert 0 < used.sum() < len(used)
        assert lost(encoder, own, used) < lost(encoder, equal, used)


def test_codes_find_more_than_blocks_and_refining_more_than_residuals() -> None:
    encoder = tiny(vocab_size=600)
    codes, plain, product = (
        Embedding(codebooks=4, entries=16, **options).apply(encoder, StepContext())
        for options in ({}, {"rounds": 0}, {"form": "product"})
    )
    assert lost(encoder, codes) < lost(encoder, plain)
    assert lost(encoder, codes) < lost(encoder, product)


def test_what_is_learned_is_kept_where_it_loses_less() -> None:
    encoder = tiny(vocab_size=600)
    by_kmeans = lost(encoder, step("codes").apply(encoder, StepContext()))
    for learned in (1, 300):
        context = StepContext()
        made = step("codes", learned=learned).apply(encoder, context)
        assert lost(encoder, made) <= by_kmeans + 1e-6
        assert context.done is not None
        kept = "learned codes" if lost(encoder, made) < by_kmeans - 1e-6 else "codes by k-means"
        assert f"({kept} are kept:" in context.done


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("form", ["codes", "product"])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_codes_are_laid_over_factors_and_rounded_and_come_back(form: str, bits: Any, tmp_path: Path) -> None:
    encoder = tiny()
    steps = (
        Embedding(form="factors", rank=8),
        Embedding(form=form, codebooks=4, entries=4),  # type: ignore[arg-type]
        Quantize(activations="none", choose=False, embedding_bits=bits),
    )
    made = Recipe(steps).apply(encoder)
    floats = Recipe(steps[:2]).apply(encoder)
    assert lost(floats, made) < {8: 0.001, 4: 0.05, 2: 0.5}[bits]
    export(made, tmp_path / "out")
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(64)
    assert torch.equal(logits(again, inputs), logits(made, inputs))
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(t.numel() * t.element_size() for t in stored.values()) == modeling.count(made.model).bytes
    of_table = [name for name in stored if name.startswith(f"{modeling.table_path(made.model)}.")]
    assert all(name.endswith((".codes", ".scale", ".scales", ".levels")) for name in of_table)


@every_form
def test_a_chosen_quantization_takes_the_table_as_one_matrix(form: str) -> None:
    encoder, context = step(form).apply(encoder_for(TASK), StepContext()), StepContext(TASK)
    made = Quantize(bits=4, group=8, embedding_bits=4, most_changed=0.3, rounding="second-order").apply(
        encoder, context
    )
    assert modeling.EMBEDDING in modeling.quantizable(encoder.model)
    assert logits(made, batch_within(64)).isfinite().all()
    kept = Quantize(keep=("word_embedding",), choose=False).apply(encoder, StepContext())
    assert torch.equal(table_of(kept), table_of(encoder))


@every_form
def test_a_shorter_vocabulary_behind_it_keeps_the_rows_of_its_tokens(form: str) -> None:
    encoder = step(form).apply(encoder_for(TASK), StepContext())
    shorter = Vocabulary().apply(encoder, StepContext(TASK))
    names = encoder.tokenizer.get_vocab()
    kept = [names[word] for word, _ in sorted(shorter.tokenizer.get_vocab().items(), key=lambda one: one[1])]
    assert shorter.tokens == len(kept) < encoder.tokens
    torch.testing.assert_close(table_of(shorter), table_of(encoder)[kept], atol=0, rtol=0)
    first = Vocabulary().apply(encoder_for(TASK), StepContext(TASK))
    assert step(form).apply(first, StepContext()).tokens == len(kept)


@pytest.mark.slow
@every_form
def test_training_behind_it_moves_its_numbers_and_no_code(form: str, tmp_path: Path) -> None:
    start = step(form, weighted="use").apply(encoder_for(TASK), StepContext(TASK))
    context = StepContext(TASK, teacher=encoder_for(TASK), folder=tmp_path / "run")
    trained = TRAIN.apply(start, context)
    path = modeling.table_path(start.model)
    before, after = (dict(one.model.get_submodule(path).named_parameters()) for one in (start, trained))
    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]) == (not before[name].is_floating_point()), name
    inputs = batch_within(64)
    assert torch.equal(logits(TRAIN.apply(start, context), inputs), logits(trained, inputs)), "read, not trained again"
    again = load_encoder(tmp_path / "run", device="cpu")
    assert torch.equal(logits(again, inputs), logits(trained, inputs))
    assert again.structures == start.structures


@pytest.mark.slow
@pytest.mark.parametrize("form", ["codes", "hashed"])
def test_a_training_that_was_stopped_goes_on_to_the_same_codebooks(form: str, tmp_path: Path) -> None:
    recipe = Recipe((step(form), TRAIN, Quantize(activations="none", choose=False)))
    whole = recipe.apply(encoder_for(TASK), TASK)
    progress = Progress()

    def report(done: int, total: int, what: str) -> None:
        if what == "training steps" and done == 3:
            progress.cancel.set()

    progress.report = report
    with pytest.raises(Cancelled):
        recipe.apply(encoder_for(TASK), TASK, progress, folder=tmp_path)
    again = recipe.apply(encoder_for(TASK), TASK, folder=tmp_path)
    assert again.weights == whole.weights


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"codebooks": 25}, "fewer than 25 codebooks"),
        ({"form": "product", "codebooks": 5}, "5 blocks of the same width do not fill 24 columns: 4 or 6 codebooks do"),
        ({"form": "product", "codebooks": 32}, "fewer than 32 codebooks"),
        ({"form": "factors", "rank": 25}, "no rank of 25"),
        ({"form": "factors", "rank": 24}, "choose a lower rank"),
        ({"form": "hashed", "pool": 1.0}, "choose a smaller pool"),
        ({"codebooks": 24, "entries": 256}, "choose fewer codebooks or entries"),
    ],
)
def test_what_does_not_fit_or_would_not_shrink_is_said(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        Embedding(**options).apply(tiny(), StepContext())
    assert str(caught.value).endswith(".")
    assert "tiny-bert" in str(caught.value)


@pytest.mark.parametrize("field", [{"entries": 12}, {"codebooks": 0}, {"form": "tree"}, {"pool": 0}, {"seed": -1}])
def test_a_strangers_step_is_refused_by_its_field(field: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"here \(embedding\): {next(iter(field))}: .*\.$"):
        parse_step({"step": "embedding", **field}, "here")


def test_an_order_that_cannot_be_is_refused_before_anything_is_done() -> None:
    Recipe((Embedding(form="factors"), Embedding(), Vocabulary(), Distil(), Quantize()))
    Recipe((Embedding(form="factors"), Embedding(form="hashed")))
    for steps in (
        (Embedding(), Embedding()),
        (Embedding(), Embedding(form="factors")),
        (Embedding(form="hashed"), Embedding(form="product")),
        (Quantize(), Embedding()),
    ):
        with pytest.raises(UserError, match=r"Step 2 of the recipe \(embedding\) cannot follow"):
            Recipe(steps)


def test_a_recipe_holds_the_step_and_says_what_it_does() -> None:
    found = step("codes", weighted="outputs", learned=50, seed=3)
    assert parse_step(json.loads(json.dumps(step_json(found))), "here") == found
    assert found.describe() == (
        "word embedding in 4 codebooks of 8 entries, 50 steps of learning, rows weighted by what they do"
    )
    assert Recipe((found,)).needs_task
    assert not Recipe((step("codes"),)).needs_task
    assert step("hashed").describe() == "word embedding hashed, 2 rows a token of a pool of 20 %"
    keys = {json.dumps(step(form, weighted=by).cache_key()) for form in FORMS for by in ("equal", "use")}
    assert len(keys) == 2 * len(FORMS)


def test_it_can_be_cancelled() -> None:
    progress = Progress()
    progress.report = lambda done, total, what: progress.cancel.set()
    with pytest.raises(Cancelled):
        step("codes").apply(tiny(), StepContext(progress=progress))
