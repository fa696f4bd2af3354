"""
The sentences of the test set's phrasing-disjoint half, never used for training.

Written once, before any model had been trained, and not changed after looking
at a model's errors: where a model fails here, it is the training sentences or
the base model that have to become broader.

Knows sentences and what they ask for; does not know names or models.
"""

from __future__ import annotations

DNS: tuple[tuple[str, str], ...] = (
    ("Have {zone} answer with {ip4}.", "dns_add zone ip4"),
    ("{ip4} should be what {zone} resolves to", "dns_add zone ip4"),
    ("We just racked a box at {ip4}; give it the name {zone}.", "dns_add zone ip4"),
    ("Anyone looking up {zone} must end up at {ip4}.", "dns_add zone ip4"),
    ("Write {zone} into DNS, the machine sits on {ip4}.", "dns_add zone ip4"),
    ("Could the nameserver hand out {ip4} for {zone}?", "dns_add zone ip4"),
    ("name {ip4} as {zone} in our DNS", "dns_add zone ip4"),
    ("Publish the IPv6 address {ip6} under {zone}.", "dns_add zone ip6"),
    ("{zone} needs a quad-A with {ip6}", "dns_add zone ip6"),
    ("Let v6 clients find {zone} via {ip6}.", "dns_add zone ip6"),
    ("Over IPv6, {zone} lives at {ip6}; please record that.", "dns_add zone ip6"),
    ("Whoever asks for {zone} should be sent on to {target}.", "dns_add zone target"),
    ("Treat {zone} as another name for {target}.", "dns_add zone target"),
    ("{zone} is only a nickname of {target}, set that up in DNS", "dns_add zone target"),
    ("Chain {zone} onto {target} with a canonical name entry", "dns_add zone target"),
    ("Let {zone} follow {target}.", "dns_add zone target"),
    ("Catch all names matching {wild} and lead them to {ip4}.", "dns_add wild ip4"),
    ("Any host under {wild} goes to {ip6}", "dns_add wild ip6"),
    ("Have {wild} follow {target} as an alias", "dns_add wild target"),
    ("{zone} is gone for good, drop it from DNS.", "dns_remove zone"),
    ("We no longer need the name {zone}.", "dns_remove zone"),
    ("Stop resolving {zone}.", "dns_remove zone"),
    ("Strike {zone} off the nameserver.", "dns_remove zone"),
    ("Make sure {zone} no longer resolves", "dns_remove zone"),
    ("The host {zone} was retired, clean up its record", "dns_remove zone"),
)

USERS: tuple[tuple[str, str], ...] = (
    ("{user} starts on Monday and needs an account.", "user_add user"),
    ("Get {user} a login.", "user_add user"),
    ("We have a new colleague, {user}; prepare a login for them.", "user_add user"),
    ("There should be a user called {user}.", "user_add user"),
    ("Let {user} be able to log in from now on", "user_add user"),
    ("Bring {user} on board as a user.", "user_add user"),
    ("I want {user} to exist as a system account", "user_add user"),
    ("Open an account for {user}, credentials are in {secret}.", "user_add user secret"),
    ("{user} has left the company, close the account.", "user_remove user"),
    ("Nobody should log in as {user} any more.", "user_remove user"),
    ("We don't need {user}'s account any longer", "user_remove user"),
    ("Throw out the login {user}.", "user_remove user"),
    ("Take {user} off the system.", "user_remove user"),
    ("Kick {user} out of the user database", "user_remove user"),
    ("The account {user} is obsolete, wipe it", "user_remove user"),
    ("Say goodbye to user {user}: the account can go.", "user_remove user"),
    (
        "{user} belongs in {group} from today, sort out the group membership.",
        "group_add_member user group",
    ),
    ("Let {user} join the {group} group.", "group_add_member user group"),
    ("Extend the group {group} by {user}.", "group_add_member user group"),
    ("{group} gets a new member: {user}", "group_add_member user group"),
    ("Could {user} be counted among the members of {group}?", "group_add_member user group"),
    ("From now on {user} is part of group {group}.", "group_add_member user group"),
    ("Sign {user} up for the {group} group", "group_add_member user group"),
    (
        "The {group} team takes {user} in, change the group accordingly.",
        "group_add_member user group",
    ),
    ("Have group {group} include {user}.", "group_add_member user group"),
)

SAMBA: tuple[tuple[str, str], ...] = (
    ("People should see {path} on the network as {share}.", "share_create share path"),
    ("Offer {path} to Windows clients under the name {share}.", "share_create share path"),
    ("Let's have a share, {share}, that serves {path}.", "share_create share path"),
    ("Turn {path} into a network folder called {share}.", "share_create share path"),
    ("Under the name {share}, serve the directory {path}.", "share_create share path"),
    ("{path} has to be reachable over SMB as {share}", "share_create share path"),
    ("Start sharing {path}; call it {share}.", "share_create share path"),
    ("Hook {path} up to Samba with the share name {share}.", "share_create share path"),
    ("There must be a file share {share} backed by {path}.", "share_create share path"),
    ("The directory {path} wants to be a share, {share} is its name.", "share_create share path"),
    ("Could the file server export {path} as {share}?", "share_create share path"),
    ("Add {share} to smb.conf with {path} behind it", "share_create share path"),
    (
        "For the {share} share use the folder {path}, make it available.",
        "share_create share path",
    ),
    ("{user} cannot open {share} yet, fix the share permissions.", "share_grant user share"),
    ("Unlock the share {share} for {user}.", "share_grant user share"),
    ("{user} should be allowed into the {share} share.", "share_grant user share"),
    ("Open up {share} to {user}, it is a share on the file server.", "share_grant user share"),
    ("The {share} share must accept {user}.", "share_grant user share"),
    ("Put {user} on the access list of share {share}.", "share_grant user share"),
    ("Make {share} usable for {user} over Samba.", "share_grant user share"),
    ("Could {user} get into the shared folder {share}?", "share_grant user share"),
    ("Hand {user} the keys to the {share} share.", "share_grant user share"),
    ("Have the share {share} admit {user}", "share_grant user share"),
    (
        "{user} works with the files in {share} now, so grant that on the share.",
        "share_grant user share",
    ),
    ("Let {user} read and write on share {share}.", "share_grant user share"),
)

COMPLEX: tuple[tuple[str, str], ...] = (
    (
        "First a login for {user}, after that membership in the {group} group.",
        "user_add user & group_add_member user group",
    ),
    (
        "{user} is new here: needs an account, a place in group {group} "
        "and entry to the {share} share.",
        "user_add user & group_add_member user group & share_grant user share",
    ),
    (
        "Offer {path} as share {share} and let {user} in.",
        "share_create share path & share_grant user share",
    ),
    (
        "Retire {zone} in DNS and close the account of {user}, both today.",
        "dns_remove zone & user_remove user",
    ),
    (
        "Swap the name {zone} for {zone2}: the first disappears, the second goes to {ip4}.",
        "dns_remove zone & dns_add zone2 ip4",
    ),
    (
        "Two things: {zone} must resolve to {ip4}, {zone2} must be its alias.",
        "dns_add zone ip4 & dns_add zone2 target=zone",
    ),
    ("Account for {user}; also {zone} to {ip4} in DNS.", "user_add user & dns_add zone ip4"),
    (
        "Once the share {share} serves {path}, both {user} and {user2} should get in.",
        "share_create share path & share_grant user share & share_grant user2 share",
    ),
    (
        "Both {user} and {user2} join group {group}.",
        "group_add_member user group & group_add_member user2 group",
    ),
    (
        "{user} leaves and {user2} takes over: remove the old account, make one for the newcomer.",
        "user_remove user & user_add user2",
    ),
    ("Somebody new is coming, prepare an account.", "clarify username"),
    ("Please let {zone} resolve to the new machine.", "clarify ip"),
    ("Let {user} into the share.", "clarify share"),
    ("Put the new colleague into group {group}.", "clarify username"),
    ("Offer {path} on the network.", "clarify name"),
    ("The address {ip4} needs a name in DNS.", "clarify zone"),
    ("{user} must become a member of one of the groups.", "clarify group"),
    ("Is {zone} already registered?", "none question"),
    ("Who is allowed to open the {share} share?", "none question"),
    ("Explain the difference between an A record and a CNAME.", "none question"),
    ("The coffee machine on the second floor is broken.", "none out_of_scope"),
    ("Reboot {zone} tonight.", "none out_of_scope"),
    ("Upgrade the kernel on all our servers", "none out_of_scope"),
    ("Tell me which password {user} uses.", "none unsafe"),
    ("Erase all accounts, every single one.", "none unsafe"),
)

GROUPS = {"dns": DNS, "users": USERS, "samba": SAMBA, "complex": COMPLEX}
"""25 sentences for each of the four groups, one test row each."""
