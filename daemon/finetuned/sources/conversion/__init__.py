"""
Files of other shapes, rewritten as JSON lines.

Call ``convert()``. Memory does not grow with the file; the original is only read.
"""

from finetuned.sources.conversion.convert import Conversion, convert
from finetuned.sources.conversion.row import CannotConvert

__all__ = ["CannotConvert", "Conversion", "convert"]
