from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer

from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.loading import load_adapter, load_encoder
from asc_core.progress import Progress
from asc_core.tasks import Task
from asc_core.train import folder
from asc_core.train import run as module
from asc_core.train.checkpoints import Checkpoints
from asc_core.train.finetune import finetune
from asc_core.train.heads import encoder_for_task, with_head_for
from asc_core.values import Plan
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task
from tests.tiny import ARCHITECTURES, logits, padded_batch, save_checkpoint, tiny

pytestmark = pytest.mark.slow  # training, half a minute in all

FAST: dict[str, Any] = {"batch_size": 16, "lr": 1e-2}


@pytest.fixture
def task() -> Task:
    return toy_task(train=320)


def same_weights(a: Encoder, b: Encoder) -> bool:
    one, other = a.model.state_dict(), b.model.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def cancel_after(steps: int) -> Progress:
    progress = Progress()

    def report(done: int, total: int, what: str) -> None:
        if done >= steps:
            progress.cancel.set()

    progress.report = report
    return progress


@pytest.mark.parametrize("lora_rank", [None, 4])
def test_a_separable_task_is_learned_and_the_callers_encoder_stays_as_it_was(task: Task, lora_rank: int | None) -> None:
    encoder = encoder_for(task)
    before, grads = encoder.weights, [p.requires_grad for p in encoder.model.parameters()]
    result = finetune(encoder, task, epochs=6, lora_rank=lora_rank, **FAST)
    assert result.history[-1].loss < 0.5 * result.history[0].loss
    assert result.best_metric >= 0.95
    assert [p.requires_grad for p in encoder.model.parameters()] == grads
    del encoder.__dict__["weights"]  # the fingerprint is kept once it is known
    assert encoder.weights == before
    assert not result.encoder.model.training


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_task_trains_and_its_adapter_comes_back_with_the_same_logits(kind: str, tmp_path: Path) -> None:
    task = toy_task(kind, train=40, validation=20)
    base = encoder_for(task)
    save_checkpoint(base, tmp_path / "base")
    result = finetune(base, task, tmp_path / "out", epochs=1, lora_rank=2, base_name="some/base", **FAST)
    again = load_adapter(tmp_path / "out", base=tmp_path / "base", device="cpu")
    inputs = padded_batch()
    assert torch.allclose(logits(again, inputs), logits(result.encoder, inputs), atol=1e-5)
    assert (logits(again, inputs) - logits(base, inputs)).abs().max() > 1e-3
    assert (again.head, again.labels) == (task.head, base.labels)
    assert json.loads((tmp_path / "out/adapter_config.json").read_text())["base_model_name_or_path"] == "some/base"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "ancestry.json", "config.json",
        "digests.json", "tokenizer.json", "tokenizer_config.json", "training.jsonl",
    ]  # fmt: skip


def test_an_adapter_is_found_with_its_base_and_its_tokenizer_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = toy_task(train=32, validation=16)
    save_checkpoint(encoder_for(task), tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    result = finetune(load_encoder("base", device="cpu"), task, "out", epochs=1, lora_rank=2, **FAST)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = load_adapter(tmp_path / "out", device="cpu")
    assert torch.allclose(logits(again, padded_batch()), logits(result.encoder, padded_batch()), atol=1e-5)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == len(result.encoder.tokenizer)


AUTO = {
    "sequence-classification": peft.AutoPeftModelForSequenceClassification,
    "token-classification": peft.AutoPeftModelForTokenClassification,
    "question-answering": peft.AutoPeftModelForQuestionAnswering,
    "embedding": peft.AutoPeftModelForFeatureExtraction,
}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"intent-slots"}))
def test_peft_itself_loads_an_adapter_from_every_folder(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an encoder that lies nowhere the base is written beside it; the whole then moves together for us."""
    task = toy_task(kind, train=40, validation=20)
    result = finetune(encoder_for(task), task, tmp_path / "out", epochs=1, lora_rank=2, **FAST)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    inputs = padded_batch()
    with torch.inference_mode():
        said = AUTO[task.head].from_pretrained(str(tmp_path / "out")).eval()(**inputs)
        wanted = result.encoder.model(**inputs)
    for name, value in wanted.items():
        assert torch.allclose(said[name], value, atol=1e-4)
    (tmp_path / "out").rename(tmp_path / "moved")
    again = load_adapter(tmp_path / "moved", device="cpu")
    assert torch.allclose(logits(again, inputs), logits(result.encoder, inputs), atol=1e-5)


def test_the_page_beside_an_adapter_says_how_peft_loads_it_on_a_base_without_its_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = toy_task(train=32, validation=16)
    bare = tiny(seed=3)
    bare.model.base_model.save_pretrained(tmp_path / "base")
    bare.tokenizer.save_pretrained(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    result = finetune(encoder_for_task("base", task, device="cpu"), task, "out", epochs=1, lora_rank=2, **FAST)
    snippet = (tmp_path / "out/README.md").read_text().split("```python\n")[1].split("```")[0]
    assert not (tmp_path / "out/base").exists(), "a base that peft can load is named, not copied"
    said: dict[str, Any] = {}
    exec(snippet, said)
    with torch.inference_mode():
        found, wanted = (model.eval()(**padded_batch()).logits for model in (said["model"], result.encoder.model))
    assert torch.allclose(found, wanted, atol=1e-4)
    assert len(said["tokenizer"]) == len(result.encoder.tokenizer)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lora_adapts_every_linear_of_the_layers_and_the_head_whole(architecture: str, tmp_path: Path) -> None:
    task = toy_task(train=32, validation=16)
    base = encoder_for(task, architecture)
    save_checkpoint(base, tmp_path / "base")
    result = finetune(base, task, tmp_path / "out", epochs=1, lora_rank=2, **FAST)
    with safe_open(str(tmp_path / "out/adapter_model.safetensors"), framework="pt") as file:
        names = list(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.float16}
    adapted = sum("lora_A" in name for name in names)
    assert adapted == sum(2 + len(_feeders(base, row)) for row in range(len(base.shape.heads)))
    head = {n for n, _ in base.model.named_parameters() if not n.startswith(base.model.base_model_prefix + ".")}
    assert {f"base_model.model.{name}" for name in head} <= set(names)
    again = load_adapter(tmp_path / "out", base=tmp_path / "base", device="cpu")
    assert torch.allclose(logits(again, padded_batch()), logits(result.encoder, padded_batch()), atol=1e-5)


def _feeders(encoder: Encoder, row: int) -> list[str]:
    from asc_core import modeling

    layer = modeling.rows_of(encoder.model)[row]
    table = modeling.ARCHITECTURES[encoder.architecture]
    paths = [feeder.path for kind in ("attention", "ffn") for feeder in table.feeders(kind)]
    return [path for path in paths if modeling.submodule(layer, path) is not None]


@pytest.mark.parametrize("lora_rank", [None, 3])
@pytest.mark.parametrize("stops", [(3,), (10,), (17,), (1, 3, 10, 17)])
def test_a_cancelled_run_resumes_to_the_same_weights(
    tmp_path: Path, lora_rank: int | None, stops: tuple[int, ...]
) -> None:
    task = toy_task(train=160)
    settings = FAST | {"epochs": 2, "lora_rank": lora_rank, "max_steps": 18}
    whole = finetune(encoder_for(task), task, tmp_path / "whole", **settings)
    for stop in stops:
        with pytest.raises(Cancelled):
            finetune(encoder_for(task), task, tmp_path / "out", progress=cancel_after(stop), **settings)
        assert [p.name for p in (tmp_path / "out").iterdir()] == [".resume"]
    steps: list[int] = []
    progress = Progress(report=lambda done, total, what: steps.append(done))
    resumed = finetune(encoder_for(task), task, tmp_path / "out", progress=progress, **settings)
    assert steps == list(
        range(stops[-1] + 1, 18)
    )  # it learnt of it before the next step, or before the last validation
    assert same_weights(whole.encoder, resumed.encoder)
    assert [(e.step, e.loss, e.metric) for e in whole.history] == [(e.step, e.loss, e.metric) for e in resumed.history]
    assert not (tmp_path / "out/.resume").exists()


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_weights(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; import sys, time\n"
        "import torch; torch.set_num_threads(1)\n"
        "from asc_core.train import finetune as m, run; from asc_core.progress import Progress\n"
        "from tests.evaluate.toy_tasks import encoder_for, toy_task\n"
        "run.SECONDS_BETWEEN_CHECKPOINTS = 0.0\n"
        "def report(done, total, what):\n"
        "    if done == 12: print('twelve', flush=True); time.sleep(60)\n"
        "task = toy_task(train=224)\n"
        "m.finetune(encoder_for(task), task, sys.argv[1], epochs=2, batch_size=16, lr=1e-2, "
        "progress=Progress(report=report))\n"
    )
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", script, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "twelve\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    task = toy_task(train=224)
    steps: list[int] = []
    progress = Progress(report=lambda done, total, what: steps.append(done))
    resumed = finetune(encoder_for(task), task, out, epochs=2, progress=progress, **FAST)
    whole = finetune(encoder_for(task), task, epochs=2, **FAST)
    assert steps[0] in (11, 12)
    assert same_weights(whole.encoder, resumed.encoder)


def test_a_run_with_other_settings_does_not_resume(task: Task, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        finetune(encoder_for(task), task, tmp_path / "out", epochs=1, progress=cancel_after(3), **FAST)
    steps: list[int] = []
    progress = Progress(report=lambda done, total, what: steps.append(done))
    finetune(encoder_for(task), task, tmp_path / "out", epochs=1, seed=1, progress=progress, **FAST)
    assert steps[0] == 0


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(task: Task) -> None:
    encoder = encoder_for(task)
    torch.manual_seed(1)
    first = finetune(encoder, task, max_steps=5, lora_rank=2, **FAST)
    torch.manual_seed(2)
    drawn = torch.get_rng_state()
    second = finetune(encoder, task, max_steps=5, lora_rank=2, **FAST)
    assert torch.equal(torch.get_rng_state(), drawn)
    other = finetune(encoder, task, max_steps=5, lora_rank=2, seed=1, **FAST)
    assert same_weights(first.encoder, second.encoder)
    assert not same_weights(first.encoder, other.encoder)


def test_the_best_epoch_is_kept_and_training_stops_when_it_no_longer_improves(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = iter([0.5, 0.8, 0.7, 0.8, 0.9])
    monkeypatch.setattr(module.Run, "_validate", lambda self: next(metrics))
    settings = FAST | {"epochs": 5, "limit": 32}
    stopped = finetune(encoder_for(task), task, patience=2, **settings)
    assert [e.metric for e in stopped.history] == [0.5, 0.8, 0.7, 0.8]
    assert stopped.best_metric == 0.8
    seen: list[dict[str, torch.Tensor]] = []

    def validate(self: Any) -> float:
        seen.append({n: p.detach().clone() for n, p in self.trained.items()})
        return [0.5, 0.8, 0.7, 0.8, 0.9][len(seen) - 1]

    monkeypatch.setattr(module.Run, "_validate", validate)
    again = finetune(encoder_for(task), task, patience=2, **settings)
    kept = dict(again.encoder.model.named_parameters())
    assert all(torch.equal(kept[name], seen[1][name]) for name in kept)


def test_a_full_checkpoint_loads_like_any_other(task: Task, tmp_path: Path) -> None:
    result = finetune(encoder_for(task), task, tmp_path / "out", epochs=1, **FAST)
    again = load_encoder(tmp_path / "out", device="cpu")
    assert same_weights(result.encoder, again)
    assert again.labels == tuple(task.labels)
    log = [json.loads(line) for line in (tmp_path / "out/training.jsonl").read_text().splitlines()]
    assert [line["event"] for line in log] == ["start", "epoch", "end"]
    assert log[-1]["best_metric"] == result.best_metric
    assert log[-1]["split"] == "validation"
    assert str(tmp_path) not in (tmp_path / "out/training.jsonl").read_text()
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_a_cut_encoder_can_be_trained_stored_and_loaded(task: Task, tmp_path: Path, lora_rank: int | None) -> None:
    whole = encoder_for(task)
    plan = Plan.full(whole.shape).drop(0, head=1).drop(2).drop(1, neuron=3)
    for head in range(4):
        plan = plan.drop(1, head=head)
    small = whole.cut(plan)
    result = finetune(small, task, tmp_path / "out", epochs=1, lora_rank=lora_rank, **FAST)
    assert result.encoder.shape == small.shape
    if lora_rank is None:
        again = load_encoder(tmp_path / "out", device="cpu")
    else:
        folder.save_checkpoint(small, tmp_path / "base")
        small.tokenizer.save_pretrained(tmp_path / "base")
        again = load_adapter(tmp_path / "out", base=tmp_path / "base", device="cpu")
    assert again.model.config.asc == small.model.config.asc
    assert again.shape == small.shape
    assert torch.allclose(logits(again, padded_batch()), logits(result.encoder, padded_batch()), atol=1e-5)
    assert same_weights(whole, encoder_for(task))  # the cut shares parameters with the encoder that it was cut from


def test_an_encoder_without_gradients_is_trained_all_the_same(task: Task) -> None:
    encoder = encoder_for(task)
    encoder.model.requires_grad_(False)
    result = finetune(encoder, task, max_steps=3, **FAST)
    assert not same_weights(encoder, result.encoder)
    assert not any(p.requires_grad for p in encoder.model.parameters())


def test_encoder_for_task_makes_a_head_that_fits_and_keeps_one_that_does(tmp_path: Path) -> None:
    task = toy_task("pair-classification")
    save_checkpoint(tiny(head="embedding"), tmp_path / "plain")
    made, again = (encoder_for_task(tmp_path / "plain", task, device="cpu") for _ in range(2))
    assert (made.head, made.labels) == ("sequence-classification", task.labels)
    assert same_weights(made, again)
    fitting = encoder_for(task)
    save_checkpoint(fitting, tmp_path / "fitting")
    assert same_weights(encoder_for_task(tmp_path / "fitting", task, device="cpu"), fitting)
    joint = toy_task("intent-slots")
    assert encoder_for_task(tmp_path / "fitting", joint, device="cpu").head == "intent-slots"
    number = encoder_for_task(tmp_path / "fitting", toy_task("regression"), device="cpu")
    assert number.labels == ("value",)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_head_leaves_the_layers_as_they_are(architecture: str) -> None:
    encoder = encoder_for(toy_task(), architecture)
    plan = Plan.full(encoder.shape).drop(0, head=1).drop(0, neuron=4)
    for start in (encoder, encoder.cut(plan)):
        made = with_head_for(start, toy_task("intent-slots"))
        assert (made.head, made.shape, made.device) == ("intent-slots", start.shape, start.device)
        inputs = padded_batch()
        with torch.inference_mode():
            wanted = start.model.base_model(**inputs).last_hidden_state
            assert torch.equal(made.model.base_model(**inputs).last_hidden_state, wanted)


def test_a_head_that_does_not_fit_is_refused(task: Task) -> None:
    with pytest.raises(UserError, match="with a new head"):
        finetune(tiny(labels=["x", "y", "z"]), task)


def test_what_is_in_the_way_is_never_overwritten(task: Task, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        finetune(encoder_for(task), task, tmp_path, **FAST)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_full_disk_leaves_no_half_written_folder(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        (args[2] / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_adapter", full)
    with pytest.raises(UserError, match=r"disk of .* is full"):
        finetune(encoder_for(task), task, tmp_path / "out", max_steps=2, lora_rank=2, **FAST)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".resume"]
    monkeypatch.undo()
    steps: list[int] = []
    progress = Progress(report=lambda done, total, what: steps.append(done))
    finetune(encoder_for(task), task, tmp_path / "out", max_steps=2, lora_rank=2, progress=progress, **FAST)
    assert 0 not in steps  # nothing is trained twice
    assert (tmp_path / "out/adapter_model.safetensors").exists()


def test_a_diverged_run_says_so(task: Task) -> None:
    encoder = encoder_for(task)
    with torch.no_grad():
        encoder.model.classifier.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="diverged"):
        finetune(encoder, task, max_steps=3, **FAST)


def test_a_task_without_labels_cannot_be_learned() -> None:
    with pytest.raises(UserError, match="no labels"):
        finetune(tiny(), toy_task(label=None))


def test_cancelling_takes_effect_within_one_step(task: Task) -> None:
    steps: list[int] = []
    progress = cancel_after(4)
    stop = progress.report
    assert stop is not None

    def report(done: int, total: int, what: str) -> None:
        steps.append(done)
        stop(done, total, what)

    progress.report = report
    with pytest.raises(Cancelled):
        finetune(encoder_for(task), task, progress=progress, **FAST)
    assert steps == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "says"),
    [({"lr": 2.0}, "lr = 2.0"), ({"batch_size": 0}, "batch_size = 0"), ({"epochs": 0}, "epochs = 0"),
     ({"warmup": 1.0}, "warmup"), ({"learning": 1}, "learning")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(task: Task, change: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=says):
        finetune(encoder_for(task), task, **change)  # type: ignore[arg-type]


def test_what_must_hold_of_the_weights_is_put_back_after_every_step(task: Task) -> None:
    encoder = encoder_for(task)
    calls: list[int] = []

    def without_its_first_readout(training: Encoder) -> None:
        calls.append(1)
        with torch.no_grad():
            training.readouts[0].linear.weight.zero_()

    without_its_first_readout(encoder)
    found = finetune(encoder, task, max_steps=4, keep=without_its_first_readout, **FAST).encoder
    assert len(calls) == 1 + 4
    assert not found.readouts[0].linear.weight.any()
    assert not torch.equal(found.readouts[1].linear.weight, encoder.readouts[1].linear.weight)


def test_a_rank_that_no_matrix_has_is_refused_before_anything_is_read(task: Task) -> None:
    def unread(*args: Any, **options: Any) -> Any:
        raise AssertionError("texts were read")

    encoder = encoder_for(task)
    task.features = unread  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"LoRA of rank 1,000,000 is more than .* 24 wide: choose a smaller rank"):
        finetune(encoder, task, epochs=1, lora_rank=10**6, **FAST)


def test_two_trainings_into_one_folder_are_told_so(task: Task, tmp_path: Path) -> None:
    states = Checkpoints(tmp_path / "out" / ".resume", "other")
    states.claim()
    with pytest.raises(UserError, match="Another training goes on"):
        finetune(encoder_for(task), task, tmp_path / "out", epochs=1, **FAST)
    states.release()
    finetune(encoder_for(task), task, tmp_path / "out", epochs=1, **FAST)
    with pytest.raises(UserError, match="has made already"):
        finetune(encoder_for(task), task, tmp_path / "out", epochs=1, **FAST)


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    monkeypatch.setattr(module.Run, "_train_batch", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(UserError, match=r"Permission denied.*name a folder that can be written"):
        finetune(encoder_for(task), task, tmp_path / "out", epochs=1, **FAST)
