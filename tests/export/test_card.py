"""The model card says what was measured, and nothing about the machine that it was made on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from asc_core.encoder import Encoder
from asc_core.evaluate.changes import Changes, ClassChange
from asc_core.export import Card, export
from asc_core.export.pictures import Front, FrontPoint
from asc_core.values import Cost, Estimate, Plan, Provenance
from tests.tiny import tiny, tokenizer

pytestmark = pytest.mark.usefixtures("in_process")
ESTIMATE = Estimate(
    metric="accuracy",
    value=0.8417,
    interval=(0.8201, 0.8612),
    split="test",
    examples=1000,
    total=1000,
    difference=-0.0123,
    difference_interval=(-0.0251, 0.0007),
    truncated=3,
    notes=("Classes were matched | by position.",),
)
BEFORE = Estimate(metric="accuracy", value=0.854, interval=(0.833, 0.873), split="test", examples=1000, total=1000)


def exported(
    folder: Path, card: Card | None = None, source: str = "/home/someone/secret/my-model", **options: Any
) -> str:
    encoder = Encoder(tiny().model, tokenizer(), source)
    provenance = Provenance(method="fisher", rule="keep 0.5 of FLOPs", split="train", seed=7, model=source)
    plan = Plan.full(encoder.shape, provenance).drop(layer=0).drop(layer=1, head=2).drop(layer=2, neuron=0)
    if card is not None:
        options["card"] = card
    export(encoder.cut(plan), folder, plan=plan, original=encoder, **options)
    return (folder / "README.md").read_text()


def front_matter(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.removeprefix("---\n").split("\n---\n")[0])


def test_a_full_card(tmp_path: Path) -> None:
    card = Card(
        task="demo:nli",
        estimate=ESTIMATE,
        original_estimate=BEFORE,
        cost=Cost(10, 5, 0.44e9, 40),
        original_cost=Cost(20, 10, 0.88e9, 80),
        steps=["cut 2 heads | <b>and</b> a layer"],
        commands=["asc compress /home/someone/secret/my-model --plan ~/plans/plan.json -o C:\\models\\small"],
    )
    text = exported(tmp_path / "out", card)
    assert "| this model | 0.8417 | [0.8201, 0.8612] | test | 1,000 |" in text
    assert "| original | 0.8540 |" in text
    assert "-0.0123 [-0.0251, 0.0007]" in text
    assert "3 texts were longer" in text
    assert "- Classes were matched \\| by position." in text
    assert "4.4e+08 | 8.8e+08 | 0.500" in text
    assert "method `fisher`" in text
    assert "seed `7`" in text
    assert "asc compress my-model --plan plan.json -o small" in text
    assert "cut 2 heads \\| &lt;b>and&lt;/b> a layer" in text
    assert "| 2 | 3: 1, 2, 4 | 20 |" in text
    assert "| 3 | 4: 1, 2, 3, 4 | 19 |" in text
    data = front_matter(text)
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-classification"
    assert "custom_code" in data["tags"]
    result = data["model-index"][0]["results"][0]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.8417}]
    assert result["dataset"]["split"] == "test"


def test_a_partial_measurement_says_so(tmp_path: Path) -> None:
    part = Estimate(metric="f1", value=0.5, interval=(0.4, 0.6), split="validation", examples=640, total=1000)
    assert "| validation | 640 of 1,000 |" in exported(tmp_path / "out", Card(estimate=part))


def test_no_path_of_this_machine_is_in_any_file(tmp_path: Path) -> None:
    card = Card(task="/home/someone/tasks/nli.toml", commands=["asc x"], steps=["from /home/someone/secret/a.json"])
    text = exported(tmp_path / "out", card)
    assert "nli.toml" in text
    for path in (tmp_path / "out").iterdir():
        assert b"/home/someone" not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()
    assert Plan.load(tmp_path / "out" / "plan.json").provenance.model == "my-model"


def test_addresses_are_no_paths(tmp_path: Path) -> None:
    text = exported(tmp_path / "out", Card(steps=["as in https://arxiv.org/abs/2204.09656 by A/B test, 1/2 of it"]))
    assert "https://arxiv.org/abs/2204.09656 by A/B test, 1/2 of it" in text


def test_a_hub_id_is_named_as_the_base(tmp_path: Path) -> None:
    text = exported(tmp_path / "out", source="sentence-transformers/all-MiniLM-L6-v2")
    assert front_matter(text)["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert "base_model" not in front_matter(exported(tmp_path / "local"))


def test_names_cannot_break_the_front_matter(tmp_path: Path) -> None:
    card = Card(task='x"\n---\nevil: true', estimate=ESTIMATE)
    text = exported(tmp_path / 'a "name": {with} #everything', card)
    data = front_matter(text)
    assert "evil" not in data
    assert data["model-index"][0]["name"] == 'a "name": {with} #everything'


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    text = exported(tmp_path / "out")
    assert "## Quality" not in text
    assert "No quality was measured" in text
    assert "model-index" not in text
    assert "None" not in text


def test_the_dense_card_needs_no_code(tmp_path: Path) -> None:
    encoder = tiny()
    export(encoder.cut(Plan.full(encoder.shape).drop(layer=0, head=0)), tmp_path / "out", "dense", original=encoder)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "trust_remote_code" not in text
    assert "Cut heads and neurons are zeros (" in text


def test_what_it_is_worse_at_is_on_the_card(tmp_path: Path) -> None:
    found = Changes(1000, 30, 12, (ClassChange("sad | <i>x</i>", 40, 36, 30), ClassChange("glad", 50, 40, 44)))
    text = exported(tmp_path / "out", Card(task="mood", estimate=ESTIMATE, original_estimate=BEFORE, changes=found))
    assert "decides 30 wrongly that the original decides rightly, and 12 rightly" in text
    assert "| sad \\| &lt;i>x&lt;/i> | 40 | 90.0% | 75.0% | -15.0 |" in text
    assert "glad" not in text


def test_the_front_is_drawn_where_both_were_measured(tmp_path: Path) -> None:
    costs: dict[str, Any] = {"cost": Cost(10, 5, 0.44e9, 40), "original_cost": Cost(20, 10, 0.88e9, 80)}
    text = exported(tmp_path / "out", Card(estimate=ESTIMATE, original_estimate=BEFORE, **costs))
    assert "](front.svg)" in text
    assert "](map.svg)" in text
    assert (tmp_path / "out/front.svg").read_text().count("<circle") == 2
    others = [FrontPoint("</svg><script>", kept, 0.85, (0.83, 0.87)) for kept in (0.7, 0.8, 0.9)]
    exported(tmp_path / "more", Card(estimate=ESTIMATE, front=Front("validation", others), **costs))
    picture = (tmp_path / "more/front.svg").read_text()
    assert picture.count("<circle") == 3
    assert "accuracy (validation)" in picture
    assert "<script>" not in picture
    alone = exported(tmp_path / "alone", Card(estimate=ESTIMATE, **costs))
    assert "front.svg" not in alone
    assert not (tmp_path / "alone/front.svg").exists()


def test_the_hub_reads_the_front_matter_as_it_was_meant(tmp_path: Path) -> None:
    data = ModelCard(exported(tmp_path / "a model", Card(task="demo:nli", estimate=ESTIMATE))).data
    assert data.model_name == "a model"
    (result,) = data.eval_results
    assert (result.task_type, result.dataset_name, result.dataset_split) == ("text-classification", "demo:nli", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.8417)
