"""
A base model of the hub, by its id: what it has, and its download below models/base/.

Takes configuration, tokenizer and safetensors only: no pickles and no code of the
repository. Every weight file is compared with the sum that the hub states.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetuned.bases.building import OnBytes, building, growth_watched, publish
from finetuned.errors import BrokenDownload, ModelError
from finetuned.files.atomic import remove_tree, sha256_file
from finetuned.files.base_origin import BaseOrigin, write_origin
from finetuned.layout import Layout

_SMALL = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "LICENSE*",
    "NOTICE*",
)
_WEIGHTS = "model*.safetensors"
_NEEDED = ("config.json", "tokenizer.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """
    One file to download.
    """

    name: str
    bytes: int
    sha256: str | None
    """None for small files, of which the hub states no SHA-256."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HubBase:
    """
    A model of the hub at one commit, and the files of it that are taken.
    """

    hub_id: str
    revision: str
    licence: str | None
    parameters: int | None
    files: tuple[HubFile, ...]

    @property
    def name(self) -> str:
        """Of its folder below models/base/."""
        return self.hub_id.rpartition("/")[2]

    @property
    def bytes(self) -> int:
        """Of all files that are taken."""
        return sum(file.bytes for file in self.files)


def look_up(hub_id: str, revision: str | None = None) -> HubBase:
    """
    Ask the hub what *hub_id* has.

    Args:
        hub_id: OWNER/NAME.
        revision: A branch, tag or commit; None is the main branch.

    Raises:
        ModelError: There is no such model, it may not be read, or it cannot be used.
        BrokenDownload: The hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _clear_errors(hub_id):
        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
    offered = [
        HubFile(
            name=file.rfilename,
            bytes=file.size or 0,
            sha256=None if file.lfs is None else file.lfs.sha256,
        )
        for file in info.siblings or ()
    ]
    licence = getattr(info.card_data, "license", None)
    return HubBase(
        hub_id=hub_id,
        revision=str(info.sha),
        licence=licence if isinstance(licence, str) else None,
        parameters=None if info.safetensors is None else info.safetensors.total,
        files=_wanted(hub_id, offered),
    )


def _wanted(hub_id: str, offered: list[HubFile]) -> tuple[HubFile, ...]:
    """Return the files that are taken, small ones first; none in folders of the repository."""
    patterns = (*_SMALL, _WEIGHTS)
    taken = [f for f in offered if any(fnmatch.fnmatchcase(f.name, p) for p in patterns)]
    names = [file.name for file in taken]
    missing = [name for name in _NEEDED if name not in names]
    if not any(fnmatch.fnmatchcase(name, _WEIGHTS) for name in names):
        missing.append(_WEIGHTS)
    if missing:
        raise ModelError(
            f"{hub_id} has no {' and no '.join(missing)}, so it cannot be used; only causal "
            "language models with a fast tokenizer and safetensors can (pickles are never loaded)"
        )
    return tuple(sorted(taken, key=lambda file: (file.bytes, file.name)))


def fetch_hub(layout: Layout, base: HubBase, *, on_bytes: OnBytes) -> Path:
    """
    Download *base* below models/base/ and return its folder.

    If a download breaks off, the files that came whole are kept, and used if it is run again.

    Raises:
        ModelError: It is there already, or the hub refuses.
        BrokenDownload: A file did not come whole.
        Unavailable: The disk is full.
        OSError: The disk refused.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    with building(layout, base.name, needed_bytes=base.bytes, resumable=True) as folder:
        with growth_watched(folder, on_bytes), _clear_errors(base.hub_id):
            for file in base.files:
                hf_hub_download(base.hub_id, file.name, revision=base.revision, local_dir=folder)
        for file in base.files:
            _check(base, file, folder / file.name)
        remove_tree(folder / ".cache")  # what the library noted of the download
        for path in folder.iterdir():
            if path.name not in {file.name for file in base.files}:
                path.unlink()  # of another commit, fetched before the hub's moved on
        origin = BaseOrigin(source=base.hub_id, revision=base.revision, licence=base.licence)
        write_origin(folder, origin)
        return publish(layout, base.name, folder)


def _check(base: HubBase, file: HubFile, path: Path) -> None:
    found = path.stat().st_size
    if found != file.bytes:
        path.unlink()
        raise BrokenDownload(
            f"{base.hub_id}: {file.name} has {found} bytes, expected {file.bytes}; run this again"
        )
    if file.sha256 is not None and (digest := sha256_file(path)) != file.sha256:
        path.unlink()
        raise BrokenDownload(
            f"{base.hub_id}: {file.name} has sha256 {digest}, expected {file.sha256}; "
            "run this again"
        )


@contextmanager
def _clear_errors(hub_id: str) -> Iterator[None]:
    """Turn what the hub's library raises into one sentence that says what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    endpoint = constants.ENDPOINT
    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"{hub_id}: its owner wants to be asked first: accept the terms on its page, then "
            "log in with hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{hub_id}: {endpoint} has no such model, or it is private (hf auth login)"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{hub_id}: there is no such revision") from error
    except OfflineModeIsEnabled as error:
        raise ModelError(
            "HF_HUB_OFFLINE is set, so nothing is downloaded; unset it, or copy the model's folder "
            "below models/base/ by hand"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise _unreachable(hub_id, endpoint, error) from error
    except Exception as error:
        # The client of the hub's library (httpx or its successor) has an error tree of its own.
        if type(error).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise
        raise _unreachable(hub_id, endpoint, error) from error


def _unreachable(hub_id: str, endpoint: str, error: Exception) -> BrokenDownload:
    said = str(error).strip().splitlines()
    return BrokenDownload(
        f"{hub_id}: {endpoint} could not be reached, or broke off "
        f"({type(error).__name__}: {said[0][:200] if said else 'no reason'}); run this again when "
        "the network is there; files that came whole are kept"
    )
