"""A folder that was tampered with is refused by `asc verify` and by the loader, in one sentence; nothing of it runs."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from asc_core.checkpoint.digests import DIGESTS_FILE, check_loadable, write_digests
from asc_core.errors import UserError
from asc_core.export.verify import verify
from asc_core.loading import load_encoder
from benchmarks.corruptions import COUNT, KINDS, changed_plan, stale_tokenizer, swapped_layer, wrong_row
from tests.export.test_verify import exported, received  # noqa: F401 (fixtures)

FOR_PEOPLE = {"README.md", "map.svg"}
ONE_SENTENCE = r"\A[^\n]+\.\Z"


def pickled(place: Path) -> bytes:
    """What runs when it is unpickled, written by hand: no pickle is written here."""
    return b"cposix\nmkdir\n(V" + str(place).encode() + b"\ntR."


def pickled_weights(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickled(folder / "ran"))


def pickle_called_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickled(folder / "ran"))


def pickle_alone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    pickled_weights(folder)


def code(folder: Path) -> None:
    (folder / "compact.py").write_text("import pathlib; pathlib.Path(__file__).with_name('ran').mkdir()")


def more_code(folder: Path) -> None:
    (folder / "tokenization.py").write_text("raise SystemExit")


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "../elsewhere"}))


def more_tokens(folder: Path) -> None:
    (folder / "added_tokens.json").write_text(json.dumps({"the": 3}))


def steps(folder: Path) -> None:
    (folder / "modules.json").write_text("[]")


def lost_configuration(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()


def seeded(change: Callable[[Path, random.Random], None]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        change(folder, random.Random(0))

    changed.__name__ = change.__name__
    return changed


CHANGES: tuple[Callable[[Path], None], ...] = (
    *map(seeded, (changed_plan, swapped_layer, wrong_row, stale_tokenizer)),
    pickled_weights, pickle_called_safetensors, pickle_alone, code, more_code, adapter, more_tokens, steps,
    lost_configuration,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_verify_and_loader_refuse_what_was_changed(change: Callable[[Path], None], received: Path) -> None:  # noqa: F811
    load_encoder(received, device="cpu")
    change(received)
    for refuses in (verify, load_encoder):
        with pytest.raises(UserError, match=ONE_SENTENCE):
            refuses(received)
    assert not (received / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [pickle_called_safetensors, pickle_alone, code, pickled_weights], ids=lambda change: change.__name__
)
def test_where_digests_were_made_anew_nothing_runs_all_the_same(
    change: Callable[[Path], None],
    received: Path,  # noqa: F811
) -> None:
    change(received)
    write_digests(received)
    for refuses in (verify, load_encoder):
        with suppress(UserError):
            refuses(received)
    assert not (received / "ran").exists()


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hosts"])
def test_an_index_cannot_lead_outside(name: str, received: Path) -> None:  # noqa: F811
    (received / "model.safetensors").rename(received.parent / "outside.safetensors")
    shutil.copy(received / "proof.safetensors", received / "model-1.safetensors")
    (received / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    write_digests(received)
    with pytest.raises(UserError, match="does not lie in this folder"):
        load_encoder(received, device="cpu")


def test_digests_cannot_lead_outside(received: Path) -> None:  # noqa: F811
    path = received / DIGESTS_FILE
    data = json.loads(path.read_text())
    data["files"]["../secret"] = data["files"].pop("config.json")
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="does not lie in this folder"):
        load_encoder(received, device="cpu")


def test_the_loader_catches_every_corruption_of_what_it_reads(exported: Path, tmp_path: Path) -> None:  # noqa: F811
    before, looked = contents(exported), 0
    not_fetched = {*FOR_PEOPLE, "proof.safetensors", *(path.name for path in exported.glob("*.py"))}
    for seed in range(COUNT):
        folder = shutil.copytree(exported, tmp_path / "received")
        KINDS[seed % len(KINDS)](folder, random.Random(seed))
        changed = {name for name, _ in before ^ contents(folder)}
        lost = {name for name in changed if not (folder / name).exists()}
        if changed <= FOR_PEOPLE or lost == changed <= not_fetched:
            check_loadable(folder)  # people read the one; a hub's folder is fetched without the others
        else:
            looked += 1
            with pytest.raises(UserError, match=ONE_SENTENCE):
                check_loadable(folder)
        shutil.rmtree(folder)
    assert looked > 0.8 * COUNT


def contents(folder: Path) -> set[tuple[str, bytes]]:
    return {(path.name, path.read_bytes()) for path in folder.iterdir()}


def test_a_folder_as_a_hub_hands_it_out_loads(received: Path, tmp_path: Path) -> None:  # noqa: F811
    """Links into a cache, without code and card."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in (*received.glob("*.json"), received / "model.safetensors"):
        (snapshot / path.name).symlink_to(path)
    load_encoder(snapshot, device="cpu")


def test_who_changed_a_folder_on_purpose_is_told_the_way(received: Path) -> None:  # noqa: F811
    config = json.loads((received / "config.json").read_text())
    config["id2label"]["0"] = "poor"
    (received / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"where you changed it yourself, remove {DIGESTS_FILE}"):
        load_encoder(received, device="cpu")
    (received / DIGESTS_FILE).unlink()
    assert load_encoder(received, device="cpu").labels[0] == "poor"
