"""The embedded demo: five small applications over one world of facts, no network needed."""

from asc_core.demo.applications import ApplicationReport, applications
from asc_core.demo.encoder import demo_encoder
from asc_core.demo.tasks import demo_task

__all__ = ["ApplicationReport", "applications", "demo_encoder", "demo_task"]
