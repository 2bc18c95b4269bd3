"""`asc serve` says which servers take a folder, by their documentation, and where none does."""

from __future__ import annotations

import json
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import FORMATS, export
from asc_core.export.servers import serving
from asc_core.values import Plan
from tests.tiny import tiny

pytestmark = pytest.mark.usefixtures("in_process")


def cut(architecture: str = "bert", head: str = "embedding") -> Encoder:
    encoder = tiny(architecture, head=head)
    return encoder.cut(Plan.full(encoder.shape).drop(layer=0, head=1))


def served(folder: Path, form: str, encoder: Encoder | None = None) -> list[str]:
    return [server.name for server in serving(export(encoder or cut(), folder, form).path).servers]


def test_a_graph_has_servers_and_their_lines_name_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "a model; rm -rf $HOME"
    assert served(folder, "onnx") == ["Triton Inference Server", "OpenVINO Model Server", "ONNX Runtime Server"]
    for server in serving(folder).servers:
        copied, started = server.lines
        words = shlex.split(copied)
        assert str(folder / "model.onnx") in words
        assert words[-1] == "models/a-model-rm--rf-HOME/1/"
        assert "models" in started
        assert server.page.startswith("https://")
    assert "tokenizer.json" in serving(folder).why


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is an extra and not installed here")
def test_openvino_has_its_model_server(tmp_path: Path) -> None:
    assert served(tmp_path / "out", "openvino") == ["OpenVINO Model Server"]


@pytest.mark.parametrize(
    ("architecture", "head", "servers"),
    [
        ("bert", "embedding", ["text-embeddings-inference"]),
        ("modernbert", "embedding", ["text-embeddings-inference"]),
        ("roberta", "sequence-classification", ["text-embeddings-inference"]),
        ("bert", "token-classification", []),
        ("deberta-v2", "embedding", []),
    ],
)
def test_dense_has_one_where_its_class_is_documented(
    architecture: str, head: str, servers: list[str], tmp_path: Path
) -> None:
    assert served(tmp_path / "out", "dense", cut(architecture, head)) == servers
    assert bool(serving(tmp_path / "out").why) is not bool(servers)


def test_pooling_that_is_assumed_is_said(tmp_path: Path) -> None:
    export(cut(), tmp_path / "assumed", "dense")
    (server,) = serving(tmp_path / "assumed").servers
    assert server.lines[0].endswith("--pooling mean")
    assert "assumed" in server.note


@pytest.mark.parametrize("form", ["compact", "weights-only", "torch-export"])
def test_what_no_server_takes_is_said_with_the_way_out(form: str, tmp_path: Path) -> None:
    assert served(tmp_path / "out", form) == []
    assert "export it in the onnx" in serving(tmp_path / "out").why


def test_an_uncut_model_is_an_ordinary_checkpoint(tmp_path: Path) -> None:
    assert served(tmp_path / "out", "weights-only", tiny(head="embedding")) == ["text-embeddings-inference"]


def test_every_format_is_spoken_of(tmp_path: Path) -> None:
    for form in FORMATS:
        if form != "openvino" or find_spec("openvino") is not None:
            export(cut(), tmp_path / form, form)
            found = serving(tmp_path / form)
            assert found.servers or found.why


def test_the_command_line_prints_them_or_one_object(tmp_path: Path) -> None:
    export(cut(), tmp_path / "out", "dense")
    shown = CliRunner().invoke(app, ["serve", str(tmp_path / "out")])
    assert "docker run -p 8080:80" in shown.output
    said = json.loads(CliRunner().invoke(app, ["serve", str(tmp_path / "out"), "--json"]).stdout)
    assert said["format"] == "dense"
    assert said["servers"][0]["name"] == "text-embeddings-inference"


def test_a_folder_of_somewhere_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was not written by `asc export`"):
        serving(tmp_path)
