"""
Commands about names in the DNS, accounts and shares: the first three domains of the table.
"""

from __future__ import annotations

from typing import Final

from finetuned.data.intents import kinds
from finetuned.data.intents.fields import (
    ACCESS,
    GROUP,
    IP,
    NAME,
    PRIORITY,
    RIGHT,
    SECRET,
    SHARE,
    TARGET,
    TTL,
    TYPES,
    USER,
    ZONE,
    Action,
    Field,
    of_type,
    optional,
)
from finetuned.data.intents.kinds import one_of

FIRST_DOMAINS: Final[tuple[Action, ...]] = (
    Action(
        "dns_add",
        "dns",
        (
            (ZONE, of_type("A"), Field("ip", kinds.IP4), TTL),
            (ZONE, of_type("AAAA"), Field("ip", kinds.IP6), TTL),
            (ZONE, of_type("CNAME"), TARGET, TTL),
            (ZONE, of_type("MX"), PRIORITY, TARGET, TTL),
            (ZONE, of_type("TXT"), Field("text", kinds.LINE, aliases=("txt",)), TTL),
            (
                *(ZONE, of_type("SRV"), PRIORITY, Field("weight", kinds.PRIORITY, needed=False)),
                *(Field("port", kinds.PORT), TARGET, TTL),
            ),
            (of_type("PTR"), IP, TARGET, TTL),
            (
                *(ZONE, of_type("CAA"), Field("tag", one_of("issue", "issuewild"), needed=False)),
                *(Field("issuer", kinds.HOST, aliases=("ca",)), TTL),
            ),
        ),
        ("add_dns", "add dns", "add dns_record"),
        first=True,
    ),
    Action(
        "dns_remove",
        "dns",
        ((ZONE, of_type(*TYPES)), (of_type("PTR"), IP)),
        ("remove_dns", "remove dns", "remove dns_record"),
        first=True,
    ),
    Action(
        "dns_update",
        "dns",
        (
            (ZONE, of_type("A"), Field("old_ip", kinds.IP4), Field("ip", kinds.IP4), TTL),
            (ZONE, of_type("AAAA"), Field("old_ip", kinds.IP6), Field("ip", kinds.IP6), TTL),
            (ZONE, of_type("CNAME"), Field("old_target", kinds.HOST), TARGET, TTL),
            (ZONE, of_type("MX"), Field("old_target", kinds.HOST), PRIORITY, TARGET, TTL),
        ),
        ("update_dns", "change_dns", "update dns", "update dns_record"),
    ),
    Action(
        "dns_set_ttl",
        "dns",
        ((ZONE, of_type(*TYPES), Field("ttl", kinds.TTL)),),
        ("set_ttl", "update ttl", "update dns_ttl"),
    ),
    Action(
        "user_add",
        "users",
        ((USER, SECRET),),
        ("add_user", "create_user", "add user"),
        first=True,
    ),
    Action(
        "user_remove",
        "users",
        ((USER,),),
        ("remove_user", "delete_user", "remove user"),
        first=True,
    ),
    Action(
        "user_set_password",
        "users",
        ((USER, SECRET),),
        ("set_password", "change_password", "reset_password", "update password", "rotate password"),
    ),
    Action("user_lock", "users", ((USER,),), ("lock_user", "disable_user", "lock user")),
    Action("user_unlock", "users", ((USER,),), ("unlock_user", "enable_user", "unlock user")),
    Action("user_grant", "users", ((USER, RIGHT),), ("grant_permission", "grant permission")),
    Action("user_revoke", "users", ((USER, RIGHT),), ("revoke_permission", "revoke permission")),
    Action("group_add", "users", ((GROUP,),), ("add_group", "create_group", "add group")),
    Action("group_remove", "users", ((GROUP,),), ("remove_group", "delete_group", "remove group")),
    Action(
        "group_add_member",
        "users",
        ((USER, GROUP),),
        ("add_to_group", "add group_member"),
        first=True,
    ),
    Action(
        "group_remove_member",
        "users",
        ((USER, GROUP),),
        ("remove_from_group", "remove group_member"),
    ),
    Action(
        "share_create",
        "samba",
        ((NAME, Field("path", kinds.LINE)),),
        ("create_share", "add share", "add samba_share"),
        first=True,
    ),
    Action(
        "share_remove",
        "samba",
        ((NAME,),),
        ("remove_share", "delete_share", "remove share", "remove samba_share"),
    ),
    Action(
        "share_grant",
        "samba",
        ((USER, SHARE, optional(ACCESS)), (GROUP, SHARE, optional(ACCESS))),
        ("grant_access", "grant share", "grant access"),
        first=True,
    ),
    Action(
        "share_revoke",
        "samba",
        ((USER, SHARE, optional(ACCESS)), (GROUP, SHARE, optional(ACCESS))),
        ("revoke_access", "revoke share", "revoke access"),
    ),
    Action(
        "share_set_access",
        "samba",
        ((SHARE, ACCESS),),
        ("set_permissions", "set_share_access", "update share"),
    ),
)
"""In the order in which documents list them."""
