"""Exports answer the same in the oldest transformers that the README names; `make setup-dev` lays it beside ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asc_core.encoder import Encoder
from asc_core.export import export
from tests.export.conftest import checked_in_process
from tests.export.test_package import half
from tests.export.test_strangers import assert_same, strangers
from tests.tiny import ARCHITECTURES, tiny

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / ".venv" / "oldest"
(OLDEST,) = re.findall(r"^transformers==(\S+)$", (ROOT / "requirements-oldest.txt").read_text(), re.MULTILINE)
NEWER = {"nomic_bert": "NomicBert", "eurobert": "EuroBert"}  # architectures that transformers 5 brought


def test_the_readme_names_the_version_that_is_tried() -> None:
    assert f"transformers {OLDEST} " in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.slow  # writes two dozen exports and starts a Python with transformers
@pytest.mark.skipif(not PACKAGES.is_dir(), reason="no oldest transformers here: `make setup-dev` installs it")
def test_every_architecture_answers_the_same_in_the_oldest_transformers(tmp_path: Path) -> None:
    exported: dict[str, tuple[Encoder, Path]] = {}
    with checked_in_process():
        for architecture in ARCHITECTURES:
            head = "intent-slots" if architecture == "distilbert" else "sequence-classification"
            for kind, at in (("compact", head), ("dense", "sequence-classification")):
                encoder = tiny(architecture, head=at)
                shallow = kind == "compact" and architecture != "albert"
                smaller = encoder.cut(half(encoder.shape, (1, 2) if shallow else None))
                name = f"{architecture} {kind}"
                exported[name] = (smaller, export(smaller, tmp_path / name, kind, original=encoder).path)
    answers = strangers("alone", exported, tmp_path, PACKAGES)
    assert answers.keys() == exported.keys()
    for name, (encoder, _) in exported.items():
        if encoder.architecture in NEWER:
            missing = NEWER[encoder.architecture] if name.endswith("compact") else encoder.architecture
            assert missing in answers[name]["error"], name
            assert "transformers" in answers[name]["error"].lower(), name
            continue
        assert "error" not in answers[name], (name, answers[name])
        assert answers[name]["transformers"] == OLDEST
        assert_same(answers[name]["output"], encoder)
        assert_same(answers[name]["saved again"], encoder)
