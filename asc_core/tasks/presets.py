"""Public benchmarks by name, as the content of the task files that one would write for them.

GLUE keeps its test labels to itself, so its validation split is the test split here and a validation split is cut
from train. `drop` leaves out rows that no annotators agreed on (SNLI) or that are empty (QQP).
"""

from __future__ import annotations

from typing import Any

_SPLITS = {"train": "train", "validation": "validation", "test": "test"}  # named, so that loading asks nobody for them


def _glue(config: str, texts: list[str], test: str = "validation", **more: Any) -> dict[str, Any]:
    kind = "pair-classification" if len(texts) == 2 else "text-classification"
    data = {"hub": "nyu-mll/glue", "config": config, "train": "train", "test": test, **more.pop("data", {})}
    return {"kind": kind, "texts": texts, "label": "label", **more, "data": data}


def _slots(config: str) -> dict[str, Any]:
    data = {"hub": "LightChen2333/OpenSLU", "config": config, "revision": "refs/convert/parquet", **_SPLITS}
    return {"kind": "intent-slots", "texts": ["text"], "label": "intent", "slots": "slot", "data": data}


PRESETS: dict[str, dict[str, Any]] = {
    "glue/sst2": _glue("sst2", ["sentence"]),
    "glue/mrpc": _glue("mrpc", ["sentence1", "sentence2"], data={"validation": "validation", "test": "test"}),
    "glue/qqp": _glue("qqp", ["question1", "question2"], data={"drop": {"question1": [""], "question2": [""]}}),
    "glue/mnli": _glue("mnli", ["premise", "hypothesis"], "validation_matched"),
    "glue/rte": _glue("rte", ["sentence1", "sentence2"]),
    "glue/stsb": _glue("stsb", ["sentence1", "sentence2"]) | {"kind": "regression"},
    "snli": {
        "kind": "pair-classification",
        "texts": ["premise", "hypothesis"],
        "label": "label",
        "data": {"hub": "stanfordnlp/snli", "drop": {"label": [-1]}, **_SPLITS},
    },
    "paws": {
        "kind": "pair-classification",
        "texts": ["sentence1", "sentence2"],
        "label": "label",
        "data": {"hub": "google-research-datasets/paws", "config": "labeled_final", **_SPLITS},
    },
    "squad": {
        "kind": "question-answering",
        "label": "answers",
        "no_answer": False,
        "data": {"hub": "rajpurkar/squad", "train": "train", "test": "validation"},
    },
    "squad_v2": {
        "kind": "question-answering",
        "label": "answers",
        "no_answer": True,
        "data": {"hub": "rajpurkar/squad_v2", "train": "train", "test": "validation"},
    },
    "clinc_oos": {
        "kind": "text-classification",
        "texts": ["text"],
        "label": "intent",
        "data": {"hub": "clinc/clinc_oos", "config": "plus", **_SPLITS},
    },
    "banking77": {
        "kind": "text-classification",
        "texts": ["text"],
        "label": "label",
        "data": {"hub": "legacy-datasets/banking77", "train": "train", "test": "test"},
    },
    "conll2003": {
        "kind": "tagging",
        "texts": ["tokens"],
        "label": "ner_tags",
        "data": {"hub": "eriktks/conll2003", "config": "conll2003", "revision": "refs/convert/parquet", **_SPLITS},
    },
    "snips": _slots("snips"),
    "atis": _slots("atis"),
}
