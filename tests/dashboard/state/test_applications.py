from __future__ import annotations

from pathlib import Path

import pytest

from asc_core.errors import UserError
from asc_core.study import Study
from dashboard.state import applications


def test_a_name_is_taken_once(study: Study, tmp_path: Path) -> None:
    applications.add(study, "a", "b", "words")
    with pytest.raises(UserError, match="already an application words"):
        applications.add(study, "a", "b", "words")


def test_a_damaged_list_of_applications_is_said(study: Study) -> None:
    study.set("applications", [{"name": "x"}])
    with pytest.raises(UserError, match="damaged"):
        applications.applications_of(study)
