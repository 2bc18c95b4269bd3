"""Tokenizers of every kind come back the same beside a model type that transformers does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers

from asc_core.encoder import Encoder
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.values import Plan
from tests.tiny import tiny

pytestmark = pytest.mark.usefixtures("in_process")
TEXTS = ["the cat sat on the mat", "What is the capital of Perú?", "a film", ("how can I reset", "my password")]


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spm")
    sentences = [
        "the cat sat on the mat",
        "what is the capital of Peru",
        "a film that is never dull",
        "reset my password",
    ]
    (folder / "text.txt").write_text("\n".join(sentences * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "spm"), vocab_size=60, hard_vocab_limit=False,
        bos_id=0, pad_id=1, eos_id=2, unk_id=3, pad_piece="<pad>", minloglevel=2,
    )  # fmt: skip
    return folder / "spm.model"


def cut(architecture: str, tokenizer: Any) -> Encoder:
    encoder = tiny(architecture, vocab_size=len(tokenizer) + 4, pad_token_id=tokenizer.pad_token_id)
    encoder = Encoder(encoder.model, tokenizer, "tiny")
    return encoder.cut(Plan.full(encoder.shape).drop(layer=0, head=1))


def assert_comes_back(encoder: Encoder, folder: Path) -> None:
    export(encoder, folder, texts=TEXTS)
    again = load_encoder(folder, device="cpu").tokenizer
    assert type(again) is type(encoder.tokenizer)
    for text in TEXTS:
        pair = (text,) if isinstance(text, str) else text
        assert again(*pair)["input_ids"] == encoder.tokenizer(*pair)["input_ids"]
    assert again.model_max_length == encoder.tokenizer.model_max_length
    settings = (folder / "tokenizer_config.json").read_text()
    assert str(folder.parent) not in settings
    assert not {"name_or_path", "is_local", "local_files_only"} & set(json.loads(settings))


@pytest.mark.parametrize(
    ("architecture", "tokenizer_class", "file"),
    [
        ("xlm-roberta", "XLMRobertaTokenizer", "sentencepiece.bpe.model"),
        ("camembert", "CamembertTokenizer", "sentencepiece.bpe.model"),
        ("deberta-v2", "DebertaV2Tokenizer", "spm.model"),
        ("bert", "BertGenerationTokenizer", "spiece.model"),  # runs on the sentencepiece library itself
    ],
)
def test_sentencepiece(
    architecture: str, tokenizer_class: str, file: str, sentencepiece_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / file).write_bytes(sentencepiece_model.read_bytes())
    tokenizer = getattr(transformers, tokenizer_class).from_pretrained(tmp_path / "source", model_max_length=64)
    assert_comes_back(cut(architecture, tokenizer), tmp_path / "out")


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "electra", "mpnet", "modernbert"])
def test_wordpiece(architecture: str, tmp_path: Path) -> None:
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] <s> </s> <pad> <mask> the cat sat on mat what is capital of a film".split()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "vocab.txt").write_text("\n".join(words))
    name = "MPNetTokenizer" if architecture == "mpnet" else "BertTokenizer"
    tokenizer = getattr(transformers, name).from_pretrained(
        tmp_path / "source", model_max_length=64, do_lower_case=True
    )
    assert_comes_back(cut(architecture, tokenizer), tmp_path / "out")


def test_its_class_and_its_extra_tokens_have_the_names_that_transformers_4_knows_too(tmp_path: Path) -> None:
    encoder = tiny()
    encoder.tokenizer = encoder.tokenizer.__class__(
        tokenizer_object=encoder.tokenizer.backend_tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        additional_special_tokens=["the"],
    )
    export(encoder, tmp_path / "out", texts=TEXTS)
    settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not isinstance(settings.get("extra_special_tokens"), list)
    again = load_encoder(tmp_path / "out", device="cpu").tokenizer
    assert "the" in again.all_special_tokens


@pytest.mark.parametrize(("architecture", "types"), [("bert", True), ("albert", True), ("distilbert", False)])
def test_a_tokenizer_gives_token_types_where_the_model_takes_them(
    architecture: str, types: bool, tmp_path: Path
) -> None:
    encoder = tiny(architecture)
    assert "token_type_ids" not in encoder.tokenizer.model_input_names
    export(encoder, tmp_path / "out", texts=TEXTS)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert ("token_type_ids" in again("a film", "the cat")) == types
