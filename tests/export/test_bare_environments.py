"""Where nothing but what a folder asks for is installed, it answers like the model in memory, number by number."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from asc_core import modeling
from asc_core.encoder import HEADS, Encoder
from asc_core.export import FORMATS, export
from tests.export.bare import environment, run_in
from tests.export.conftest import checked_in_process
from tests.export.test_package import half
from tests.tiny import tiny

pytestmark = pytest.mark.slow  # each starts a Python or two, in an environment of its own

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is an extra (requirements-openvino.txt) and not installed here"
)
TEXTS = [("the cat sat on the mat",), ("who is in paris ?", "the dog ran to rome ."), ("?",), ("zzz qqq",)]
ABSENT = ("onnxruntime", "openvino", "torch", "transformers", "asc_core", "onnx", "onnxscript", "streamlit", "peft")
OUTPUTS = {
    "onnx": "[value.tolist() for value in found['outputs']]",
    "openvino": "[found['said'][output].tolist() for output in found['model'].outputs]",
    "torch-export": "[value.tolist() for value in found['outputs']]",
}
CASES = {
    "bert": ("bert", "sequence-classification"),
    "embeddings": ("mpnet", "embedding"),
}


def cut(architecture: str, head: str) -> Encoder:
    encoder = tiny(architecture, head=head)
    return encoder.cut(half(encoder.shape))


def in_memory(encoder: Encoder, text: tuple[str, ...]) -> list[torch.Tensor]:
    encoded = encoder.tokenizer(*text, return_tensors="pt", return_token_type_ids=encoder.type_vocab_size > 1)
    with torch.inference_mode():
        said = encoder.model(**encoded)
    return [value for value in said.values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("form", ["onnx", pytest.param("openvino", marks=needs_openvino), "torch-export"])
def test_an_example_needs_what_its_requirements_name_and_nothing_else(form: str, tmp_path: Path) -> None:
    encoders = {name: cut(*case) for name, case in CASES.items()}
    with checked_in_process():
        folders = [export(encoder, tmp_path / name, form).path for name, encoder in encoders.items()]
    asked = [line.partition("==")[0] for line in (folders[0] / "requirements.txt").read_text().split()]
    assert set(asked) == {*FORMATS[form].needs}
    gone = [name for name in ABSENT if name not in asked]
    code = (
        "import importlib.util, runpy\n"
        f"assert not [name for name in {gone!r} if importlib.util.find_spec(name)]\n"
        "answer = []\n"
        f"for folder in {[str(folder) for folder in folders]!r}:\n"
        f"    for text in {TEXTS!r}:\n"
        "        sys.argv[1:] = text\n"
        "        found = runpy.run_path(folder + '/example.py')\n"
        f"        answer.append({OUTPUTS[form]})\n"
    )
    answers = iter(run_in(environment(tmp_path / "site", asked), code, tmp_path))
    for encoder in encoders.values():
        for text in TEXTS:
            for value, wanted in zip(next(answers), in_memory(encoder, text), strict=False):
                torch.testing.assert_close(torch.tensor(value), wanted, atol=1e-4, rtol=0)


def test_torch_alone_loads_a_program_and_answers_ids(tmp_path: Path) -> None:
    encoder = cut("bert", "sequence-classification")
    with checked_in_process():
        folder = export(encoder, tmp_path / "model", "torch-export").path
    encoded = encoder.tokenizer("the cat sat", return_token_type_ids=True)
    rows = [[encoded[name]] for name in ("input_ids", "attention_mask", "token_type_ids")]
    code = (
        "import importlib.util, torch\n"
        "assert not [n for n in ('transformers', 'tokenizers', 'asc_core') if importlib.util.find_spec(n)]\n"
        f"program = torch.export.load({str(folder / 'model.pt2')!r})\n"
        f"answer = program.module()(*(torch.tensor(row) for row in {rows!r}))[0].tolist()\n"
    )
    answer = run_in(environment(tmp_path / "site", ["torch"]), code, tmp_path)
    (wanted,) = in_memory(encoder, ("the cat sat",))
    torch.testing.assert_close(torch.tensor(answer), wanted, atol=1e-4, rtol=0)


def vetted(folder: Path) -> Path:
    """The code that builds models, as somebody installs it who has read it once."""
    (folder / "vetted").mkdir()
    for name, source in modeling.sources().items():
        (folder / "vetted" / name).write_text(source)
    return folder / "vetted"


LOADED = """
import importlib.util, torch, transformers
assert not importlib.util.find_spec('asc_core') and not importlib.util.find_spec('onnxruntime')
{before}
model = transformers.{auto}.from_pretrained({folder!r}{trust}).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained({folder!r}{trust})
answer = []
for text in {texts!r}:
    with torch.inference_mode():
        said = model(**tokenizer(*text, return_tensors='pt'))
    answer.append([value.tolist() for value in said.values()])
"""


@pytest.mark.parametrize(("form", "case"), [("compact", "bert"), ("dense", "bert"), ("weights-only", "embeddings")])
def test_torch_and_transformers_load_a_checkpoint(form: str, case: str, tmp_path: Path) -> None:
    """Weights alone load there, too, where the files of `asc_core/modeling` are installed as a package of any name."""
    encoder = cut(*CASES[case])
    with checked_in_process():
        folder = export(encoder, tmp_path / "model", form).path
    alone = form == "weights-only"
    code = LOADED.format(
        before="from vetted.compact import register; register()" if alone else "",
        auto=HEADS[CASES[case][1]],
        folder=str(folder),
        trust=", trust_remote_code=True" if form == "compact" else "",
        texts=TEXTS,
    )
    extra = [vetted(tmp_path)] if alone else []
    answers = run_in(environment(tmp_path / "site", ["torch", "transformers"], extra), code, tmp_path)
    for text, answer in zip(TEXTS, answers, strict=True):
        for value, wanted in zip(answer, in_memory(encoder, text), strict=True):
            torch.testing.assert_close(torch.tensor(value), wanted, atol=1e-4, rtol=0)
