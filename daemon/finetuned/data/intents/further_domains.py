"""
Commands about mail, certificates, the firewall and the network: the other domains of the table.
"""

from __future__ import annotations

from typing import Final

from finetuned.data.intents import kinds
from finetuned.data.intents.fields import (
    CERT,
    DAYS,
    DIRECTION,
    DOMAIN,
    GATEWAY,
    INTERFACE,
    MAIL,
    NAME,
    NETWORK,
    PROTOCOL,
    SECRET,
    SENDER,
    USER,
    VERDICT,
    Action,
    Field,
    of_a_rule,
    optional,
)
from finetuned.data.intents.kinds import one_of, several

FURTHER_DOMAINS: Final[tuple[Action, ...]] = (
    Action(
        "mail_relay_set",
        "mail",
        (
            (
                Field("host", kinds.HOST, aliases=("relay", "relayhost", "smarthost")),
                optional(Field("port", kinds.PORT)),
                Field("tls", one_of("none", "starttls", "tls", ssl="tls"), needed=False),
                optional(USER),
                SECRET,
            ),
        ),
        ("set_relay", "add_relay", "add mail_relay", "update mail_relay"),
    ),
    Action(
        "mail_relay_remove",
        "mail",
        ((Field("host", kinds.HOST, needed=False, aliases=("relay", "relayhost", "smarthost")),),),
        ("remove_relay", "remove mail_relay"),
    ),
    Action(
        "mail_domain_add",
        "mail",
        ((DOMAIN, Field("host", kinds.HOST, needed=False, aliases=("transport",))),),
        ("add_mail_domain", "add mail_domain"),
    ),
    Action(
        "mail_domain_remove",
        "mail",
        ((DOMAIN,),),
        ("remove_mail_domain", "remove mail_domain"),
    ),
    Action(
        "mail_alias_add",
        "mail",
        ((MAIL, Field("destination", kinds.EMAIL, aliases=("forward_to", "goto"))),),
        ("add_mail_alias", "add mail_alias", "add forwarding"),
    ),
    Action(
        "mail_alias_remove",
        "mail",
        ((MAIL,),),
        ("remove_mail_alias", "remove mail_alias", "remove forwarding"),
    ),
    Action(
        "mail_network_allow",
        "mail",
        ((NETWORK,),),
        ("allow_relay", "add mail_network"),
    ),
    Action(
        "mail_network_deny",
        "mail",
        ((NETWORK,),),
        ("deny_relay", "remove mail_network"),
    ),
    Action("mail_block", "mail", ((SENDER,),), ("block_sender", "add mail_block")),
    Action("mail_unblock", "mail", ((SENDER,),), ("unblock_sender", "remove mail_block")),
    Action(
        "cert_issue",
        "pki",
        (
            (
                *(
                    CERT,
                    Field("sans", several(kinds.HOST), needed=False, aliases=("alt_names", "san")),
                ),
                *(DAYS, Field("ca", kinds.LINE, needed=False, aliases=("issuer",))),
            ),
        ),
        ("issue_certificate", "create_certificate", "issue certificate", "add certificate"),
    ),
    Action(
        "cert_renew",
        "pki",
        ((CERT, DAYS),),
        ("renew_certificate", "rotate certificate", "update certificate"),
    ),
    Action(
        "cert_revoke",
        "pki",
        ((CERT, Field("cause", one_of("compromised", "replaced", "retired"), needed=False)),),
        ("revoke_certificate", "revoke certificate", "remove certificate"),
    ),
    Action(
        "cert_deploy",
        "pki",
        ((CERT, Field("host", kinds.HOST)),),
        ("deploy_certificate", "install_certificate"),
    ),
    Action("ca_create", "pki", ((NAME, DAYS),), ("create_ca", "add ca")),
    Action(
        "firewall_add",
        "firewall",
        of_a_rule(VERDICT),
        ("add_rule", "add_firewall_rule", "add firewall_rule"),
    ),
    Action(
        "firewall_remove",
        "firewall",
        of_a_rule(optional(VERDICT)),
        ("remove_rule", "remove_firewall_rule", "remove firewall_rule"),
    ),
    Action(
        "firewall_set_default",
        "firewall",
        ((VERDICT, DIRECTION),),
        ("set_policy", "set_default_policy", "update firewall_policy"),
    ),
    Action(
        "firewall_forward",
        "firewall",
        (
            (
                *(optional(PROTOCOL), Field("port", kinds.PORT, aliases=("src_dport",))),
                *(
                    Field("ip", kinds.IP, aliases=("dest_ip",)),
                    Field("to_port", kinds.PORT, needed=False),
                ),
            ),
        ),
        ("forward_port", "port_forward", "add port_forward", "add redirect"),
    ),
    Action(
        "firewall_unforward",
        "firewall",
        ((optional(PROTOCOL), Field("port", kinds.PORT, aliases=("src_dport",))),),
        ("remove_port_forward", "remove port_forward", "remove redirect"),
    ),
    Action(
        "interface_set_address",
        "network",
        ((INTERFACE, Field("address", kinds.WITH_PREFIX, aliases=("ipaddr",)), optional(GATEWAY)),),
        ("set_address", "set_ip", "update interface"),
    ),
    Action("interface_set_dhcp", "network", ((INTERFACE,),), ("set_dhcp", "enable_dhcp")),
    Action("interface_up", "network", ((INTERFACE,),), ("enable_interface", "ifup")),
    Action("interface_down", "network", ((INTERFACE,),), ("disable_interface", "ifdown")),
    Action("interface_set_mtu", "network", ((INTERFACE, Field("mtu", kinds.MTU)),), ("set_mtu",)),
    Action(
        "vlan_add",
        "network",
        (
            (
                *(INTERFACE, Field("vlan", kinds.VLAN, aliases=("vlan_id", "vid"))),
                Field("address", kinds.WITH_PREFIX, needed=False, aliases=("ipaddr",)),
            ),
        ),
        ("add_vlan", "create_vlan", "add vlan"),
    ),
    Action(
        "vlan_remove",
        "network",
        ((INTERFACE, Field("vlan", kinds.VLAN, aliases=("vlan_id", "vid"))),),
        ("remove_vlan", "delete_vlan", "remove vlan"),
    ),
    Action(
        "route_add",
        "network",
        ((NETWORK, GATEWAY, optional(INTERFACE)),),
        ("add_route", "add route"),
    ),
    Action(
        "route_remove", "network", ((NETWORK,),), ("remove_route", "delete_route", "remove route")
    ),
    Action(
        "gateway_set",
        "network",
        ((GATEWAY, optional(INTERFACE)),),
        ("set_gateway", "update gateway"),
    ),
    Action(
        "nameserver_set",
        "network",
        ((Field("servers", several(kinds.IP), aliases=("nameservers", "dns_servers")),),),
        ("set_nameservers", "set_dns_servers", "update nameserver"),
    ),
    Action(
        "hostname_set",
        "network",
        ((Field("hostname", kinds.HOST),),),
        ("set_hostname", "update hostname"),
    ),
)
"""In the order of their domains."""
