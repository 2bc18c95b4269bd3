"""A task file and a data set of a stranger read what is theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from asc_core.errors import UserError
from asc_core.tasks import load_task
from asc_core.tasks.reach import check_readme, checked_dataset
from asc_core.tasks.sources import hub

TASK = 'kind = "text-classification"\ntexts = ["text"]\nlabel = "label"\n[data]\n'
ROWS = "text,label\na,x\nb,y\nc,x\nd,y\n"


def task_at(folder: Path, data: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "own.csv").write_text(ROWS)
    path = folder / "t.toml"
    path.write_text(TASK + data)
    return path


@pytest.mark.parametrize(
    "name",
    ["webhdfs://10.0.0.1/x.csv", "ftp://evil.example/x.csv", "file:///etc/passwd", "http:x.csv", "zip://a.csv::ftp:x"],
)
@pytest.mark.parametrize("confined", [True, False])
def test_an_address_is_never_followed(
    tmp_path: Path, name: str, confined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASC_REACH", "own" if confined else "")
    with pytest.raises(UserError, match="is an address"):
        load_task(task_at(tmp_path / "t", f'train = "{name}"\n')).examples("train")


@pytest.mark.parametrize("name", ["../outside.csv", "{outside}", "link.csv", "deep/../../outside.csv"])
def test_on_a_shared_server_a_task_file_reads_what_lies_beneath_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text(ROWS)
    path = task_at(tmp_path / "t", f'train = "{name.format(outside=outside)}"\n')
    (tmp_path / "t" / "link.csv").symlink_to(outside)
    (tmp_path / "t" / "deep").mkdir()
    assert load_task(path).examples("train")
    monkeypatch.setenv("ASC_REACH", "own")
    with pytest.raises(UserError, match="outside the task file's own folder"):
        load_task(path).examples("train")
    assert load_task(task_at(tmp_path / "t", 'train = "own.csv"\n')).examples("train")


@pytest.mark.parametrize(
    "files", ["/etc/passwd", "../secret.csv", "webhdfs://10.0.0.1/x", "ftp://evil.example/x", "~/x.csv", "a::ftp:x"]
)
def test_a_data_sets_readme_names_its_own_files_alone(tmp_path: Path, files: str) -> None:
    readme = tmp_path / "t" / "set" / "README.md"
    path = task_at(tmp_path / "t", 'hub = "./set"\n')
    readme.parent.mkdir()
    readme.write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: ['{files}']\n---\n"
    )
    with pytest.raises(UserError, match=r"README names .* not its own"):
        load_task(path)
    readme.write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*.csv\n---\n"
    )
    check_readme(readme, "here")


@pytest.mark.parametrize("name", ["/etc", "ftp://x/y", "a/b/c", "../x", "a b", ""])
def test_a_data_set_is_a_hub_id_or_a_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASC_REACH", "own")
    with pytest.raises(UserError):
        checked_dataset(tmp_path, name, "t.toml")
    assert checked_dataset(tmp_path, "glue", "t.toml") == "glue"
    assert checked_dataset(tmp_path, "owner/name-1.0", "t.toml") == "owner/name-1.0"


def test_the_readme_of_a_data_set_of_the_hub_is_looked_at_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import huggingface_hub

    readme = tmp_path / "README.md"
    readme.write_text("---\ndata_files: /etc/passwd\n---\n")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *args, **kwargs: str(readme))
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: pytest.fail("it was loaded"))
    with pytest.raises(UserError, match="/etc/passwd"):
        hub.read_hub("owner/evil", None, "train")
