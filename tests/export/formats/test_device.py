"""The law of the device format: what the model in memory answers, numpy answers from one file, and nothing else."""

from __future__ import annotations

import hashlib
import json
import lzma
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asc_core.checkpoint.digests import write_digests
from asc_core.encoder import HEADS, Encoder
from asc_core.errors import UserError
from asc_core.export import FORMATS, export
from asc_core.export.answer import script
from asc_core.export.answer.numpy_model import START, Damaged, Model
from asc_core.export.answer.with_numpy import batch_outputs
from asc_core.export.answer.with_onnxruntime import session_of
from asc_core.export.device_file import FILE, STRUCTURES, DeviceFile, device_file
from asc_core.export.forecast import weight_bytes
from asc_core.export.verify import verify
from asc_core.gates import gated
from asc_core.loading import load_encoder
from asc_core.modeling import PACKINGS, can_follow
from asc_core.sentences import POOLINGS, Sentences, normalized
from tests.export.bare import environment, run_in
from tests.export.conftest import checked_in_process
from tests.export.test_package import half
from tests.modeling.structures import batch_within, packed, quantized, sparse, structured
from tests.test_surgery import plans
from tests.tiny import logits, tiny
from tests.vocabulary.tokenizers_of_each_kind import TRAINED

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(encoder: Encoder, folder: Path, packing: str = "float32") -> Model:
    device_file(encoder, PACKINGS[packing]).write(folder / FILE)
    return Model(folder / FILE)


def said(model: Model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """As `tests.tiny.logits`, by numpy."""
    found = batch_outputs(model, {name: value.numpy() for name, value in inputs.items()})
    mask, names = inputs["attention_mask"].bool(), [name for name in found if name != "sentence_embedding"]
    tensors = [torch.tensor(found[name]) for name in names]
    return torch.cat([(t[mask] if t.dim() >= 2 and t.shape[:2] == mask.shape else t).flatten() for t in tensors])


@st.composite
def kinds(draw: st.DrawFn) -> list[str]:
    """Structures that the format has, in an order that is allowed."""
    found: list[str] = []
    for kind in draw(st.lists(st.sampled_from(STRUCTURES), min_size=1, max_size=4)):
        if all(can_follow(kind, before) for before in found):
            found.append(kind)
    return found


@few
@given(data=st.data(), kinds=kinds(), head=st.sampled_from([*HEADS]), packing=st.sampled_from([*PACKINGS]))
def test_any_structures_of_any_head_answer_like_the_model_in_memory(
    data: st.DataObject, kinds: list[str], head: str, packing: str, tmp_path: Path
) -> None:
    encoder = tiny(head=head)
    for kind in kinds:
        encoder = structured(data.draw, encoder, kind)
    stored = encoder.packed(packing)
    model, inputs = written(encoder, tmp_path, packing), batch_within(encoder.tokens)
    torch.testing.assert_close(said(model, inputs), logits(stored, inputs), atol=1e-4, rtol=1e-5)


@few
@given(data=st.data())
def test_any_cut_answers_like_the_gated_model(data: st.DataObject, tmp_path: Path) -> None:
    encoder, inputs = tiny(), batch_within(64)
    plan = data.draw(plans(encoder.shape))
    with gated(encoder, plan):
        expected = logits(encoder, inputs)
    torch.testing.assert_close(said(written(encoder.cut(plan), tmp_path), inputs), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("embedding_bits", [4, 8])
def test_codes_of_every_width_lie_as_they_lie_in_the_model(bits: int, embedding_bits: int, tmp_path: Path) -> None:
    names = ["word_embedding", "0.attention.self.query", "1.attention.output.dense", "2.output.dense"]
    encoder = packed(tiny(), names, bits, 7, embedding_bits)
    model, inputs = written(encoder, tmp_path), batch_within(64)
    torch.testing.assert_close(said(model, inputs), logits(encoder, inputs), atol=1e-4, rtol=1e-5)
    codes = encoder.model.base_model.encoder.layer[2].output.dense.codes
    np.testing.assert_array_equal(model.tensors["layer.2.down.codes"], codes.numpy())


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_activations_are_those_of_torch(activation: str, tmp_path: Path) -> None:
    encoder, inputs = tiny(hidden_act=activation), batch_within(64)
    torch.testing.assert_close(said(written(encoder, tmp_path), inputs), logits(encoder, inputs), atol=1e-4, rtol=1e-5)


@few
@given(data=st.data(), packing=st.sampled_from([*PACKINGS]))
def test_the_forecast_is_the_bytes_written(data: st.DataObject, packing: str, tmp_path: Path) -> None:
    """Of the weights before the cut, of the whole file before it is written."""
    encoder = tiny()
    plan = data.draw(plans(encoder.shape))
    file = device_file(encoder.cut(plan), PACKINGS[packing])
    assert file.tensor_bytes == weight_bytes(encoder, FORMATS["device"], packing, plan)
    file.write(tmp_path / FILE)
    assert file.bytes == (tmp_path / FILE).stat().st_size


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("steps", [(), (normalized,)])
def test_every_pooling_is_the_sentence_vector(pooling: str, steps: Any, tmp_path: Path) -> None:
    encoder = tiny(head="embedding")
    encoder.sentences = Sentences((pooling, "mean"), steps, prompt="who ", pools_prompt=False)
    with checked_in_process():  # compares the vectors, of a text without anything to pool, too
        report = export(encoder, tmp_path / "out", "device", packing="float32")
    assert report.max_difference < 1e-4
    encoded = encoder.tokenizer("who the cat sat", return_tensors="pt", return_token_type_ids=True)
    with torch.inference_mode():
        states = encoder.model(**encoded).last_hidden_state
    wanted = encoder.sentences.embed(
        states, encoded["attention_mask"], encoder.sentences.prompt_tokens(encoder.tokenizer)
    )
    found = Model(report.path / FILE).answer("the cat sat")["embedding"]
    torch.testing.assert_close(torch.tensor(found), wanted[0], atol=1e-4, rtol=1e-4)


def with_step() -> Encoder:
    encoder = tiny(head="embedding")
    encoder.sentences = Sentences(("mean",), (lambda x: 2 * x,))
    return encoder


REFUSED: list[tuple[Any, str]] = [
    (lambda: tiny("roberta"), "roberta's"),
    (lambda: quantized(tiny(), ["0.attention.self.query"], "dynamic"), "rounds what its matrices multiply"),
    (lambda: tiny(hidden_act="silu"), "activation 'silu'"),
    (lambda: tiny().with_model(tiny().model, tokenizer=TRAINED["unigram"]), "Unigram"),
    (lambda: sparse(tiny(), ["0.output.dense"], 0.5), "structure 'sparse'"),
    (with_step, "normalised or not"),
]


@pytest.mark.parametrize(("made", "says"), REFUSED)
def test_what_it_does_not_compute_is_refused_before_any_work(made: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says) as refused:
        export(made(), tmp_path / "out", "device")
    assert "compact format" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Path]:
    encoder = tiny(labels=["bad", "good", "other"])
    encoder = packed(encoder.cut(half(encoder.shape)), ["word_embedding", "0.output.dense"], 4, 8, 4)
    folder = tmp_path_factory.mktemp("device") / "a model"
    export(encoder, folder, "device")
    return encoder, folder


def test_the_folder_holds_what_a_device_needs_and_no_tokenizer_beside_it(exported: tuple[Encoder, Path]) -> None:
    _, folder = exported
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "answer.py", "config.json", "digests.json", "map.svg", "model.asc", "proof.json",
        "proof.safetensors", "requirements.txt",
    }  # fmt: skip
    assert (folder / "answer.py").read_text() == script("numpy_model.py").read_text()
    card = (folder / "README.md").read_text()
    for line in (
        "It needs Python 3.10 and numpy:",
        f"has {(folder / FILE).stat().st_size:,} bytes",
        'answer.py "A text."',
    ):
        assert line in card


def test_a_folder_for_a_device_is_no_checkpoint_and_says_so(exported: tuple[Encoder, Path]) -> None:
    _, folder = exported
    with pytest.raises(
        UserError, match=r"holds a model in the device format \(model\.asc\): give the checkpoint folder"
    ):
        load_encoder(folder)


def test_the_script_in_the_folder_answers_where_there_is_nothing_but_numpy(
    exported: tuple[Encoder, Path], tmp_path: Path
) -> None:
    encoder, folder = exported
    code = (
        "import importlib.util, sys\n"
        "assert not [name for name in ('torch', 'tokenizers', 'transformers', 'asc_core', 'safetensors')"
        " if importlib.util.find_spec(name)]\n"
        "sys.dont_write_bytecode = True\n"
        f"sys.path.append({str(folder)!r})\n"
        "from answer import Model\n"
        f"model = Model({str(folder / FILE)!r})\n"
        "answer = [model.answer('the cat sat'), model.answer('who is in paris ?', 'a dog')]\n"
    )
    answers = run_in(environment(tmp_path / "site", ["numpy"]), code, tmp_path)
    encoder = encoder.packed("float16")
    for answer, texts in zip(answers, [("the cat sat",), ("who is in paris ?", "a dog")], strict=True):
        with torch.inference_mode():
            encoded = encoder.tokenizer(*texts, return_tensors="pt", return_token_type_ids=True)
            shares = encoder.model(**encoded).logits[0].softmax(-1)
        assert answer["label"] == encoder.labels[int(shares.argmax())]
        assert list(answer["scores"]) == list(encoder.labels)
        assert list(answer["scores"].values()) == pytest.approx(shares.tolist(), abs=1e-4)


def test_the_command_in_the_card_prints_the_answer(exported: tuple[Encoder, Path], tmp_path: Path) -> None:
    _, folder = exported
    command = [sys.executable, str(folder / "answer.py"), "the cat sat 😀"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["label"] in ("bad", "good", "other")


ODD = [
    "",
    " ",
    "qwertz zyxwv",
    "😀👩‍👩‍👧",
    "\u0301\u200b\ufffd\U0010ffff",
    "a" * 10_000,
    "the cat sat " * 900,
    "[MASK] [SEP]",
]


@pytest.mark.parametrize("head", HEADS)
def test_odd_texts_get_an_answer_that_json_holds(head: str, tmp_path: Path) -> None:
    encoder = tiny(head=head, labels=None if head == "question-answering" else ["a", "b", "c"])
    model = written(encoder, tmp_path)
    for text in ODD:
        for second in (None, "", *ODD):
            if second is not None or head != "question-answering":
                json.dumps(model.answer(text, second), allow_nan=False)


def test_a_question_is_answered_by_a_span_of_the_context(tmp_path: Path) -> None:
    encoder = tiny(head="question-answering")
    context = "The CAT sat, on the mat. Flies from Paris to Rome!"
    answer = written(encoder, tmp_path).answer("who is in Rome ?", context)
    encoded = encoder.tokenizer("who is in Rome ?", context, return_tensors="pt", return_token_type_ids=True)
    with torch.inference_mode():
        output = encoder.model(**encoded)
    inside = [i for i, of in enumerate(encoded.encodings[0].sequence_ids) if of == 1]
    spans = [(i, j) for i in inside for j in inside if i <= j < i + 30]
    first, last = max(spans, key=lambda s: float(output.start_logits[0, s[0]] + output.end_logits[0, s[1]]))
    offsets = encoded.encodings[0].offsets
    assert answer == {
        "answer": context[offsets[first][0] : offsets[last][1]],
        "start": offsets[first][0],
        "end": offsets[last][1],
    }


def test_tags_and_slots_are_said_of_the_texts_pieces(tmp_path: Path) -> None:
    model = written(tiny(head="intent-slots", labels=["play", "go"]), tmp_path)
    answer = model.answer("Play GOOD music")
    assert answer["intent"] in ("play", "go")
    assert [slot["text"] for slot in answer["slots"]] == ["Play", "GOOD", "music"]
    assert {slot["label"] for slot in answer["slots"]} <= {"O", "B-x", "I-x"}


def test_several_labels_and_numbers_are_said_as_such(tmp_path: Path) -> None:
    several = tiny(labels=["a", "b", "c"], problem_type="multi_label_classification")
    answer = written(several, tmp_path).answer("the cat")
    assert answer["labels"] == [label for label, share in answer["scores"].items() if share > 0.5]
    assert set(written(tiny(num_labels=1), tmp_path).answer("the cat")) == {"score"}


@pytest.mark.slow
@pytest.mark.parametrize("head", ["sequence-classification", "intent-slots"])
def test_numpy_onnxruntime_and_torch_agree_on_200_requests(head: str, tmp_path: Path) -> None:
    encoder = tiny(head=head, labels=["a", "b", "c"], max_position_embeddings=80)
    encoder = encoder.cut(half(encoder.shape))
    stored = encoder.packed("float16")
    draw, words = random.Random(0), list(encoder.tokenizer.get_vocab())
    texts = [" ".join(draw.choices(words, k=draw.randint(0, 70))) for _ in range(200)]
    with checked_in_process():
        graph = session_of(export(encoder, tmp_path / "graph", "onnx", packing="float16").path)
        model = Model(export(encoder, tmp_path / "device", "device", packing="float16").path / FILE)
    names = [output.name for output in graph.get_outputs()]
    for text in texts:
        tokens = model.encoded(text)
        ids, types = (np.array([[token[part] for token in tokens]]) for part in (0, 1))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
        inputs = {wanted.name: inputs[wanted.name] for wanted in graph.get_inputs()}
        numbers, by_graph = batch_outputs(model, inputs), graph.run(names, inputs)
        with torch.inference_mode():
            in_torch = stored.model(**{name: torch.tensor(rows) for name, rows in inputs.items()})
        for name, value in zip(names, by_graph, strict=True):
            np.testing.assert_allclose(numbers[name], value, atol=1e-3)
            np.testing.assert_allclose(numbers[name], in_torch[name].numpy(), atol=1e-3)


@pytest.mark.slow
def test_verify_finds_another_model_in_the_folder(exported: tuple[Encoder, Path], tmp_path: Path) -> None:
    encoder, folder = exported
    assert verify(folder).max_difference < 1e-4
    (tmp_path / "out").mkdir()
    for path in folder.iterdir():
        (tmp_path / "out" / path.name).write_bytes(path.read_bytes())
    other = encoder.copy()
    with torch.no_grad():
        other.model.classifier.bias += 0.1
    device_file(other, PACKINGS["float16"]).write(tmp_path / "out" / FILE)
    write_digests(tmp_path / "out")
    with pytest.raises(UserError, match="does not answer like the model that was exported"):
        verify(tmp_path / "out")


def test_a_planted_wrong_weight_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = DeviceFile.write

    def write_wrong(file: DeviceFile, path: Path) -> None:
        tensors = list(file.tensors)
        tensors[3] = tensors[3] + np.float32(0.1)
        write(DeviceFile(file.header, tuple(tensors)), path)

    monkeypatch.setattr(DeviceFile, "write", write_wrong)
    with checked_in_process(), pytest.raises(UserError, match="does not answer like the one in memory"):
        export(tiny(), tmp_path / "out", "device", packing="float32")
    assert list(tmp_path.iterdir()) == []


@few
@given(data=st.data())
def test_a_file_that_broke_on_the_way_is_refused_in_one_sentence(data: st.DataObject, tmp_path: Path) -> None:
    device_file(tiny(), PACKINGS["float16"]).write(tmp_path / FILE)
    content = bytearray((tmp_path / FILE).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        content = content[:place]
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(Damaged, match=r"model\.asc is (damaged|no model of this form).*copy or download it again\.$"):
        Model(tmp_path / FILE)


def with_header(folder: Path, header: bytes) -> Path:
    """With a digest that fits: of somebody who means it."""
    DeviceFile(header, device_file(tiny(), PACKINGS["float16"]).tensors).write(folder / FILE)
    return folder / FILE


def header_of(encoder: Encoder) -> dict[str, Any]:
    return json.loads(lzma.decompress(device_file(encoder, PACKINGS["float16"]).header))


HEADER = header_of(tiny())


@pytest.mark.parametrize(
    "changes",
    [
        {"tensors": [["words.weight", "object", [2]]]},
        {"tensors": [["words.weight", "float32", [1 << 40, 1 << 40]]]},
        {"tensors": [["words.weight", "float32", [-1]]]},
        {"tensors": "x"},
        {"tokenizer": {}},
        {"matrices": {"up": {"kind": "eval"}}},
        {"order": [99]},
        {"heads": [3, 3]},
        {"activation": "system"},
        {"head": "poet"},
        {"width": 5},
        {"eps": "x"},
        {"tables": {}},
        {"norms": []},
    ],
)
def test_a_header_that_somebody_made_up_is_refused_in_one_sentence(changes: dict[str, Any], tmp_path: Path) -> None:
    header = lzma.compress(json.dumps(HEADER | changes).encode())
    with pytest.raises(Damaged, match="no model of this form"):
        Model(with_header(tmp_path, header)).answer("the cat")


@pytest.mark.parametrize(
    "header", [b"", b"x", lzma.compress(b"[" * 200_000), lzma.compress(b"[]"), lzma.compress(bytes(1 << 27))]
)
def test_a_header_that_is_none_is_refused(header: bytes, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="no model of this form"):
        Model(with_header(tmp_path, header))


def test_the_digest_is_of_all_that_follows_it(tmp_path: Path) -> None:
    device_file(tiny(), PACKINGS["float16"]).write(tmp_path / FILE)
    content = (tmp_path / FILE).read_bytes()
    assert hashlib.sha256(content[START - 4 :]).digest() == content[START - 36 : START - 4]
