"""Where rows come from: hub datasets and local files, read only when a split is asked for."""

from asc_core.tasks.sources.file import read_file
from asc_core.tasks.sources.hub import hub_splits, read_hub
from asc_core.tasks.sources.json_file import clinc_splits
from asc_core.tasks.sources.table import SPLITS, FileOptions, Table

__all__ = ["SPLITS", "FileOptions", "Table", "clinc_splits", "hub_splits", "read_file", "read_hub"]
