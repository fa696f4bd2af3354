"""
Rows that users have already: exports of a table, playbooks, fine-tuning files, chat logs.

Call ``import_rows()``. A kind is a file of this folder with a reader: it yields rows with their
provenance, and refusals with their reason, and drops nothing without either.
"""

from finetuned.sources.imports.kinds import KINDS, Kind
from finetuned.sources.imports.report import Report
from finetuned.sources.imports.run import Settings, import_rows

__all__ = ["KINDS", "Kind", "Report", "Settings", "import_rows"]
