"""
A second copy of a version, on another path of deletion, and the way back from it.

Real copies, never hard links: an accidental write into a version must not
reach its backup. Prune never touches models/backups/. Does not know which
versions deserve a backup.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

import structlog

from finetuned.errors import ModelError, RegistryError
from finetuned.files.atomic import fsync_dir, fsync_tree, publish_dir, write_atomic
from finetuned.files.manifest import read_manifest
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.prune import trash_path
from finetuned.registry.versions import (
    BUILDING,
    _names,
    clear_building,
    registry_lock,
    verify_folder,
    verify_version,
)

log = structlog.get_logger()
