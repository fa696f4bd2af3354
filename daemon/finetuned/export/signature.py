"""
The manifest of an export, signed by minisign: whoever has the public key can tell who made it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from finetuned.errors import ExportRefused
from finetuned.files.atomic import fsync_dir, fsync_file
from finetuned.layout import MANIFEST

SIGNATURE: Final = f"{MANIFEST}.minisig"


def require_signer(key: Path) -> str:
    """
    Return the path of minisign.

    Raises:
        ExportRefused: It is not on PATH, or there is no such key.
    """
    found = shutil.which("minisign")
    if found is None:
        raise ExportRefused("minisign is not on PATH: apt-get install minisign")
    if not key.is_file():
        raise ExportRefused(f"--sign {key}: no such file; minisign -G -s {key} makes a key")
    return found


def sign(key: Path, folder: Path) -> Path:
    """
    Write manifest.json.minisig beside the manifest of a finished export, and return its path.

    minisign asks for the key's password on the terminal, if the key has one.

    Raises:
        ExportRefused: minisign refused; the export is there, without a signature.
    """
    program, target = require_signer(key), folder / SIGNATURE
    building = folder / f".{SIGNATURE}.tmp"
    command = [program, "-S", "-s", str(key), "-x", str(building), "-m", str(folder / MANIFEST)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        building.unlink(missing_ok=True)
        raise ExportRefused(
            f"minisign did not sign {folder / MANIFEST}: {ended.stderr.strip()[-300:]}; the export "
            "is there without a signature"
        )
    fsync_file(building)
    building.rename(target)
    fsync_dir(folder)
    return target
