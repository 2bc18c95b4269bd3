"""Where rows come from: hub datasets and local files, read only when a split is asked for."""

from asc_core.tasks.sources.file import read_file
from asc_core.tasks.sources.hub import hub_splits, read_hub
from asc_core.tasks.sources.json_file import splits_inside
from asc_core.tasks.sources.table import SPLIT_NAMES, SPLITS, FileOptions, Table

__all__ = ["SPLITS", "SPLIT_NAMES", "FileOptions", "Table", "hub_splits", "read_file", "read_hub", "splits_inside"]
