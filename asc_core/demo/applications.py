"""The embedded applications with what was measured of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from asc_core.demo.encoder import ADAPTERS
from asc_core.demo.generator import APPLICATIONS


@dataclass(frozen=True)
class ApplicationReport:
    """One embedded application and what was measured of it; report is None before it was trained."""

    name: str
    kind: str
    description: str
    report: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "description": self.description, "report": self.report}


def applications() -> list[ApplicationReport]:
    """All embedded applications with their measured figures."""
    found = []
    for application in APPLICATIONS.values():
        path = ADAPTERS / application.name / "report.json"
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        found.append(ApplicationReport(application.name, application.kind, application.description, report))
    return found
