"""Datasets of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asc_core.errors import UserError, first_line
from asc_core.tasks.reach import check_readme
from asc_core.tasks.sources.table import Table


def read_hub(name: str, config: str | None, split: str, revision: str | None = None) -> Table:
    """One split of a hub dataset, memory-mapped. Raises: UserError where it cannot be had."""
    import datasets

    with _HubErrors(name, config):
        _check_own_files(name, revision)
        return hub_table(
            datasets.load_dataset(name, config, split=split, revision=revision),
            f"{name}{f'/{config}' if config else ''} ({split})",
        )


def hub_splits(name: str, config: str | None, revision: str | None = None) -> tuple[str, ...]:
    """Names of the splits of a hub dataset."""
    import datasets

    with _HubErrors(name, config):
        _check_own_files(name, revision)
        return tuple(datasets.get_dataset_split_names(name, config, revision=revision))


def _check_own_files(name: str, revision: str | None) -> None:
    """The library would read whatever the README of a data set names, from this machine too. Raises: UserError."""
    if Path(name).is_dir():
        return  # looked at already
    from huggingface_hub import hf_hub_download

    try:
        readme = hf_hub_download(name, "README.md", repo_type="dataset", revision=revision)
    except Exception:  # it has none, or the library says what else is wrong
        return
    check_readme(Path(readme), name)


class _HubErrors:
    """Whatever the hub's libraries raise becomes one sentence: there is no closed list of their exceptions."""

    def __init__(self, name: str, config: str | None):
        self._title = f"{name} (config {config})" if config else name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, UserError):
            raise UserError(
                f"The dataset {self._title} could not be loaded from the hub ({type(error).__name__}: "
                f"{first_line(error)}); check the name and the network, or give local files under [data]."
            ) from None


def hub_table(dataset: Any, origin: str) -> Table:
    names: dict[str, tuple[str, ...]] = {}
    for column, feature in dataset.features.items():
        feature = getattr(feature, "feature", feature)  # a list of classes
        if getattr(feature, "names", None):
            names[column] = tuple(feature.names)
    return Table(dataset, origin, tuple(dataset.column_names), None, names)
