"""
``finetuned keys``: who may ask the service, for what, and how much.
"""

from __future__ import annotations

import argparse
import re
import time
from typing import TYPE_CHECKING, Any, Final

from finetuned.cli.session import DONE, on_root
from finetuned.cli.verb import UsageError, Verb, add_common

if TYPE_CHECKING:
    from finetuned.files.keys import Key
    from finetuned.layout import Layout

SCOPES = ("ask", "feedback", "metrics", "admin")
"""Held equal to core.access.Scope by a test: the parser does not load it."""
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = 3650 * UNITS["d"]

DETAILS = """examples:
  finetuned keys create laptop                     asks and gives feedback; shown once
  finetuned keys create prometheus --scope metrics
  finetuned keys create batch --tier high --expires 30d
  finetuned keys create page --scope admin         opens everything, the page too
  finetuned keys list                              names, scopes, states, last use; no secrets
  finetuned keys rotate laptop --grace 1h          a new secret; the old one works an hour more
  finetuned keys revoke laptop                     opens nothing from the next request on

A client sends it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'. models/serving/keys.json
holds salted hashes only: a key that is lost cannot be shown again, rotate it. A running service
follows every change at the next request.

scopes: ask (models, answers), feedback, metrics, admin (everything)
tiers:  standard (60 requests and 100000 tokens a minute), high (1200 and 2000000), unlimited

exit status: 0 done, 1 refused (no such key, the name is taken), 2 wrong usage
"""


def seconds_of(text: str) -> float:
    """
    Return the seconds of a span such as ``90s``, ``15m``, ``12h`` or ``30d``.

    Raises:
        argparse.ArgumentTypeError: It is no such span, or longer than ten years.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no span of time: expected a number and s, m, h or d, such as 30d, "
            "at most 3650d"
        )
    return float(seconds)


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    create = commands.add_parser("create", help="Make a key and show it, once.")
    create.set_defaults(command="create")
    create.add_argument("name", metavar="NAME", help="who it is for")
    create.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        help="what it opens; may be given more than once (default: ask and feedback)",
    )
    create.add_argument("--tier", default="standard", help="how much a minute (default standard)")
    create.add_argument(
        "--expires", type=seconds_of, metavar="SPAN", help="e.g. 30d (default: never)"
    )
    listing = commands.add_parser("list", help="List all keys, without their secrets.")
    listing.set_defaults(command="list")
    revoke = commands.add_parser("revoke", help="Let a key open nothing any more.")
    revoke.set_defaults(command="revoke")
    revoke.add_argument("key", metavar="ID_OR_NAME")
    rotate = commands.add_parser("rotate", help="Make a new secret in the place of an old one.")
    rotate.set_defaults(command="rotate")
    rotate.add_argument("key", metavar="ID_OR_NAME")
    rotate.add_argument(
        "--grace", type=seconds_of, metavar="SPAN", help="how long the old one still works"
    )
    for command in (create, listing, revoke, rotate):
        add_common(command)


def _facts(key: Key, now: str, used: dict[str, str]) -> dict[str, Any]:
    """Return what may be shown of a key."""
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state(now),
        "scopes": list(key.scopes),
        "tier": key.tier,
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "last_use": used.get(key.id),
    }


def _show_new(args: argparse.Namespace, key: Key, text: str, **more: Any) -> None:
    import orjson

    from finetuned.files.keys import time_text

    if args.json:
        facts = _facts(key, time_text(time.time()), {})
        print(orjson.dumps({**facts, "key": text, **more}).decode())
        return
    ends = "" if key.expires is None else f", until {key.expires}"
    print(f"{key.id}  {key.name}: {', '.join(key.scopes)}, tier {key.tier}{ends}")
    print(f"\n  {text}\n")
    print("It is shown this once. Send it as: Authorization: Bearer KEY")


def _create(layout: Layout, args: argparse.Namespace) -> int:
    import structlog

    from finetuned.core.access import TIERS, Scope
    from finetuned.errors import RegistryError
    from finetuned.files.keys import create_key

    if args.tier not in TIERS:
        raise RegistryError(
            f"there is no tier {args.tier!r}, expected one of {', '.join(TIERS)}; no key was made"
        )
    scopes = tuple(Scope(word) for word in args.scope or ("ask", "feedback"))
    key, text = create_key(
        layout, args.name, now=time.time(), scopes=scopes, tier=args.tier, seconds=args.expires
    )
    structlog.get_logger().info("key_created", id=key.id, name=key.name)
    _show_new(args, key, text)
    return DONE


def _list(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.core.text import printable
    from finetuned.files.key_use import read_last_use
    from finetuned.files.keys import read_keys, time_text

    now, used = time_text(time.time()), read_last_use(layout)
    rows = [_facts(key, now, used) for key in read_keys(layout).keys]
    if args.json:
        print(orjson.dumps({"keys": rows}).decode())
        return DONE
    if not rows:
        print("no keys yet: nobody may ask the service; finetuned keys create NAME")
        return DONE
    width = max(len(printable(row["name"])) for row in rows)
    for row in rows:
        ends = row["revoked"] or row["expires"] or "-"
        print(
            f"{row['id']}  {printable(row['name']):{width}}  {row['state']:7}  "
            f"{','.join(row['scopes']):12}  {printable(row['tier']):9}  "
            f"used {_minute(row['last_use'])}  ends {_minute(ends)}"
        )
    return DONE


def _minute(text: str | None) -> str:
    """Return a time to the minute, so that a line fits a terminal."""
    return "never" if text is None else text[:16].replace("T", " ")


def _revoke(layout: Layout, args: argparse.Namespace) -> int:
    import orjson
    import structlog

    from finetuned.files.keys import revoke_key, time_text

    key = revoke_key(layout, args.key, now=time.time())
    structlog.get_logger().info("key_revoked", id=key.id, name=key.name)
    if args.json:
        print(orjson.dumps({"revoked": _facts(key, time_text(time.time()), {})}).decode())
    else:
        print(f"{key.id} ({key.name}) opens nothing since {key.revoked}")
    return DONE


def _rotate(layout: Layout, args: argparse.Namespace) -> int:
    import structlog

    from finetuned.files.keys import rotate_key

    now = time.time()
    old, key, text = rotate_key(layout, args.key, now=now, grace_seconds=args.grace or 0.0)
    structlog.get_logger().info("key_rotated", id=key.id, name=key.name)
    _show_new(args, key, text, replaces={"id": old.id, "revoked": old.revoked})
    if not args.json:
        until = "opens nothing any more" if args.grace is None else f"works until {old.revoked}"
        print(f"The old one, {old.id}, {until}.")
    return DONE


COMMANDS: Final = {"create": _create, "list": _list, "revoke": _revoke, "rotate": _rotate}


def _run(args: argparse.Namespace) -> int:
    if args.command == "create" and not args.name:
        raise UsageError("NAME must not be empty: say who the key is for")
    # Before on_root(): the root's owner may not be allowed to read the code.
    from finetuned.files import key_use, keys  # noqa: F401

    return on_root(args, COMMANDS[args.command])


VERB = Verb(
    name="keys",
    summary="Make, list, rotate and revoke the keys with which the service is asked.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
