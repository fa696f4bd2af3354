"""
Names and numbers of services: texts of records, mail addresses, networks, interfaces, ports.

Like entities.py: a name is drawn around stems that belong to one half, or its whole is hashed.
Numbers are no names; both halves draw them from the same ranges.
"""

from __future__ import annotations

from collections.abc import Callable

from finetuned.sources.intents.entities import Names, is_heldout
from finetuned.sources.intents.tables import stems

_PORTS = (
    *(21, 22, 23, 25, 53, 80, 110, 123, 143, 161, 389, 443, 445, 465, 514, 587, 636, 853, 873),
    *(993, 995, 1194, 1883, 2049, 3000, 3128, 3306, 3389, 5060, 5432, 5672, 5900, 6379, 6443),
    *(8000, 8080, 8443, 8883, 9000, 9090, 9100, 9200, 11211, 27017, 51820),
)
_SMTP_PORTS = (25, 26, 465, 587, 588, 1025, 2525, 10025, 10587)
_TTLS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 172800, 604800)
_PRIORITIES = (0, 1, 5, 10, 15, 20, 30, 40, 50, 100, 200)
_DAYS = (7, 14, 30, 45, 60, 90, 120, 180, 365, 397, 730, 825, 1095, 1825, 3650)
_MTUS = (576, 1280, 1350, 1400, 1412, 1420, 1450, 1480, 1492, 1500, 4000, 8000, 9000, 9216)
_SERVICES = ("sip", "sips", "ldap", "ldaps", "kerberos", "xmpp-client", "imaps", "caldav", "stun")
_INTERFACES = ("eth", "eth", "ens", "eno", "wlan", "bond", "br", "tun", "wg", "lan", "dmz", "veth")
_MAILBOXES = ("info", "sales", "office", "support", "billing", "jobs", "press", "orders", "noc")
_AUTHORITIES = (
    *("letsencrypt.org", "digicert.com", "sectigo.com", "pki.goog", "globalsign.com"),
    *("buypass.com", "certigna.fr", "harica.gr", "swisssign.com", "actalis.it"),
)


class ServiceNames(Names):
    """
    A stream of names from one half, those of services among them.
    """

    def _makers(self) -> dict[str, Callable[[], str]]:
        rng = self._rng
        return super()._makers() | {
            "service": lambda: (
                f"_{rng.choice(_SERVICES)}._{rng.choice(('tcp', 'tcp', 'udp'))}.{self._domain()}"
            ),
            "domain": self._domain,
            "email": self._email,
            "text": self._text,
            "ca": lambda: self._of_this_half(
                lambda: rng.choice((rng.choice(_AUTHORITIES), self._domain()))
            ),
            "caname": self._ca_name,
            "net": self._network,
            "addr": self._with_prefix,
            "iface": lambda: self._of_this_half(self._any_interface),
            "smtp": lambda: str(rng.choice(_SMTP_PORTS)),
            "port": lambda: str(rng.choice((rng.choice(_PORTS), rng.randint(1024, 65535)))),
            "ttl": lambda: str(rng.choice((rng.choice(_TTLS), 30 * rng.randint(1, 400)))),
            "prio": lambda: str(rng.choice(_PRIORITIES)),
            "weight": lambda: str(rng.choice((rng.choice(_PRIORITIES), rng.randint(1, 99)))),
            "days": lambda: str(rng.choice((rng.choice(_DAYS), rng.randint(2, 900)))),
            "vlan": lambda: str(rng.randint(2, 4094)),
            "mtu": lambda: str(rng.choice(_MTUS)),
        }

    def _of_this_half(self, draw: Callable[[], str]) -> str:
        while is_heldout(found := draw()) != self._heldout:
            pass
        return found

    def _domain(self) -> str:
        rng = self._rng
        inner = f"{self._stem('domain')}." if rng.random() < 0.25 else ""
        return f"{inner}{self._stem('domain')}.{rng.choice(stems('suffix'))}"

    def _email(self) -> str:
        rng = self._rng
        local = rng.choice(_MAILBOXES) if rng.random() < 0.4 else self._user()
        return f"{local}@{self._domain()}"

    def _text(self) -> str:
        rng = self._rng
        token = f"{rng.getrandbits(64):x}"
        return rng.choice(
            (
                f"v=spf1 mx a:{self._zone()} -all",
                f"v=spf1 include:{self._domain()} ~all",
                f"v=spf1 ip4:{self._ip4()} mx -all",
                f"v=DMARC1; p={rng.choice(('none', 'reject', 'quarantine'))}; "
                f"rua=mailto:{self._email()}",
                f"google-site-verification={token}",
                f"{self._stem('domain')}-verification={token}",
                f"MS=ms{rng.randint(10**7, 10**8)}",
                f"owner={self._stem('person')}",
                f"{self._stem('share')} of {self._stem('person')}",
            )
        )

    def _ca_name(self) -> str:
        rng = self._rng
        stem = self._stem("domain")
        return rng.choice(
            (
                f"{stem}-ca",
                f"{stem}-root",
                f"{stem}-root-ca",
                f"{stem}_ca{rng.randint(1, 9)}",
                f"{stem}-issuing-{rng.randint(1, 9)}",
            )
        )

    def _any_interface(self) -> str:
        rng = self._rng
        if rng.random() < 0.3:
            return f"enp{rng.randint(0, 20)}s{rng.randint(0, 31)}"
        return f"{rng.choice(_INTERFACES)}{rng.randint(0, 24)}"

    def _network(self) -> str:
        rng = self._rng

        def draw() -> str:
            a, b = rng.randint(0, 255), rng.randint(0, 255)
            return rng.choice(
                (
                    f"10.{a}.0.0/16",
                    f"10.{a}.{b}.0/24",
                    f"192.168.{b}.0/24",
                    f"172.{16 + a % 16}.{b // 16 * 16}.0/20",
                    f"{1 + a % 222}.{b}.{rng.randint(0, 255)}.0/{rng.choice((24, 24, 25, 26))}",
                    f"2001:db8:{1 + a:x}{b:02x}::/{rng.choice((48, 64))}",
                )
            )

        return self._of_this_half(draw)

    def _with_prefix(self) -> str:
        rng = self._rng
        if rng.random() < 0.15:
            return f"{self._ip6()}/64"
        return f"{self._ip4()}/{rng.choice((8, 16, 22, 24, 24, 24, 25, 26, 28, 30))}"
