"""
What a value of a command is, what an action is, and the values that several actions share.

Knows keys and their other spellings; does not know which actions there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuned.data.intents import kinds
from finetuned.data.intents.kinds import Kind, one_of


@dataclass(frozen=True, slots=True)
class Field:
    """
    One value of an action.
    """

    name: str
    kind: Kind
    needed: bool = True
    aliases: tuple[str, ...] = ()
    """Other keys that mean the same."""

    @property
    def constant(self) -> object | None:
        """What the value always is; None if that is not fixed."""
        return self.kind.schema.get("const")


Form = tuple[Field, ...]
"""Values that belong together, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Action:
    """
    One thing that can be asked for.
    """

    name: str
    domain: str
    forms: tuple[Form, ...]
    """Alternatives; an answer has the values of one of them. The first that fits is taken."""
    spellings: tuple[str, ...] = ()
    """Other names of the action, and ``VERB RESOURCE`` of those that name what they act on."""
    first: bool = False
    """Whether it is of the first set, which the demo trains and infra_200 asks."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """All values that some form has, each name once."""
        return tuple({field.name: field for form in self.forms for field in form}.values())


def optional(field: Field) -> Field:
    """
    Return *field* as one that a command may lack.
    """
    return Field(field.name, field.kind, needed=False, aliases=field.aliases)


ZONE = Field("zone", kinds.HOST)
IP = Field("ip", kinds.IP)
TARGET = Field("target", kinds.HOST)
TTL = Field("ttl", kinds.TTL, needed=False)
TYPES = ("A", "AAAA", "CNAME", "MX", "TXT", "SRV", "CAA")
PRIORITY = Field("priority", kinds.PRIORITY, needed=False, aliases=("preference",))
USER = Field("username", kinds.LINE)
GROUP = Field("group", kinds.LINE)
SECRET = Field("password_ref", kinds.REFERENCE, needed=False)
NAME = Field("name", kinds.LINE)
SHARE = Field("share", kinds.LINE)
DAYS = Field("days", kinds.DAYS, needed=False, aliases=("validity_days",))
RIGHT = Field(
    "right", one_of("admin", "ssh", "vpn", "mail", sudo="admin", root="admin"),
    aliases=("permission",),
)  # fmt: skip
ACCESS = Field(
    "access",
    one_of(
        "read", "write", ro="read", read_only="read", rw="write", read_write="write", full="write"
    ),
    aliases=("permission",),
)
CERT = Field("name", kinds.HOST, aliases=("common_name", "cn"))
VERDICT = Field(
    "verdict", one_of("allow", "deny", "reject", accept="allow", drop="deny", block="deny"),
    aliases=("rule", "policy", "target"),
)  # fmt: skip
DIRECTION = Field(
    "direction", one_of("in", "out", input="in", incoming="in", output="out", outgoing="out")
)
PROTOCOL = Field("protocol", one_of("tcp", "udp", "icmp"), aliases=("proto",))
PORT = Field("port", kinds.PORT, aliases=("dport", "dest_port"))
SOURCE = Field("source", kinds.NETWORK, aliases=("src", "src_ip"))
DESTINATION = Field("destination", kinds.NETWORK, aliases=("dest", "dest_ip"))
INTERFACE = Field("interface", kinds.INTERFACE, aliases=("iface", "device"))
GATEWAY = Field("gateway", kinds.IP, aliases=("via",))
NETWORK = Field("network", kinds.NETWORK, aliases=("cidr", "subnet"))
DOMAIN = Field("domain", kinds.HOST)
MAIL = Field("address", kinds.EMAIL, aliases=("email", "alias"))
SENDER = Field("sender", kinds.HOST)


def of_type(*names: str) -> Field:
    """
    Return the type of a record, which is needed if there is only one.
    """
    return Field("record_type", one_of(*names), len(names) == 1, aliases=("type",))


def of_a_rule(*before: Field) -> tuple[Form, ...]:
    """
    Return the forms of a firewall rule, which says at least one thing of the packets it meets.
    """
    found = []
    meets = (PROTOCOL, PORT, SOURCE, DESTINATION)
    for needed in (PORT, SOURCE, DESTINATION, PROTOCOL):
        # What an earlier form needs is not in a later one, so that one form fits.
        rest = meets[meets.index(needed) + 1 :] if needed is not PROTOCOL else ()
        first = (optional(PROTOCOL), needed) if needed is not PROTOCOL else (needed,)
        found.append((*before, optional(DIRECTION), *first, *map(optional, rest)))
    return tuple(found)
