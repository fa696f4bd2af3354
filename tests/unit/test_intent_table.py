"""
Laws of the table of commands: what is in it is read, written, described and checked alike.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.json_schema import schema_complaint
from finetuned.data.intent_schema import intent_schema
from finetuned.data.intents import (
    ACTIONS,
    DOMAINS,
    MISSING,
    IntentError,
    canonical,
    dumps,
    is_intent,
)
from finetuned.data.intents.fields import Action, Field, Form
from finetuned.data.intents.table import TABLE
from finetuned.data.redaction import redact

SCHEMA = intent_schema()

SPELLINGS = [
    (
        {"action": "add", "zone": "A.lan.", "type": "mx", "target": "mx.a.lan", "priority": "10"},
        '{"action":"dns_add","zone":"a.lan","record_type":"MX","priority":10,"target":"mx.a.lan"}',
    ),
    (
        {"action": "dns_add", "zone": "a.lan", "txt": "v=spf1 mx -all", "ttl": 300},
        '{"action":"dns_add","zone":"a.lan","record_type":"TXT","text":"v=spf1 mx -all","ttl":300}',
    ),
    (
        {"action": "add", "zone": "5.0.0.10.in-addr.arpa", "type": "PTR", "target": "a.lan"},
        '{"action":"dns_add","record_type":"PTR","ip":"10.0.0.5","target":"a.lan"}',
    ),
    (
        {"action": "remove", "zone": "a.lan", "record_type": "txt"},
        '{"action":"dns_remove","zone":"a.lan","record_type":"TXT"}',
    ),
    (
        {"action": "change_password", "username": "jo"},
        '{"action":"user_set_password","username":"jo"}',
    ),
    (
        {"category": "security", "action": "rotate", "resource_type": "password",
         "entities": {"username": "jo"}},
        '{"action":"user_set_password","username":"jo"}',
    ),
    (
        {"action": "remove_from_group", "username": "jo", "group": "ops"},
        '{"action":"group_remove_member","username":"jo","group":"ops"}',
    ),
    (
        {"action": "revoke_access", "username": "jo", "share": "tax"},
        '{"action":"share_revoke","username":"jo","share":"tax"}',
    ),
    (
        {"action": "grant_access", "group": "ops", "share": "tax", "permission": "read-only"},
        '{"action":"share_grant","group":"ops","share":"tax","access":"read"}',
    ),
    (
        {"action": "create", "resource_type": "mail_relay",
         "entities": {"relayhost": "smtp.a.io", "port": 587, "tls": "STARTTLS"}},
        '{"action":"mail_relay_set","host":"smtp.a.io","port":587,"tls":"starttls"}',
    ),
    (
        {"category": "security", "action": "issue", "resource_type": "certificate",
         "entities": {"cn": "a.lan", "san": "www.a.lan", "days": 90}},
        '{"action":"cert_issue","name":"a.lan","sans":["www.a.lan"],"days":90}',
    ),
    (
        {"action": "add_rule", "target": "DROP", "proto": "TCP", "dest_port": 23},
        '{"action":"firewall_add","verdict":"deny","protocol":"tcp","port":23}',
    ),
    (
        {"action": "set_ip", "iface": "eth0", "ipaddr": "10.0.0.5", "netmask": "255.255.255.0"},
        '{"action":"interface_set_address","interface":"eth0","address":"10.0.0.5/24"}',
    ),
    (
        {"action": "add_route", "cidr": "10.2.0.0/16", "via": "10.0.0.1"},
        '{"action":"route_add","network":"10.2.0.0/16","gateway":"10.0.0.1"}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spelling", "expected"), SPELLINGS, ids=lambda x: str(x)[:40])
def test_other_spellings_have_one_canonical_line(spelling: dict[str, Any], expected: str) -> None:
    """
    Keys, names and words of other programs are read; what is written is read as itself.
    """
    assert is_intent(spelling)
    assert dumps(spelling) == expected
    assert dumps(orjson.loads(expected)) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "dns_add", "zone": "a.lan", "record_type": "MX", "ip": "10.0.0.1"},
        {"action": "dns_add", "zone": "a.lan", "record_type": "SRV", "target": "b.lan"},
        {"action": "dns_add", "zone": "a.lan", "ip": "10.0.0.1", "ttl": -1},
        {"action": "dns_set_ttl", "zone": "a.lan", "ttl": "an hour"},
        {"action": "dns_add", "zone": "x.in-addr.arpa", "type": "PTR", "target": "a.lan"},
        {"action": "user_set_password", "username": "jo", "password_ref": "hunter2"},
        {"action": "user_grant", "username": "jo", "right": "everything"},
        {"action": "share_grant", "username": "jo", "group": "ops", "share": "tax"},
        {"action": "firewall_add", "verdict": "allow"},
        {"action": "firewall_add", "verdict": "allow", "port": 70000},
        {"action": "firewall_add", "verdict": "allow", "source": "10.0.0.0/40"},
        {"action": "interface_set_address", "interface": "eth0", "address": "10.0.0.5"},
        {"action": "interface_up", "interface": "eth0; reboot"},
        {"action": "vlan_add", "interface": "eth0", "vlan": True},
        {"action": "nameserver_set", "servers": []},
        {"action": "mail_alias_add", "address": "info", "destination": "jo@a.lan"},
    ],
    ids=str,
)
def test_a_damaged_command_is_refused_but_still_recognised(wrong: dict[str, Any]) -> None:
    """
    A value of another kind, two of which only one may be, a rule that meets every packet.
    """
    assert is_intent(wrong)
    with pytest.raises(IntentError, match=str(wrong["action"])):
        canonical(wrong)
    assert schema_complaint(wrong, SCHEMA) is not None or "address" in wrong or "source" in wrong


def test_the_table_names_each_action_and_each_spelling_once() -> None:
    """
    Otherwise one of two meanings would silently win.
    """
    spellings = Counter(s for action in TABLE for s in (action.name, *action.spellings))

    assert [] == [name for name, n in spellings.items() if n > 1]
    assert set(DOMAINS) == {action.domain for action in TABLE}
    assert len(ACTIONS) == len(TABLE) + 3
    assert set(MISSING) <= {f.name for action in TABLE for f in action.fields}


HOSTS = st.from_regex(r"[a-z][a-z0-9-]{0,8}\.[a-z]{2,5}", fullmatch=True)
VALUES = {
    "host": HOSTS,
    "line": st.from_regex(r"[a-z/][a-z0-9 /._-]{0,9}[a-z]", fullmatch=True),
    "reference": HOSTS.map("secret://".__add__),
    "network": st.ip_addresses().map(str) | st.ip_addresses(v=4).map("{}/24".format),
    "address": st.ip_addresses(v=4).map("{}/24".format) | st.ip_addresses(v=6).map("{}/64".format),
    "email": HOSTS.map("info@{}".format),
    "interface": st.from_regex(r"[a-z][a-z0-9.]{0,6}", fullmatch=True),
    "ip": st.ip_addresses().map(str),
}


def value_of(field: Field) -> st.SearchStrategy[Any]:
    """
    Return a strategy of canonical values.
    """
    schema = field.kind.schema
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("type") == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    if schema.get("type") == "array":
        named = schema["items"]["$ref"].rpartition("/")[2]
        return st.lists(VALUES[named], min_size=1, max_size=3, unique=True)
    if "format" in schema:
        return st.ip_addresses(v=int(schema["format"][-1])).map(str)
    return VALUES[field.kind.name]


FORMS = [(action, form) for action in TABLE for form in action.forms]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), chosen=st.sampled_from(FORMS))
def test_every_form_of_every_action_is_canonical_and_fits_the_schema(
    data: st.DataObject, chosen: tuple[Action, Form]
) -> None:
    """
    Whatever the table allows is kept as it is, key order too, with and without what is optional.
    """
    action, form = chosen
    kept = [f for f in form if f.needed or data.draw(st.booleans())]
    intent = {"action": action.name, **{f.name: data.draw(value_of(f)) for f in kept}}

    assert list(canonical(intent).items()) == list(intent.items())
    assert schema_complaint(intent, SCHEMA) is None


@pytest.mark.parametrize("action", TABLE, ids=lambda action: action.name)
def test_every_spelling_of_an_action_means_it(action: Action) -> None:
    """
    A name alone, and a verb with what it acts on.
    """
    for spelling in action.spellings:
        verb, _, resource = spelling.partition(" ")
        older = {"action": verb, "resource_type": resource} if resource else {"action": spelling}
        with pytest.raises(IntentError) as said:
            canonical(older | {"colour": "red"})
        assert re.match(rf"{action.name}: ", str(said.value)), spelling


def test_a_literal_password_of_a_relay_or_a_change_is_hidden() -> None:
    """
    Every action that has a reference accepts a password and keeps only where it is.
    """
    change = {"action": "set_password", "username": "jo", "password": "Q7hunter"}
    assert redact("jo's new password is Q7hunter", change) == (
        "jo's new password is secret://jo",
        {"action": "user_set_password", "username": "jo", "password_ref": "secret://jo"},
    )
    relay = {"action": "set_relay", "host": "smtp.a.io", "password": "Q7hunter"}
    prompt, clean = redact("relay smtp.a.io, password Q7hunter", relay)
    assert ("relay smtp.a.io, password secret://smtp.a.io", "secret://smtp.a.io") == (
        prompt,
        clean["password_ref"],
    )
