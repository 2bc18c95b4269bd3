"""A push sends what was exported, nothing else, to a stand-in of the hub; what keeps it from that is one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.errors import UserError
from asc_core.export import export, push
from asc_core.loading import load_encoder
from asc_core.values import Plan
from tests.export.conftest import checked_in_process
from tests.export.hub_stand_in import TOKEN, Hub, hub_on_loopback
from tests.tiny import tiny

ONE_SENTENCE = r"\A[^\n]+\.\Z"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = tiny()
    with checked_in_process():
        smaller = encoder.cut(Plan.full(encoder.shape).drop(layer=0))
        return export(smaller, tmp_path_factory.mktemp("models") / "small", "weights-only").path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_on_loopback() as running:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


def run(*arguments: object) -> Any:
    with checked_in_process():
        return CliRunner().invoke(app, ["push", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_yes_nothing_is_sent_and_all_is_said(exported: Path, hub: Hub) -> None:
    result = run(exported, "me/small")
    assert result.exit_code == 0, result.output
    assert "Nothing was sent: say --yes." in result.output
    for name in contents(exported):
        assert name in result.output
    assert hub.asked == []


def test_all_that_was_exported_arrives_in_a_private_repository(exported: Path, hub: Hub, tmp_path: Path) -> None:
    hidden = shutil.copytree(exported, tmp_path / "small")
    (hidden / ".env").write_text("a secret")  # hidden files are no part of an export
    result = run(hidden, "me/small", "--yes", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["sent"]
    assert said["address"] == f"{hub.address}/me/small"
    assert hub.repositories == {"me/small": True}
    assert hub.files == contents(exported)
    received = tmp_path / "received"
    for name, content in hub.files.items():
        (received / name).parent.mkdir(parents=True, exist_ok=True)
        (received / name).write_bytes(content)
    assert load_encoder(received, device="cpu").weights == load_encoder(exported, device="cpu").weights


def test_public_only_where_that_is_said(exported: Path, hub: Hub) -> None:
    assert run(exported, "me/small", "--yes", "--public").exit_code == 0
    assert hub.repositories == {"me/small": False}


def test_a_repository_that_is_there_is_not_written_into_unasked(exported: Path, hub: Hub) -> None:
    hub.repositories["me/small"] = True
    result = run(exported, "me/small", "--yes")
    assert result.exit_code == 2
    assert "is there already: choose another name, or say --overwrite" in result.output
    assert hub.files == {}
    assert run(exported, "me/small", "--yes", "--overwrite").exit_code == 0
    assert hub.files == contents(exported)


def test_what_should_be_private_does_not_go_into_a_public_repository(exported: Path, hub: Hub) -> None:
    hub.repositories["me/small"] = False
    result = run(exported, "me/small", "--yes", "--overwrite")
    assert result.exit_code == 2
    assert "is there and public" in result.output
    assert hub.files == {}


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "does not know this token"), (403, "may not write"), (500, "the hub says 500"), (400, "the hub says 400")],
)
def test_what_the_hub_refuses_is_one_sentence(status: int, says: str, exported: Path, hub: Hub) -> None:
    hub.answer_with = status
    with pytest.raises(UserError, match=ONE_SENTENCE) as refused:
        push.push(push.sending(exported, "me/small"))
    assert says in str(refused.value)


def test_a_wrong_token_is_one_sentence(exported: Path, hub: Hub) -> None:
    with pytest.raises(UserError, match="does not know this token: `hf auth login` again"):
        push.push(push.sending(exported, "me/small"), token="hf_wrong")


def test_no_token_no_network_and_offline_are_one_sentence(
    exported: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = push.sending(exported, "me/small")
    with pytest.raises(UserError, match="cannot be reached: nothing was sent"):
        push.push(planned, endpoint="http://127.0.0.1:1")
    monkeypatch.setattr(push, "get_token", lambda: None)
    with pytest.raises(UserError, match="no token for the hub here"):
        push.push(planned)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="switched off here"):
        push.push(planned, token=TOKEN)
    assert hub.asked == []


def test_a_folder_that_was_changed_is_not_sent(exported: Path, hub: Hub, tmp_path: Path) -> None:
    changed = shutil.copytree(exported, tmp_path / "small")
    (changed / "plan.txt").write_text("added")
    assert "does not name" in run(changed, "me/small", "--yes").output
    (changed / "plan.txt").unlink()
    (changed / "config.json").write_text("{}")
    result = run(changed, "me/small", "--yes")
    assert result.exit_code == 2
    assert "when it was written" in result.output
    assert hub.asked == []


@pytest.mark.parametrize("name", ["", "../x", "a/b/c", "me/sm all", "me/a--b", "-x/y", "me/" + "x" * 97])
def test_names_that_no_repository_has(name: str, exported: Path) -> None:
    with pytest.raises(UserError, match="is no name of a repository"):
        push.sending(exported, name)
