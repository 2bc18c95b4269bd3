"""A folder that was changed on the way is found out: by its hashes, and where those were made anew, by its answers."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asc_core.checkpoint.digests import DIGESTS_FILE, write_digests
from asc_core.cli import app
from asc_core.errors import UserError
from asc_core.export import FORMATS, export
from asc_core.export.proof import ANSWERS_FILE, PROOF_FILE
from asc_core.export.verify import verify
from asc_core.values import Plan
from benchmarks.corruptions import COUNT, caught, stale_tokenizer, swapped_layer, wrong_row
from tests.export.conftest import checked_in_process
from tests.tiny import tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = tiny(labels=["bad", "good", "other"])
    plan = Plan.full(encoder.shape).drop(layer=0).drop(layer=1, head=2)
    with checked_in_process():
        out = tmp_path_factory.mktemp("handed") / "over"
        return export(encoder.cut(plan), out, plan=plan, original=encoder, texts=["a secret text"]).path


@pytest.fixture
def received(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "received")


@pytest.fixture
def in_process() -> Iterator[None]:
    with checked_in_process():
        yield


def test_every_corruption_is_caught(exported: Path, tmp_path: Path) -> None:
    assert caught(exported, tmp_path, COUNT) == COUNT


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("kind", [swapped_layer, wrong_row, stale_tokenizer], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_where_digests_were_made_anew_the_answers_tell(
    kind: Callable[[Path, random.Random], None], seed: int, received: Path
) -> None:
    kind(received, random.Random(seed))
    write_digests(received)
    with pytest.raises(UserError, match="so this folder is not what was exported"):
        verify(received)


@pytest.mark.usefixtures("in_process")
def test_a_whole_folder_says_what_it_was_made_from_and_no_text_of_the_application(received: Path) -> None:
    (received / ".gitattributes").write_text("a hub's")
    found = verify(received)
    assert found.format == "compact"
    assert found.max_difference < 1e-5
    assert [stage.steps for stage in found.ancestry.stages] == [("cut by a plan",)]
    assert "secret" not in (received / PROOF_FILE).read_text()


@pytest.mark.parametrize(
    ("place", "content", "said"),
    [
        ("config.json", {"auto_map": {"AutoModel": "somebody/else--code.Model"}}, "names code of somewhere else"),
        ("tokenizer_config.json", {"auto_map": ["code.Tokenizer", None]}, "names code of somewhere else"),
    ],
)
def test_code_of_somewhere_else_is_not_run(place: str, content: dict[str, object], said: str, received: Path) -> None:
    data = json.loads((received / place).read_text()) | content
    (received / place).write_text(json.dumps(data))
    write_digests(received)
    with pytest.raises(UserError, match=said):
        verify(received)


def test_code_that_is_not_this_versions_own_is_not_run(received: Path) -> None:
    code = received / "compact.py"
    code.write_text(code.read_text() + "\nraise SystemExit('it ran')\n")
    write_digests(received)
    with pytest.raises(UserError, match=r"compact\.py is not the code .* say --run-its-code"):
        verify(received)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside"])
def test_names_that_lead_outside_are_refused(name: str, received: Path) -> None:
    path = received / DIGESTS_FILE
    data = json.loads(path.read_text())
    data["files"][name] = next(iter(data["files"].values()))
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="does not lie in this folder"):
        verify(received)


def test_a_link_is_refused(received: Path) -> None:
    (received / "plan.json").rename(received.parent / "elsewhere.json")
    (received / "plan.json").symlink_to(received.parent / "elsewhere.json")
    with pytest.raises(UserError, match="is a link to somewhere else"):
        verify(received)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / DIGESTS_FILE).unlink(), "has no digests.json"),
        (lambda f: (f / DIGESTS_FILE).write_text("{"), "is not valid JSON"),
        (lambda f: (f / DIGESTS_FILE).write_text("[]"), "does not list files"),
        (lambda f: (f / DIGESTS_FILE).write_text('{"format": "asc-digests/1", "files": {"a": 3}}'), "no size and SHA"),
    ],
)
def test_damaged_digests_are_said(change: Callable[[Path], None], said: str, received: Path) -> None:
    change(received)
    with pytest.raises(UserError, match=said):
        verify(received)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / PROOF_FILE).unlink(), "has no proof.json"),
        (lambda f: (f / PROOF_FILE).write_text("{}"), "is damaged"),
        (lambda f: (f / ANSWERS_FILE).write_bytes(b"no tensors"), "is damaged"),
        (lambda f: change_proof(f, form="bag"), "is of the format 'bag'"),
        (lambda f: change_proof(f, request={"auto": "pipeline", "trust_remote_code": False}), "asks for the class"),
    ],
)
def test_damaged_proofs_are_said(change: Callable[[Path], None], said: str, received: Path) -> None:
    change(received)
    write_digests(received)
    with pytest.raises(UserError, match=said):
        verify(received)


def change_proof(folder: Path, **values: object) -> None:
    data = json.loads((folder / PROOF_FILE).read_text()) | values
    (folder / PROOF_FILE).write_text(json.dumps(data))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_the_command_line_verifies_every_format_in_a_fresh_process(form: str, tmp_path: Path) -> None:
    if form == "openvino" and find_spec("openvino") is None:
        pytest.skip("openvino is an extra (requirements-openvino.txt) and not installed here")
    encoder = tiny(head="embedding")
    plan = Plan.full(encoder.shape).drop(layer=0)
    with checked_in_process():
        export(encoder.cut(plan), tmp_path / "out", form, plan=plan)
    arguments = ["verify", str(tmp_path / "out"), "--json"]
    if form == "torch-export":
        refused = CliRunner().invoke(app, arguments)
        assert refused.exit_code == 2
        assert "--run-its-code" in refused.output
        arguments.append("--run-its-code")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["format"] == form
    assert said["steps"] == ["cut by a plan"]
    assert said["max_difference"] < 1e-4
