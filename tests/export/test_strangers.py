"""Exported directories in processes that know nothing of how they were made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.export import export
from asc_core.progress import Progress
from asc_core.values import Plan
from tests.export.conftest import checked_in_process
from tests.export.test_package import half
from tests.tiny import ARCHITECTURES, padded_batch, tiny

pytestmark = pytest.mark.slow  # each of them starts a Python with transformers

CASES = {
    **{name: (name, "sequence-classification") for name in ARCHITECTURES},
    "tokens": ("bert", "token-classification"),
    "questions": ("modernbert", "question-answering"),
    "embeddings of a model (v1.2, 50%)": ("mpnet", "embedding"),
    "intents": ("distilbert", "intent-slots"),
}
AUTO = {
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "embedding": "AutoModel",
    "intent-slots": "AutoModel",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Encoder, Path]]:
    folder = tmp_path_factory.mktemp("models")
    made = {}
    with checked_in_process():
        for name, (architecture, head) in CASES.items():
            encoder = tiny(architecture, head=head)
            layers = (0,) if architecture == "albert" else (1, 2)
            smaller = encoder.cut(half(encoder.shape, layers))
            made[name] = (smaller, export(smaller, folder / name, original=encoder).path)
        uncut = tiny()
        made["dense"] = (uncut.cut(half(uncut.shape)), folder / "dense")
        export(made["dense"][0], folder / "dense", "dense")
    return made


def strangers(
    mode: str, exported: dict[str, tuple[Encoder, Path]], scratch: Path, packages: Path | None = None
) -> dict[str, Any]:
    """What a process of its own says of each folder. packages: a folder with other versions of what it imports."""
    inputs = {name: value.tolist() for name, value in padded_batch().items()}
    folders = {
        name: {"folder": str(path), "auto": AUTO[encoder.head], "inputs": inputs, "card": name == "bert"}
        for name, (encoder, path) in exported.items()
    }
    (scratch / "request.json").write_text(json.dumps({"folders": folders}))
    environment = os.environ | {"HF_MODULES_CACHE": str(scratch / "modules"), "HF_HUB_OFFLINE": "1"}
    if packages is not None:
        environment["PYTHONPATH"] = str(packages)
    if mode == "asc_core":
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    script = Path(__file__).with_name("strangers.py")
    subprocess.run(
        [sys.executable, "-P", str(script), str(scratch / "request.json"), str(scratch / "answers.json"), mode],
        cwd=scratch,
        env=environment,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return json.loads((scratch / "answers.json").read_text())


def assert_same(output: dict[str, list[float]], encoder: Encoder) -> None:
    with torch.inference_mode():
        expected = encoder.model(**padded_batch())
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(torch.tensor(output[name]), value.flatten(), atol=1e-4, rtol=0)


def test_the_directory_alone_is_enough(exported: dict[str, tuple[Encoder, Path]], tmp_path: Path) -> None:
    answers = strangers("alone", exported, tmp_path)
    for name, (encoder, _) in exported.items():
        answer = answers[name]
        assert "error" not in answer, (name, answer)
        assert_same(answer["output"], encoder)
        assert_same(answer["saved again"], encoder)
        assert answer["ids"] == encoder.tokenizer("a cat sat", "the dog ran")["input_ids"]
        assert answer["layers"] == encoder.model.config.num_hidden_layers
        if encoder.head != "intent-slots":
            # What stands for DeBERTa's first layer, after which its convolution runs, counts as a layer here.
            bypass = encoder.architecture == "deberta-v2"
            assert answer["states"] == encoder.shape.layers + 1 + bypass
        if name == "dense":
            assert answer["module"].startswith("transformers.models.bert")
        else:
            assert answer["class"].startswith("Asc")
            assert answer["module"].startswith("transformers_modules.")
        if name in ARCHITECTURES:
            assert answer["pipeline"] in encoder.labels
            assert answer["base"].endswith("Model")
    assert answers["bert"]["card"] == "AscBertForSequenceClassification"
    assert answers["intents"]["base"] == "AscDistilBertForIntentSlots"


def test_with_asc_core_no_code_of_the_directory_runs(exported: dict[str, tuple[Encoder, Path]], tmp_path: Path) -> None:
    names = ["bert", "deberta-v2", "camembert", "xlm-roberta", "intents"]
    answers = strangers("asc_core", {name: exported[name] for name in names}, tmp_path)
    for name in names:
        assert "error" not in answers[name], (name, answers[name])
        assert_same(answers[name]["output"], exported[name][0])
        assert answers[name]["module"] == "asc_core.modeling.compact"
    assert answers["intents"]["class"] == "AscDistilBertForIntentSlots"
    assert answers["bert"]["card"] == "AscBertForSequenceClassification"


def test_without_both_loading_fails_and_says_why(exported: dict[str, tuple[Encoder, Path]], tmp_path: Path) -> None:
    answers = strangers("distrustful", exported, tmp_path)
    assert_same(answers.pop("dense")["output"], exported["dense"][0])
    for name, answer in answers.items():
        assert set(answer) == {"error"}, (name, answer)
        assert "trust_remote_code=True" in answer["error"]


def test_an_export_is_checked_in_a_fresh_process_by_default(tmp_path: Path) -> None:
    encoder = tiny("deberta-v2")
    plan = Plan.full(encoder.shape).drop(layer=0).drop(layer=1, head=2)
    steps: list[tuple[int, int]] = []
    report = export(
        encoder.cut(plan),
        tmp_path / "out",
        plan=plan,
        original=encoder,
        texts=["a cat sat on the mat", ("who is in paris ?", "the dog .")],
        progress=Progress(lambda done, total, what: steps.append((done, total))),
    )
    assert report.max_difference < 1e-4
    assert report.checked_texts == 2
    assert report.checked_in == "fresh process"
    assert set(report.files) == {
        "README.md", "ancestry.json", "config.json", "digests.json", "map.svg", "model.safetensors", "plan.json",
        "proof.json", "proof.safetensors", "tokenizer.json", "tokenizer_config.json", *modeling.sources(),
    }  # fmt: skip
    assert report.bytes == sum((report.path / name).stat().st_size for name in report.files)
    assert steps == sorted(steps)
    assert not (tmp_path / "out" / "__pycache__").exists()
