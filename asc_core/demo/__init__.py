"""The embedded demo: five small applications over one world of facts, no network needed.

Importing it makes `demo:NAME` a source of encoders and of tasks.
"""

from asc_core.demo.applications import ApplicationReport, applications
from asc_core.demo.encoder import demo_encoder, demo_folder
from asc_core.demo.tasks import demo_task
from asc_core.loading import SCHEMES, Scheme
from asc_core.tasks import SCHEMES as TASK_SCHEMES

SCHEMES["demo"] = Scheme(demo_encoder, demo_folder)
TASK_SCHEMES["demo"] = demo_task

__all__ = ["ApplicationReport", "applications", "demo_encoder", "demo_task"]
