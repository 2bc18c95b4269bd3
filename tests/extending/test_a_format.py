"""What somebody writes who adds a format of export: one class, one script, one line in the list. All else follows.

That the page offers it, too, is in tests/dashboard/views/test_pages.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import FORMATS, export
from asc_core.export.formats.format import Written
from asc_core.modeling import Packing
from asc_core.values import Plan
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.tiny import save_checkpoint, tiny

ANSWER = '''
import json, sys
from pathlib import Path
import numpy as np
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer

def load_and_answer(request):
    """A bag of words: the mean of the tokens' vectors, times a matrix."""
    folder = Path(request["folder"])
    weights, tokenizer = load_file(folder / "bag.safetensors"), AutoTokenizer.from_pretrained(folder)
    found = {}
    for j, (first, second) in enumerate(request["texts"]):
        encoded = tokenizer(first, second, truncation=True, max_length=request["max_length"],
                            return_token_type_ids=True)
        found[f"tokens.{j}"] = np.array(encoded["input_ids"])
        found[f"types.{j}"] = np.array(encoded["token_type_ids"])
    for i, batch in enumerate(request["batches"]):
        mask = np.array(batch["attention_mask"])[..., None]
        mean = (weights["vectors"][np.array(batch["input_ids"])] * mask).sum(1) / mask.sum(1)
        found[f"{i}.logits"] = (mean @ weights["matrix"]).astype(np.float32)
    return found

if __name__ == "__main__":
    save_file(load_and_answer(json.loads(Path(sys.argv[1]).read_text())), sys.argv[2])
'''


class BagOfWords:
    name = "bag"
    title = "Bag of words"
    about = "the mean of word vectors, for who needs nothing better"
    needs = ("numpy", "transformers")
    zeros = False
    tolerance = 1e3
    packings = ("float32",)

    def __init__(self, answer: Path):
        self.answer = answer

    def refuses(self, encoder: Encoder) -> str | None:
        if encoder.head == "sequence-classification":
            return None
        return "A bag of words has no order, so it can only classify texts. Export it in the compact format."

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        vectors = packing.pack(encoder.model.get_input_embeddings().weight.detach().cpu()).numpy()
        tensors = {"vectors": vectors, "matrix": np.ones((vectors.shape[1], len(encoder.labels)), vectors.dtype)}
        save_file(tensors, folder / "bag.safetensors")
        (folder / "config.json").write_text(json.dumps({"labels": encoder.labels}))
        return Written(
            sum(t.nbytes for t in tensors.values()), needs="It needs numpy.", limitations=("It knows no order.",)
        )

    def loading(self, folder: Path, name: str) -> str:
        return f"```python\nload_file({name + '/bag.safetensors'!r})\n```"


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BagOfWords:
    (tmp_path / "with_numpy.py").write_text(ANSWER)
    form = BagOfWords(tmp_path / "with_numpy.py")
    monkeypatch.setitem(FORMATS, form.name, form)
    return form


@pytest.mark.usefixtures("bag", "in_process")
def test_it_exports_with_plan_card_and_tokenizer(tmp_path: Path) -> None:
    encoder = tiny()
    plan = Plan.full(encoder.shape).drop(layer=0)
    report = export(encoder.cut(plan), tmp_path / "out", "bag", plan=plan)
    assert report.format == "bag"
    assert {"README.md", "bag.safetensors", "config.json", "plan.json", "tokenizer.json"} <= set(report.files)
    card = (tmp_path / "out/README.md").read_text()
    for line in ("It needs numpy.", "- It knows no order.", "load_file('out/bag.safetensors')"):
        assert line in card


@pytest.mark.usefixtures("bag", "in_process")
def test_its_refusal_comes_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no order"):
        export(tiny(head="token-classification"), tmp_path / "out", "bag")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("in_process")
def test_an_answer_beyond_its_tolerance_is_not_exported(bag: BagOfWords, tmp_path: Path) -> None:
    bag.tolerance = 1e-6
    with pytest.raises(UserError, match="does not answer like the one in memory"):
        export(tiny(), tmp_path / "out", "bag")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("bag")
def test_the_command_line_takes_it(tmp_path: Path) -> None:
    save_checkpoint(tiny(), tmp_path / "model")
    arguments = ["export", str(tmp_path / "model"), "--format", "bag", "-o", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["format"] == "bag"
    assert (tmp_path / "out/bag.safetensors").exists()
