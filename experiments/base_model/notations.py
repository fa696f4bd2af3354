"""
The base model's own notations for what a command asks for: none is the demo's schema.

A sentence, a call, another JSON (``op``), the kind alone, and fields picked by name.
Knows canonical intents; does not know how commands are worded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from finetuned.data.intents import ACTIONS, FIRST, MISSING, REASONS
from finetuned.data.intents.table import TABLE

Step = dict[str, Any]

_OPS = {
    "dns_add": ("record", "create"),
    "dns_remove": ("record", "drop"),
    "user_add": ("account", "create"),
    "user_remove": ("account", "drop"),
    "group_add_member": ("team", "join"),
    "share_create": ("folder", "create"),
    "share_grant": ("folder", "allow"),
    "clarify": ("ask", "back"),
    "none": ("skip", "it"),
    "dns_update": ("record", "amend"),
    "dns_set_ttl": ("cache", "time"),
    "user_set_password": ("key", "renew"),
    "user_lock": ("account", "freeze"),
    "user_unlock": ("account", "thaw"),
    "user_grant": ("power", "hand"),
    "user_revoke": ("power", "take"),
    "group_add": ("team", "create"),
    "group_remove": ("team", "drop"),
    "group_remove_member": ("team", "leave"),
    "share_remove": ("folder", "drop"),
    "share_revoke": ("folder", "bar"),
    "share_set_access": ("folder", "mode"),
    "mail_relay_set": ("post", "route"),
    "mail_relay_remove": ("post", "unroute"),
    "mail_domain_add": ("post", "host"),
    "mail_domain_remove": ("post", "unhost"),
    "mail_alias_add": ("post", "divert"),
    "mail_alias_remove": ("post", "keep"),
    "mail_network_allow": ("post", "trust"),
    "mail_network_deny": ("post", "distrust"),
    "mail_block": ("post", "bar"),
    "mail_unblock": ("post", "unbar"),
    "cert_issue": ("paper", "sign"),
    "cert_renew": ("paper", "prolong"),
    "cert_revoke": ("paper", "void"),
    "cert_deploy": ("paper", "place"),
    "ca_create": ("signer", "create"),
    "firewall_add": ("filter", "rule"),
    "firewall_remove": ("filter", "unrule"),
    "firewall_set_default": ("filter", "usual"),
    "firewall_forward": ("filter", "pass"),
    "firewall_unforward": ("filter", "unpass"),
    "interface_set_address": ("card", "number"),
    "interface_set_dhcp": ("card", "auto"),
    "interface_up": ("card", "wake"),
    "interface_down": ("card", "sleep"),
    "interface_set_mtu": ("card", "size"),
    "vlan_add": ("lan", "create"),
    "vlan_remove": ("lan", "drop"),
    "route_add": ("path", "create"),
    "route_remove": ("path", "drop"),
    "gateway_set": ("path", "usual"),
    "nameserver_set": ("names", "ask"),
    "hostname_set": ("self", "name"),
}
_KEYS = {
    "zone": "host", "record_type": "class", "ip": "to", "target": "to", "username": "login",
    "password_ref": "key", "group": "team", "name": "label", "path": "dir", "share": "label",
    "missing": "for", "reason": "why", "priority": "rank", "weight": "load", "port": "door",
    "text": "says", "tag": "about", "issuer": "signer", "ttl": "secs", "old_ip": "was",
    "old_target": "was", "right": "power", "access": "mode", "host": "via", "tls": "cover",
    "domain": "site", "address": "addr", "destination": "goal", "network": "net",
    "sender": "from", "sans": "also", "days": "lasts", "ca": "signer", "cause": "because",
    "verdict": "say", "direction": "way", "protocol": "layer", "source": "from",
    "to_port": "inner", "interface": "card", "mtu": "bytes",
    "vlan": "lan", "gateway": "hop", "servers": "ask", "hostname": "self",
}  # fmt: skip
_WHY = {"question": "asks", "out_of_scope": "other", "unsafe": "danger"}


def _values(step: Step) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in step.items():
        if key == "missing":
            out["for"] = [_KEYS[m] if m != "ip" else "address" for m in value]
        elif key == "reason":
            out["why"] = _WHY[value]
        elif key == "ip" and "target" in step:
            out["at"] = value
        elif key == "record_type":
            out["class"] = {"A": "v4", "AAAA": "v6", "CNAME": "alias"}.get(value, value)
        elif key != "action":
            out[_KEYS[key]] = value
    return out


def as_json(steps: list[Step]) -> str:
    ops = [{"op": "_".join(_OPS[s["action"]][::-1]), **_values(s)} for s in steps]
    return compact(ops[0] if len(ops) == 1 else {"ops": ops})


def as_call(step: Step) -> str:
    values = [",".join(v) if isinstance(v, list) else str(v) for v in _values(step).values()]
    return f"{_OPS[step['action']][1]}_{_OPS[step['action']][0]}({', '.join(values)})"


def as_kind(step: Step) -> str:
    values = _values(step)
    return " ".join((*_OPS[step["action"]], str(values.get("class", values.get("why", "")))))


def _has_a_sentence(step: Step) -> bool:
    """Return whether it is a command as the first set has it."""
    keys = set(step) - {"action", "record_type", "password_ref"}
    match step["action"]:
        case "dns_add":
            return step["record_type"] in ("A", "AAAA", "CNAME") and "ttl" not in keys
        case "dns_remove":
            return "record_type" not in step
        case "share_grant":
            return keys == {"username", "share"}
        case action:
            return action in FIRST


def as_words(step: Step) -> str:
    v = _values(step)
    if not _has_a_sentence(step):
        thing, deed = _OPS[step["action"]]
        said = (f"{k} {', '.join(w) if isinstance(w, list) else w}" for k, w in v.items())
        return f"{thing} {deed}: {'; '.join(said)}."
    match step["action"]:
        case "dns_add":
            kind = {"v4": "points to", "v6": "points over IPv6 to", "alias": "is an alias of"}
            return f"{v['host']} now {kind[v['class']]} {v['to']}."
        case "dns_remove":
            return f"{v['host']} is now gone."
        case "user_add":
            key = f", key in {v['key']}" if "key" in v else ""
            return f"{v['login']} now has an account{key}."
        case "user_remove":
            return f"{v['login']} no longer has an account."
        case "group_add_member":
            return f"{v['login']} is now in team {v['team']}."
        case "share_create":
            return f"{v['dir']} is now shared as {v['label']}."
        case "share_grant":
            return f"{v['login']} can now use {v['label']}."
        case "clarify":
            return f"Which {' and '.join(v['for'])}?"
        case _:
            why = {
                "asks": "That is a question.",
                "other": "That is not my work.",
                "danger": "I will not do that.",
            }
            return why[v["why"]]


_FIELD_NAMES = {
    "zone": ("host", "fqdn", "zone", "name"),
    "zone2": ("other", "second"),
    "wild": ("host", "pattern", "zone"),
    "target": ("points_to", "target", "original"),
    "ip": ("addr", "ip", "number"),
    "ip4": ("addr", "ip", "v4"),
    "ip6": ("addr", "ip", "v6"),
    "user": ("who", "login", "username"),
    "user2": ("other", "second"),
    "group": ("team", "group", "unit"),
    "group2": ("team2", "other_team"),
    "share": ("label", "name", "share"),
    "path": ("dir", "where", "path"),
    "secret": ("key", "secret"),
    "prio": ("rank", "prio"),
    "port": ("door", "port"),
    "smtp": ("door", "port"),
    "iface": ("card", "link", "nic"),
    "net": ("net", "range"),
    "addr": ("addr", "cidr"),
    "email": ("mail", "addr"),
    "domain": ("site", "domain"),
    "text": ("says", "text"),
}


def picked_fields(values: Mapping[str, str], rng: random.Random) -> dict[str, str | None]:
    """
    Name the values of a sentence freely, in any order; some of what is asked is not there.

    Args:
        values: The name that stands in each gap.
        rng: Where the choices come from.
    """
    gaps = list(values)
    rng.shuffle(gaps)
    picked: dict[str, str | None] = {}
    for gap in gaps:
        options = _FIELD_NAMES.get(gap, (gap.rstrip("0123456789"),))
        picked.setdefault(rng.choice(options), values[gap])
    if rng.random() < 0.2:
        picked.setdefault(rng.choice(("port", "size", "color", "owner")), None)
    return picked


def words_of_commands() -> set[str]:
    """
    Return the words that the answers of all commands are made of: of actions, keys and constants.
    """
    said = {word for action in ACTIONS for word in (action, *MISSING, *REASONS)}
    for action in TABLE:
        for field in action.fields:
            known = field.kind.schema.get("enum", ())
            said |= {field.name, *(known if isinstance(known, list) else ()), str(field.constant)}
    return {part for word in said for part in word.split("_") if part != "None"}


def compact(value: object) -> str:
    """
    Write *value* as JSON without spaces.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
