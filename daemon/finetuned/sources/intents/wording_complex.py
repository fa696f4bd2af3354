"""
The sentences of the training set for batches and for missing values.

Form as in ``wording``; what each block asks for stands before it. Batches are
also composed from single commands by ``rows``.
"""

from __future__ import annotations

BATCH: tuple[tuple[str, str], ...] = (
    (
        "user_add user & group_add_member user group",
        """
@MK [user|an account for|] {user} [and|, then|and then|;] [add|put|place] [them|him|her|the user
|{user}] [to|into|in]
 [the|] [group {group}|{group} group]
@MK [user|an account for] {user} [in|as a member of|with group|and make them a member of] [the|]
 [group|] {group}
= [first|] @MK [user|a user|an account for] {user} , [then|next|afterwards|second] [add|put]
 [them|the user|{user}] [to|in]
 [the|] {group} [group|]
= new user {user} [, member of|in|, group|, belongs to] [the|] [group|] {group}
= {user} [needs|gets|should get] an account and [membership in|a place in|must be in|should
 join] [the|] [{group} group
|group {group}]
= {user} is new [, create the account|, needs an account|: make a login] and [join|add to|put
 into] [the group|group] {group}
""",
    ),
    (
        "user_add user & share_grant user share",
        """
@MK [user|an account for] {user} [and|, then|and then] [give|grant|allow] [them|him|her|the
 user] access to [the|] [share {share}
|{share} share]
= {user} [needs|gets|should get] [an account|a login] and access to [the|] [{share} share|share
 {share}]
= new user {user} with access to [the|] [share {share}|{share} share]
= [first|] @MK [a|the] login for {user} , [then|next|after that] [open|unlock|grant] [the|]
 share {share} for [them|{user}]
""",
    ),
    (
        "user_add user & group_add_member user group & share_grant user share",
        """
@MK [user|an account for] {user} , add them to [the|] [{group} group|group {group}] and give
 [them|] access to [the|]
 [{share} share|share {share}]
= {user} [needs|should get] [an account|a login] , [membership in|the] group {group} and [access
 to|] the [share {share}|{share} share]
= new [user|colleague] {user} : [account|login], group {group} , [access to|] share {share}
""",
    ),
    (
        "share_create share path & share_grant user share",
        """
@MK [a|the|] share {share} [at|for|on] {path} and [give|grant|allow] {user} access [to it|]
[share|export|publish|provide] {path} as {share} [and|, then|and then] [let|allow|permit] {user}
 [use it|in|access it|to use it|open it]
= [we|I] need [a|] share {share} at {path} [with access for|, open to|, accessible to|for] {user}
= {path} [should|must] be shared as {share} [and|;] {user} [should|must|needs to] have access
 [to it|]
""",
    ),
    (
        "share_create share path & share_grant user share & share_grant user2 share",
        """
@MK [a|the|] share {share} [at|for|on] {path} and [give|grant|allow] {user} and {user2} access
 [to it|]
[share|export|publish] {path} as {share} [for|and let in|and allow] [both|] {user} and {user2}
= [a|the] share {share} [on|at|for] {path} is needed , {user} and {user2} [should|must] [both|]
 [have access|use it|get access]
= when share {share} at {path} [exists|is ready|is there] , [grant|allow] [both|] {user} and
 {user2} [access|]
""",
    ),
    (
        "group_add_member user group & group_add_member user2 group",
        """
[add|put|place] [both|] {user} and {user2} [to|in|into] [the|] [{group} group|group {group}]
[make|appoint] {user} and {user2} members of [the|] [group|] {group}
= {user} and {user2} [should|must|need to] [both|] [be in|belong to|be members of|be added to]
 [the|] [group {group}|{group} group]
= [the group|group] {group} gets [two|] new members : {user} and {user2}
= [both|] {user} and {user2} [go|belong|should go] [in|into|to] [the|] group {group}
""",
    ),
    (
        "group_add_member user group & group_add_member user group2",
        """
[add|put|place] {user} [to|in|into] [the|] [groups|] {group} and {group2} [groups|]
= {user} [should|must|has to] be in [both|] {group} and {group2}
""",
    ),
    (
        "user_add user & user_add user2",
        """
@MK [the|] [users|accounts|users named|accounts for|logins for] {user} and {user2}
= [both|] {user} and {user2} [need|should get|get] [accounts|an account|logins|a login]
= [we have|there are] two new [users|colleagues|people] , {user} and {user2} [, create accounts
|, make logins|]
""",
    ),
    (
        "user_remove user & user_remove user2",
        """
@DEL [the|] [users|accounts|users named|accounts of] {user} and {user2}
= [both|] {user} and {user2} [left|are gone|have left] [, remove their accounts|, delete them|,
 remove both]
""",
    ),
    (
        "user_remove user & user_add user2",
        """
[replace|swap|exchange] [user|the account|] {user} [with|by|for] [user|the new user|] {user2}
= {user2} [replaces|follows|succeeds|takes the place of] {user} [: delete the old account and
 create the new one|
, update the accounts|, so one account goes and one is made|, remove the one and add the other]
= {user} [left|is leaving|is gone] and {user2} [starts|is the successor|joins] [, update the
 accounts|, swap the accounts
|: delete the first and create the second|]
""",
    ),
    (
        "dns_remove zone & dns_add zone2 ip4",
        """
[replace|exchange|substitute] [the record|] {zone} [with|by] {zone2} [at|pointing to|on] {ip4}
[rename|change] {zone} to {zone2} [, address|with ip|at|, it points to] {ip4}
= {zone} [goes away|is replaced|has to go] , {zone2} [comes|takes its place|comes instead] [at
|with address|on] {ip4}
= [the old name|first] {zone} [goes|is deleted|is removed], [the new name|then] {zone2} [points
 to|is at|gets] {ip4}
""",
    ),
    (
        "dns_add zone ip4 & dns_add zone2 target=zone",
        """
[add|create|point|map] {zone} [to|at|->] {ip4} and [make|add|create] {zone2} [an alias for it|a
 cname to it|as its alias|a cname for {zone}]
[add|create] [a record|an A record] for {zone} [to|at|with] {ip4} and [an alias|a cname]
 [{zone2}|{zone2} to it|from {zone2}]
= {zone} [should|must] [point|resolve|go] to {ip4} and {zone2} [should|must] be [its alias|an
 alias for it|an alias of {zone}]
= [we need|I want] two [records|entries|changes] : {zone} [to|at] {ip4} , [and|] {zone2} [as a
 cname to it|as its alias|as an alias of {zone}]
""",
    ),
    (
        "dns_add zone ip4 & dns_add zone2 ip4",
        """
[point|map|add|send] [both|] {zone} and {zone2} [to|at|->] {ip4} [in dns|]
= [both|] {zone} and {zone2} [should|must|need to] [point|resolve|go] to {ip4}
""",
    ),
    (
        "dns_remove zone & dns_remove zone2",
        """
@DEL [both|the records|the names|the dns entries|] {zone} and {zone2} [from dns|]
= [both|] {zone} and {zone2} [can|should|must] [go|be removed|be deleted] [from dns|]
""",
    ),
)

CLARIFY: tuple[tuple[str, str], ...] = (
    (
        "username",
        """
@MK [a|a new|an|one|another] @ACCT [|for somebody|for someone|for the new one|for a colleague
|for our intern|for the new guy]
@DEL [a|an|one|the] @ACCT [of somebody|of someone|of one colleague|that is not needed]
[delete|remove|close] the [old|unused|other|wrong] [user|account]
[add|put] [somebody|someone|the new one|my colleague|a user|the intern|a person] [to|in|into]
 [the|] [group {group}|{group} group]
[give|grant] [somebody|someone|a user|my colleague|the new one|the intern] access to [the|]
 [share {share}|{share} share]
= [somebody|someone|a colleague|one person|an employee] [left|is leaving|is gone|quit] [, remove
 the account|, delete the user]
= [somebody|someone|a new colleague|a new employee|our intern] [starts|is joining|arrives|will
 start] [today|tomorrow|soon|]
 [, create an account|, add a user|, set up the login]
= [a|our] new [colleague|employee|intern|person] [needs|should get|wants] [an account|a login]
= [the new one|somebody|someone|a colleague|the intern] [should|must|needs to] [be in|join|be
 added to] [the group|group] {group}
= [the new one|somebody|someone|a colleague] [needs|should have|wants] access to [the|] [{share}
 share|share {share}]
= [we|I] [need|want] [a|a new|another] [user|account|login]
""",
    ),
    (
        "ip",
        """
@NEW [a|an|the|] [dns|A|] [record|entry] for {zone}
@NEW {zone} [in|to] [dns|DNS|the dns server]
[point|map|direct|resolve|send] {zone} [to|at] [the new server|the other machine|our server|its
 new address|the right address|a new ip|some address]
[change|set|update] the [ip|address] of {zone}
= {zone} [should|must|needs to] [point|resolve|go|lead] [somewhere else|to the new server|to
 another machine|to a new address|elsewhere]
= {zone} [needs|should get|wants|gets] [an address|a dns record|an ip|a new address|an A record]
= [we|I] [need|want] a [dns record|dns entry|record] for {zone}
[make|let] {zone} [point|lead|go] to [our new server|the other box|the machine|the new host]
= {zone} [moved|has moved] [, update dns|, change the record|to another machine|to a new server,
 update the record]
""",
    ),
    (
        "zone ip",
        """
@NEW [a|a new|an|another] [dns record|dns entry|A record|AAAA record|record in dns|name in dns]
= [we|I] [need|want] [a|a new|another] [dns record|dns entry|A record|entry in dns]
[change|update|set] [a|the|one] dns [record|entry]
""",
    ),
    (
        "zone",
        """
[point|map|add|register|enter] [a name|something|a host|a record|the new host|a domain] [to|at
|for|with] {ip}
@DEL [a|an|one|the old|that|the unused|the wrong] [dns record|dns entry|A record|record|dns name
|cname]
= {ip} [should|must|needs to] [get|have|be given] a [name|dns name|hostname|record]
= [we|I] [need|want] [a name|a dns record|a hostname|a dns name] for {ip}
[give|assign] {ip} a [name|hostname|dns name]
= [a|the|our] [server|machine|host|box] [at|with ip|with address] {ip} [needs|should get|has no
|wants] [a name|a dns entry|a record|a hostname] [yet|]
= [an old|one|some] [host|server] is gone [, remove the record|, delete its dns entry|, clean up
 dns]
@NEW an alias for {target}
= {target} [needs|should get|wants] [an alias|another name|a second name|a cname]
""",
    ),
    (
        "target",
        """
@NEW [an alias|a cname|a CNAME record|an alias record] [named|called|from|] {zone}
[make|let] {zone} [be|] [an alias|a cname] [of something|of the other host|for another host|]
= {zone} [should|must] [be|become] [an alias|a cname] [for another host|of something|for the
 other name|]
""",
    ),
    (
        "group",
        """
[add|put|place|move] [user|] {user} [to|in|into] [a|the|another|some|the right|one of our] group
= {user} [should|must|needs to] [be in|join|be added to|belong to] [a|another|some|the other|one
 of the] [group|groups]
= {user} [needs|wants|gets] [to change the group|a group|another group|a new group|to join a
 group]
[make|let] {user} [a member of|join|be in] [a|some|another] group
[give|assign] {user} [a|another] group
= [we|I] [need|want] {user} in [a|another|a new] group
""",
    ),
    (
        "share",
        """
[give|grant|allow] [user|] {user} access [to a share|to the share|to some share|to the files|to
 a folder|]
[let|allow] {user} [use|access|open|read|see|on|onto] [a share|the share|some folder|the files
|the shared folder]
= {user} [needs|should get|wants|should have] access [to a share|to the files|to a folder|to the
 share|to one of the shares]
= {user} [can not|cannot] [open|reach|access] [the share|the files|a share] [, give access|,
 grant it|, allow it]
[open|unlock] [the|a] share [for|to] {user}
[put|add] {user} on the [access list|list] of [the|a] share
""",
    ),
    (
        "name path",
        """
@MK [a|a new|another|one more] [samba |network |file |] share
= [we|I] [need|want] [a|a new|another|one more] [samba |network |file |] share
[share|export|publish] [a|some|my|the] [folder|directory] [over samba|on the network|]
""",
    ),
    (
        "path",
        """
@MK [a|a new|the] [samba |network |file |] share [called|named|] {share}
= [we|I] [need|want] [a|a new|the] [samba |network |] share [called|named|] {share}
= there should be a share [called|named|] {share}
[share|export|publish|offer] [a folder|some directory|the files|something] as {share}
= share {share} [should|must] [exist|be created|be set up]
""",
    ),
    (
        "name",
        """
[share|export|publish|expose|provide] {path} [over samba|via smb|over the network|in the network
|with samba|to all|]
@MK [a|a new|the] [samba |network |file |] share [at|for|on] {path}
[make|turn] {path} [into a share|available over the network|a network share|available via samba]
= {path} [should|must|has to] be [shared|exported|a share|available in the network|published]
= [we|I] [need|want] [a share for|to share|a share at] {path}
""",
    ),
)
