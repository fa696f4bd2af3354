"""
models/serving/keys.json: what it holds, and what it must never hold.
"""

from __future__ import annotations

import threading
from pathlib import Path

import orjson
import pytest

from finetuned.core.access import Scope
from finetuned.errors import RecordError, RegistryError
from finetuned.files.key_use import read_last_use, write_last_use
from finetuned.files.keys import (
    KeyList,
    create_key,
    file_stamp,
    keys_file,
    read_keys,
    revoke_key,
    rotate_key,
    split_key,
    time_text,
)
from finetuned.layout import Layout

NOW = 1_800_000_000.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_key_matches_its_own_text_only(layout: Layout) -> None:
    """
    And its text is in no file of the root.
    """
    key, text = create_key(layout, "alice", now=NOW)
    other, _ = create_key(layout, "bob", now=NOW)
    parts = split_key(text)

    assert parts is not None
    assert key.id == parts[0]
    assert key.matches(parts[1])
    assert not other.matches(parts[1])
    assert (key, other) == read_keys(layout).keys
    files = [p for p in layout.root.rglob("*") if p.is_file()]
    assert files
    assert [] == [p for p in files if parts[1].encode() in p.read_bytes()]


def test_only_the_owner_may_look(layout: Layout) -> None:
    """
    Whatever the umask is.
    """
    create_key(layout, "alice", now=NOW)

    assert 0o600 == keys_file(layout).stat().st_mode & 0o777
    assert 0o700 == layout.serving.stat().st_mode & 0o777


def test_two_keys_of_one_secret_would_have_two_hashes(layout: Layout) -> None:
    """
    Each has its salt.
    """
    first, _ = create_key(layout, "a", now=NOW)
    second, _ = create_key(layout, "b", now=NOW)

    assert first.salt != second.salt
    assert not second.matches("")


def test_a_name_is_one_live_key(layout: Layout) -> None:
    """
    A revoked one frees its name.
    """
    old, _ = create_key(layout, "alice", now=NOW)
    with pytest.raises(RegistryError, match="rotate alice"):
        create_key(layout, "alice", now=NOW)
    revoke_key(layout, "alice", now=NOW)
    new, _ = create_key(layout, "alice", now=NOW)

    assert new == read_keys(layout).named("alice", time_text(NOW))
    assert old.id == read_keys(layout).named(old.id, time_text(NOW)).id


def test_a_key_ends_at_its_time(layout: Layout) -> None:
    """
    Expiry and revocation are checked against the clock of each request.
    """
    key, _ = create_key(layout, "a", now=NOW, seconds=60)

    assert "live" == key.state(time_text(NOW + 59.999))
    assert "expired" == key.state(time_text(NOW + 60))
    assert "revoked" == revoke_key(layout, "a", now=NOW + 1).state(time_text(NOW + 1))
    assert time_text(NOW + 1) == revoke_key(layout, key.id, now=NOW + 9).revoked


def test_a_rotated_key_opens_until_its_grace_is_over(layout: Layout) -> None:
    """
    Clients can be given the new one in the meantime; it has the same rights.
    """
    key, _ = create_key(layout, "a", now=NOW, scopes=(Scope.METRICS,), tier="high", seconds=9000)
    old, new, text = rotate_key(layout, "a", now=NOW, grace_seconds=100)

    assert "ending" == old.state(time_text(NOW + 99))
    assert "revoked" == old.state(time_text(NOW + 100))
    assert (key.name, key.scopes, key.tier, key.expires) == (
        new.name,
        new.scopes,
        new.tier,
        new.expires,
    )
    parts = split_key(text)
    assert parts is not None
    assert new.matches(parts[1])
    assert not old.matches(parts[1])
    with pytest.raises(RegistryError, match="ending"):
        rotate_key(layout, old.id, now=NOW)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "x" * 65, "a\n", "\x1b[31m"])
def test_a_name_that_cannot_be_shown_is_refused(layout: Layout, name: str) -> None:
    """
    Nothing is written.
    """
    with pytest.raises(RegistryError):
        create_key(layout, name, now=NOW)

    assert not layout.serving.exists()


def test_twenty_commands_at_once_lose_no_key(layout: Layout) -> None:
    """
    Each change is made under the lock, on what the last one left.
    """
    work = [
        threading.Thread(target=create_key, args=(layout, f"k{i}"), kwargs={"now": NOW})
        for i in range(20)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()

    assert {f"k{i}" for i in range(20)} == {key.name for key in read_keys(layout).keys}


def test_no_file_is_no_key(layout: Layout) -> None:
    """
    A root that never had one lets nobody in.
    """
    assert KeyList() == read_keys(layout)
    assert file_stamp(layout) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row | {"hash": ""},
        lambda row: row | {"salt": "zz"},
        lambda row: row | {"expires": "tomorrow"},
        lambda row: row | {"revoked": "2026-01-01"},
        lambda row: row | {"scopes": ["all"]},
        lambda row: row | {"unknown": 1},
        lambda row: {k: v for k, v in row.items() if k != "scopes"},
    ],
)
def test_a_list_that_was_edited_wrong_is_refused_whole(layout: Layout, change) -> None:
    """
    A key that is not understood must not be taken for one that is good.
    """
    create_key(layout, "a", now=NOW)
    path = keys_file(layout)
    found = orjson.loads(path.read_bytes())
    found["keys"][0] = change(found["keys"][0])
    path.write_bytes(orjson.dumps(found))

    with pytest.raises(RecordError, match=r"keys\.json"):
        read_keys(layout)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version": 2}', b"\xff"])
def test_a_list_that_is_no_list_is_refused(layout: Layout, data: bytes) -> None:
    """
    A command on it changes nothing either.
    """
    layout.serving.mkdir(parents=True)
    keys_file(layout).write_bytes(data)

    with pytest.raises(RecordError):
        create_key(layout, "a", now=NOW)
    assert data == keys_file(layout).read_bytes()


def test_the_later_use_stays(layout: Layout) -> None:
    """
    Several gateways may write it; none moves a time back.
    """
    layout.serving.mkdir(parents=True)
    write_last_use(layout, {"a": NOW, "b": NOW})
    write_last_use(layout, {"a": NOW - 5, "b": NOW + 5})

    assert {"a": time_text(NOW), "b": time_text(NOW + 5)} == read_last_use(layout)
    (layout.serving / "key_use.json").write_bytes(b'["x"]')
    assert {} == read_last_use(layout)
