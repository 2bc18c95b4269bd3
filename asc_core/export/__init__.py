"""Taking a model away: directories that others load, each reloaded and compared before it gets its name."""

from asc_core.export.card import Card
from asc_core.export.convert import convert
from asc_core.export.formats import FORMATS, Format, Written
from asc_core.export.package import ExportReport, ancestry_of, check_possible, commands_of, export
from asc_core.modeling import PACKINGS, Packing

__all__ = [
    "FORMATS",
    "PACKINGS",
    "Card",
    "ExportReport",
    "Format",
    "Packing",
    "Written",
    "ancestry_of",
    "check_possible",
    "commands_of",
    "convert",
    "export",
]
