"""
models/serving/keys.json: the keys of the service, as salted hashes.

One author, ``finetuned keys``, under a lock; the gateway reads it again when it has changed. The
secret of a key is in no file: it is returned once, when it is made. When a key was last used is
kept apart (files/key_use.py), so that checking a key writes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from finetuned.core.access import DEFAULT_TIER, Scope
from finetuned.core.record import from_json, to_json
from finetuned.errors import RecordError, RegistryError
from finetuned.files.atomic import write_atomic
from finetuned.files.lock import held
from finetuned.layout import Layout

PREFIX = "ft"
"""What a key begins with, so that it is recognised in a text that it does not belong in."""
ID_LENGTH = 8
SECRET_BYTES = 32
SALT_BYTES = 16
MAX_FILE_BYTES = 1 << 24
"""Longest list of keys that is read: some 50,000 keys."""
WAIT_SECONDS = 10.0
"""For another command that changes the list."""

_KEY = re.compile(rf"{PREFIX}_([0-9a-f]{{{ID_LENGTH}}})_([A-Za-z0-9_-]{{20,100}})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""What time_text() returns."""


def time_text(seconds: float) -> str:
    """
    Return a time as RFC 3339 UTC with milliseconds; of two such texts the later sorts last.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """
    One key, as the file has it. Times are what time_text() returns.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    tier: str
    created: str
    salt: str
    """Random, in hex."""
    hash: str
    """HMAC-SHA-256 of the secret under the salt, in hex."""
    expires: str | None = None
    revoked: str | None = None
    """From when on it opens nothing; may lie ahead, if it was rotated with a time to change."""

    def state(self, now: str) -> str:
        """
        Return ``live``, ``ending`` (live until *revoked*), ``expired`` or ``revoked``.
        """
        if self.revoked is not None and self.revoked <= now:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        return "live" if self.revoked is None else "ending"

    def matches(self, secret: str) -> bool:
        """
        Return whether *secret* is this key's, in a time that does not depend on where it differs.
        """
        return hmac.compare_digest(self.hash, hashed(self.salt, secret))


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyList:
    """
    The whole file.
    """

    version: int = 1
    keys: tuple[Key, ...] = ()

    def named(self, name: str, now: str) -> Key:
        """
        Return the key with this id, else the live one with this name.

        Raises:
            RegistryError: There is none.
        """
        for key in self.keys:
            if key.id == name:
                return key
        for key in self.keys:
            if key.name == name and key.state(now) == "live":
                return key
        raise RegistryError(
            f"no key has the id {name!r}, and no live one the name; finetuned keys list shows them"
        )


def hashed(salt: str, secret: str) -> str:
    """
    Return what the file keeps of a secret.

    One round is enough: a secret has 256 random bits, so that nobody can try them all, unlike
    the passwords for which slow hashes were made.
    """
    return hmac.new(bytes.fromhex(salt), secret.encode(), hashlib.sha256).hexdigest()


def split_key(text: str) -> tuple[str, str] | None:
    """
    Return the id and the secret of a key as its owner has it, None if it is none of ours.
    """
    found = _KEY.fullmatch(text)
    return None if found is None else (found[1], found[2])


def keys_file(layout: Layout) -> Path:
    """
    Return where the keys of a root are.
    """
    return layout.serving / "keys.json"


def read_keys(layout: Layout) -> KeyList:
    """
    Return the keys of a root; none if there is no file.

    Raises:
        RecordError: The file is not what this program writes.
        OSError: It cannot be read.
    """
    path = keys_file(layout)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return KeyList()
    if len(data) > MAX_FILE_BYTES:
        raise RecordError(str(path), "", f"longer than {MAX_FILE_BYTES} bytes")
    try:
        found = from_json(KeyList, orjson.loads(data), source=path)
    except orjson.JSONDecodeError as error:
        raise RecordError(str(path), "", f"is not JSON ({error})") from None
    _check(path, found)
    return found


def _check(path: Path, found: KeyList) -> None:
    """Refuse values with which a check would be wrong, not only fail."""
    if found.version != 1:
        raise RecordError(str(path), "version", f"found {found.version}, this program reads 1")
    if len({key.id for key in found.keys}) != len(found.keys):
        raise RecordError(str(path), "keys", "two keys have one id")
    for place, key in enumerate(found.keys):
        where = f"keys[{place}]"
        for name in ("created", "expires", "revoked"):
            value = getattr(key, name)
            if value is not None and not TIME.fullmatch(value):
                raise RecordError(str(path), f"{where}.{name}", f"{value!r} is no time in UTC")
        if not re.fullmatch(r"[0-9a-f]{32}", key.salt) or not re.fullmatch(
            r"[0-9a-f]{64}", key.hash
        ):
            raise RecordError(str(path), where, "salt or hash is not hexadecimal of its length")
        if not re.fullmatch(rf"[0-9a-f]{{{ID_LENGTH}}}", key.id):
            raise RecordError(str(path), f"{where}.id", f"expected {ID_LENGTH} hex digits")


def _make(name: str, scopes: tuple[Scope, ...], tier: str, now: str) -> tuple[Key, str]:
    """Return a new key, and the text that its owner gets."""
    key_id, secret = secrets.token_hex(ID_LENGTH // 2), secrets.token_urlsafe(SECRET_BYTES)
    salt = secrets.token_hex(SALT_BYTES)
    key = Key(
        id=key_id,
        name=name,
        scopes=scopes,
        tier=tier,
        created=now,
        salt=salt,
        hash=hashed(salt, secret),
    )
    return key, f"{PREFIX}_{key_id}_{secret}"


def create_key(
    layout: Layout,
    name: str,
    *,
    now: float,
    scopes: tuple[Scope, ...] = (Scope.ASK, Scope.FEEDBACK),
    tier: str = DEFAULT_TIER,
    seconds: float | None = None,
) -> tuple[Key, str]:
    """
    Make a key, durably.

    Args:
        layout: Of the root.
        name: Who it is for: letters, digits and ``._@-``, at most 64.
        now: Seconds since 1970.
        scopes: What it opens.
        tier: How much it may use.
        seconds: How long it is good; None is for ever.

    Returns:
        The key as it is kept, and the text that opens, which is nowhere else.

    Raises:
        RegistryError: The name is taken or cannot be one; nothing was written.
        OSError: The disk refused.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(
            f"{name!r} cannot name a key: expected 1 to 64 of the letters A-Z and a-z, digits, "
            "and . _ @ -, beginning with a letter or digit"
        )
    if not scopes:
        raise RegistryError(f"key {name!r} would open nothing; name at least one scope")
    moment = time_text(now)
    made, text = _make(name, tuple(dict.fromkeys(scopes)), tier, moment)
    if seconds is not None:
        made = replace(made, expires=time_text(now + seconds))

    def add(old: KeyList) -> KeyList:
        if any(key.name == name and key.state(moment) == "live" for key in old.keys):
            raise RegistryError(
                f"there is a live key {name!r} already: choose another name, or make a new "
                f"secret for it with finetuned keys rotate {name}"
            )
        return replace(old, keys=(*old.keys, made))

    _change(layout, add)
    return made, text


def revoke_key(layout: Layout, name: str, *, now: float) -> Key:
    """
    Let a key open nothing from *now* on, durably; one that is revoked already stays as it is.

    Raises:
        RegistryError: There is no such key.
        OSError: The disk refused.
    """
    moment = time_text(now)
    ended: list[Key] = []

    def end(old: KeyList) -> KeyList:
        key = old.named(name, moment)
        ended.append(key if key.state(moment) == "revoked" else replace(key, revoked=moment))
        return _put(old, ended[-1])

    _change(layout, end)
    return ended[-1]


def rotate_key(
    layout: Layout, name: str, *, now: float, grace_seconds: float = 0.0
) -> tuple[Key, Key, str]:
    """
    Make a new key with the name, scopes, tier and expiry of an old one, and end the old one.

    Args:
        layout: Of the root.
        name: Id or name of a live key.
        now: Seconds since 1970.
        grace_seconds: How long the old one still opens, >= 0.

    Returns:
        The old key, the new one, and its text.

    Raises:
        RegistryError: There is no such key, or it is not live.
        OSError: The disk refused.
    """
    moment = time_text(now)
    found: list[tuple[Key, Key, str]] = []

    def turn(old: KeyList) -> KeyList:
        key = old.named(name, moment)
        if key.state(moment) != "live":
            raise RegistryError(
                f"key {key.id} ({key.name}) is {key.state(moment)} and is not rotated; "
                f"make a new one with finetuned keys create"
            )
        made, text = _make(key.name, key.scopes, key.tier, moment)
        made = replace(made, expires=key.expires)
        ending = replace(key, revoked=time_text(now + grace_seconds))
        found.append((ending, made, text))
        put = _put(old, ending)
        return replace(put, keys=(*put.keys, made))

    _change(layout, turn)
    return found[-1]


def _put(old: KeyList, changed: Key) -> KeyList:
    return replace(old, keys=tuple(changed if k.id == changed.id else k for k in old.keys))


def _change(layout: Layout, change: Callable[[KeyList], KeyList]) -> None:
    """Replace the file by what *change* makes of it, as the only one that does."""
    layout.serving.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held(layout.serving / ".keys.lock", wait_seconds=WAIT_SECONDS):
        new = change(read_keys(layout))
        data = orjson.dumps(to_json(new), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        write_atomic(keys_file(layout), data, mode=0o600)


def file_stamp(layout: Layout) -> tuple[int, int, int] | None:
    """
    Return what changes whenever the list of keys is replaced; None if there is no list.

    Raises:
        OSError: It cannot be looked at.
    """
    try:
        found = os.stat(keys_file(layout))
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
