"""
The sentences of the training set for single commands.

Each block is (what it asks for, templates). A template that starts with ``=``
is a statement or a question and takes no "please" before it; the others are
orders. Brackets are those of ``grammar``.

Knows sentences and what they ask for; does not know names, models, or the
test set's own sentences.
"""

from __future__ import annotations

_NEW = "[add|create|make|set up|register|insert|put in|enter|define|configure]"
_REC = "[dns |DNS ||][record|entry]"
_IN = "[|in dns|in DNS|on the dns server|in the zone file|in the name server|to dns]"
_DEL = "[remove|delete|drop|erase|clear|take out|get rid of|purge|unregister|kill]"
_ACCT = "[user|account|user account|login|login account]"
_MK = "[add|create|make|set up|register|provision|open|prepare]"
_BOX = "[server|machine|host|box|service|node]"
_DIR = "[folder|directory|path|data in|files in|files under|content of]"

DNS_ADD = """
[add|create|make|set up|register|insert|enter|define|configure] [a|the|a new|] @REC
 [for|named|called|] {zone} [pointing to|pointing at|with ip|with address|to|->|=|at|with value]
 {ip}
@NEW {zone} [to|->|with|at|as|pointing to|=>] {ip} @IN
[point|map|direct|route|link|resolve|aim|bind|set|steer] {zone} [to|at|onto|towards] {ip} @IN
[assign|give] [the|] [ip|address|ip address|] {ip} to [the name|the host|host|] {zone}
[assign|give] {zone} the [ip|address|ip address] {ip}
[make|let] {zone} [resolve|point|go|lead|map] to [the address|ip|] {ip}
[make sure|ensure|see to it|check|take care] that {zone} [resolves|points|goes|leads] to {ip}
@NEW [an|a new|the] [A record|a record|AAAA record|address record|host record] for {zone} [with
|to|at|of]
 [ip|address|] {ip}
[register|enter|publish|list|announce|store] {zone} [under|with|at|on|using] [address|ip|the ip
|] {ip}
[register|list|publish|store] {ip} [under|as|for|with] [the name|the hostname|] {zone}
[associate|connect|tie|match|pair] [the name|the domain|] {zone} [with|to] [the ip|address|] {ip}
[associate|connect|tie|link] {ip} [with|to|and] {zone}
dns [add|set|create|new|]: {zone} [->|=|to|] {ip}
[add|new] dns {zone} {ip}
{zone} {ip} [add to dns|dns entry please|in dns please]
= {zone} [should|must|has to|needs to|shall|ought to] [resolve|point|go|lead|map] to {ip}
= {zone} [should|must|has to|needs to] [be|be found|be reachable|live] at {ip}
= the [name|host|domain|hostname] {zone} [should|must|needs to|has to] [point|resolve|lead] to
 {ip}
= [we|I] [need|want|would like] [a|an|] @REC for {zone} [at|with|to|pointing to] {ip}
= [we|I] [need|want] {zone} [to point|to resolve|to go|pointing] to {ip}
= {zone} [is|is now|now lives|runs|moved] [at|on|to] {ip}, [add it to dns|create the record
|update dns
|register it|write it down in dns]
= the [new|] [address|ip] [of|for] {zone} is {ip} [, please add it|, update dns|, register it|]
= new [@BOX|] {zone} [at|with ip|on] {ip} [, add it to dns|, dns please|]
= our [new|] @BOX [at|with address|on] {ip} [is called|has the name|gets the name|shall be
 named] {zone}
= [there is|we have] a [new|] @BOX at {ip} [, call it|, name it|, it is called|, its name is]
 {zone}
= [requests|queries|lookups|traffic] for {zone} [should|must|have to] [go|lead|be sent|end up]
 [to|at] {ip}
= [when|if] [somebody|someone|a client|people] [asks|ask|looks] for {zone} [answer|return|they
 should get]
 {ip}
= {ip} [is|should be|must be|shall be] [the address of|the ip of|the ip for|known as|called
|reachable as]
 {zone} [in dns|]
= {ip} [needs|should have|should get|gets] the [name|hostname|dns name] {zone}
= can {zone} [point|resolve|go|be sent] to {ip} [?|]
= the @REC {zone} [needs|wants|must have] [the address|the ip|] {ip}
[for|under] {zone} [add|create|return|store|publish|use|enter] [the address|the ip|ip|] {ip} @IN
[use|return|serve|answer] {ip} [for|as the address of|when asked for] {zone}
[tell|teach] [dns|the dns server|the nameserver|the name server] that {zone} [is|is at|lives at
|sits at] {ip}
[have|let] the [dns|name] server [return|answer|give|send|know] {ip} for {zone}
[update|change|adjust] dns so that {zone} [points|resolves|goes|leads] to {ip}
"""

DNS_ADD_V4 = """
@NEW an [A record|IPv4 address|A entry|ipv4 record] for {zone} [with|to|at|->|:] {ip4}
[add|set|create] [A|type A|an A record] {zone} {ip4}
= {zone} [needs|gets|should have|wants] [an A record|an A entry|an IPv4 address] [with|at|to|:]
 {ip4}
= A record [for|of|:] {zone} [is|to|->|=] {ip4}
[set|change] the A record of {zone} to {ip4}
"""

DNS_ADD_V6 = """
@NEW an [AAAA record|IPv6 address|ipv6 record|AAAA entry|IPv6 entry] for {zone} [with|to|at|->
|:] {ip6}
[add|set|create] [AAAA|type AAAA|ipv6] {zone} {ip6}
= {zone} [needs|gets|should have|wants] [an AAAA record|an IPv6 address|ipv6] [with|at|to|:] {ip6}
= AAAA record [for|of|:] {zone} [is|to|->|=] {ip6}
[make|let] {zone} [resolve|answer|reachable] over [ipv6|IPv6|v6] [at|with|to|on] {ip6}
[set|enter|give] the [ipv6|IPv6|v6] address [of|for] {zone} [to|as|:] {ip6}
= the [v6|IPv6|ipv6] address [of|for] {zone} is {ip6} [, add it|, please register it|]
= [v6|IPv6|ipv6] [clients|traffic|users] [of|for] {zone} [should|must] [go to|reach|use] {ip6}
= [over|on|with|for] [ipv6|IPv6|v6] , {zone} [is|should be|must be] [at|on|] {ip6}
"""

DNS_CNAME = """
@NEW [a|a new|the|] [CNAME|cname|alias|CNAME record|alias record] [for|from|called|named|] {zone}
 [to|pointing to|->|pointing at|for] {target}
[make|let|set] {zone} [be|] [a|an|the] [CNAME|cname|alias] [of|for|to] {target}
[alias|cname|redirect|forward] {zone} to {target} @IN
[point|map|direct|link|send] {zone} [to|at] [the host|the name|] {target} @IN
[use|make|add|take] {zone} as [an|another|a second] [alias|name] [for|of] {target}
[give|assign] {target} the [alias|second name|additional name|extra name|other name] {zone}
dns [cname|alias|add]: {zone} [->|=|to] {target}
= {zone} [should|must|has to|shall|needs to] [be|become] [an|the] [alias|CNAME|cname] [of|for
|to] {target}
= {zone} [should|must|has to|needs to] [point|resolve|lead|refer|redirect] to [the name|the host|]
 {target}
= {zone} is [the same as|an alias of|just an alias for|the same host as|a copy of|another name of]
 {target} [, add it|, add the cname|, in dns]
= [we|I] [need|want] [a cname|an alias|a CNAME record] from {zone} to {target}
= [people|clients|those|users] [who ask|asking|looking] for {zone} [should|must] [reach|get|land
 on|go to]
 {target}
= {target} [should|must|shall] also be [known|reachable|found] [as|under] {zone}
= {target} [gets|needs|should get|should have] [the|an] [alias|second name] {zone}
= {zone} [follows|belongs to|mirrors|goes with|stands for] {target} [, as a cname|, make the
 alias|in dns]
[let|have|make] {zone} [mirror|refer to|point to|go to|lead to|stand for] {target}
[tie|connect|hang|bind] {zone} to {target} [with|by|as] [a cname|an alias|a CNAME]
[treat|handle|resolve|see] {zone} [like|as] {target}
"""

DNS_WILD = """
@NEW [a|the|] [wildcard|catch-all|wildcard record|wildcard entry] [for|] {wild} [to|->|pointing
 to|at] {V}
[point|map|send|direct|lead|route] [all of|everything under|anything in|all names in|every name
 under|]
 {wild} [to|at] {V}
[make|let|have] {wild} [resolve|point|go|lead] to {V}
= {wild} [should|must|has to|needs to] [resolve|point|go|lead] to {V}
= [every|any|each] [name|host|subdomain] [in|under|matching|of] {wild} [should|must|has to]
 [go|point|resolve|lead] to {V}
= [all|the] [names|hosts|subdomains] [in|under|matching|of] {wild} [should|must|have to]
 [go|point|resolve|lead] to {V}
= [we|I] [need|want] a wildcard [record|entry|] {wild} [to|at|with] {V}
[catch|cover] [all|everything in|everything under|] {wild} [with|by|and send it to|using] {V}
"""

DNS_REMOVE = """
@DEL [the|] @REC [for|of|named|] {zone}
@DEL {zone} [from|out of|in] [dns|DNS|the dns server|the zone|the name server|the zone file]
@DEL [the|] [name|domain|host|hostname|dns name] {zone} [|from dns]
@DEL [the|] [alias|cname|CNAME|A record|a record|AAAA record|wildcard] [for|of|] {zone}
@DEL [any|all|every] [dns|] [record|records|entry|entries] [for|of|about|with] {zone}
dns [remove|delete|drop|del]: {zone}
[stop|end|quit] [publishing|serving|answering for|announcing|listing] {zone} [in dns|]
[make sure|ensure|see to it] [that|] {zone} [is gone|is removed|is deleted|disappears|goes away]
 [from dns|]
[let|make] {zone} [disappear|vanish|go away] [from dns|]
[retire|forget|withdraw|clean up|wipe|cancel|strike|discard|revoke] [the|] @REC [for|of|] {zone}
[retire|forget|withdraw|cancel|discard|unpublish|revoke] [the name|the host|] {zone} [in dns
|from dns]
= {zone} [is|was] [no longer needed|obsolete|not used anymore|decommissioned|shut down|dead|not
 in use]
 [, remove it|, delete it|, remove the record|, drop the entry|, clean up dns|, take it out of
 dns]
= {zone} [should|must|can|has to|needs to] [go|be removed|be deleted|disappear|be dropped|be
 gone] [from dns|]
= [we|I] [do not|don't|no longer] [need|use|want] {zone} [any more|anymore|] [, remove it|in dns|]
= the [dns|] [record|entry|name] [for|of|] {zone} [should|must|can|has to] [go|be removed|be
 deleted|disappear]
= [nobody|no one] [uses|needs] {zone} [any more|anymore|] [, delete it|, remove it|, so remove it]
= {zone} [must|should] [not|no longer|never] [resolve|be found|be in dns|be published|answer]
 [any more|]
= the [host|@BOX] {zone} [is|was] [switched off|gone|sold|scrapped|removed|turned off] [, delete
 its record
|, remove it from dns|, so drop the record|, remove its dns entry]
= can {zone} be [removed|deleted|dropped|taken out] [from dns|] [?|]
[do not|don't|no longer] [resolve|answer for|publish|serve] {zone} [any more|anymore|]
"""

USER_ADD = """
@MK [a|a new|an|the|] @ACCT [for|called|named|with the name|with username|] {user} [|on the
 server]
@MK [the|] [user|username|new user] {user} [|on the server|on the system|in the directory]
@MK {user} [as|as a|as a new] [user|system user|login|account] [|on the server]
[give|get|hand|provide|grant] {user} [an account|a user account|a login|a new account|a system
 login]
[let|allow] {user} [log in|sign in|have an account|have a login|use the system] [with a new
 account|from now on|]
[onboard|enroll|enrol|register|welcome] {user} [|as a new user|as user|as a new colleague]
[make sure|ensure] [that|] [user|account|] {user} [exists|gets created|has an account|has a login]
useradd {user}
user [add|create|new]: {user}
= [we|I] [need|want|would like] [a|an|] [new|] @ACCT for {user}
= [we|I] [need|want] [a|] [new|] user [called|named|] {user}
= {user} [needs|should get|gets|must have|should have|wants|requires] [an account|a login|a user
 account
|a new login|access to the system]
= {user} is [new|a new colleague|a new employee|our new colleague|joining us|new in the company]
 [, create an account|, add the user|, set up a login|, make an account|, give them an account]
= {user} [joins|starts|begins|joined] [today|tomorrow|next week|on friday|this week|in march]
 [, create the account|, set up an account|, add a user|and needs a login|, so make an account]
= there [is|must be|needs to be|shall be] [a|an] [new|] [user|account] [named|called|for] {user}
= [user|account] {user} [should|must|has to|needs to] [exist|be created|be added|be set up]
= new [user|hire|employee|colleague|account|member of staff] [:|is|] {user}
= [have|has] {user} been [added|set up] as a user ? if not , do it
= can {user} [have|get] [an account|a login|a user] [?|]
= [my|our] [colleague|boss|intern|friend] {user} [needs|should have|wants|must get] [an account
|a login]
"""

USER_ADD_STORED = """
@MK [a|the|a new|] @ACCT [for|called|named|] {user} [with|using] [password|the password|secret
|the secret
|credentials|the credentials] [from|in|at|] {secret}
@MK [user|account] {user} , [password|secret|credentials] [in|at|from|is in|under|:] {secret}
[give|get] {user} [an account|a login] [with|using] [the|] [password|secret] [stored at|in|from
|] {secret}
= {user} [needs|gets|should get] [an account|a login] , [the|] [password|credentials|secret] [is
|are|is stored]
 [in|at|under] {secret}
= new user {user} , [password|secret|its password is|take the password from] {secret}
"""

USER_REMOVE = """
@DEL [the|] @ACCT [for|of|called|named|] {user} [|from the server]
@DEL {user} [from|on] [the system|the server|the directory|the user list|our users|the users]
@DEL [user|] {user} [and the account|completely|for good|]
[deactivate|disable|close|terminate|cancel|revoke|retire|end] [the|] @ACCT [of|for|] {user}
[offboard|unregister|deprovision|dismiss] [user|] {user}
[take|throw|strike|cross] {user} [off|out of|from] [the user list|the list of users|the users
|the directory]
[let|make] [the account|user] {user} [disappear|go away|vanish]
[make sure|ensure] [that|] {user} [can no longer log in|is removed|is gone|has no account|cannot
 log in]
userdel {user}
user [remove|delete|del]: {user}
= {user} [left|has left|is leaving|leaves|quit|resigned|retired|moved on] [the company|us|today
|last week|]
 [, remove the account|, delete the user|, close the account|, delete the login|, remove them|,
 so delete the user]
= {user} [is gone|is no longer with us|does not work here any more|no longer works here|was fired]
 [, remove the account|, delete the user|, drop the login|, disable the account]
= [we|I] [do not|don't|no longer] [need|want] [the user|the account|the account of|the login
|user] {user}
 [any more|anymore|]
= {user} [must|should|has to|can] [be removed|be deleted|go|lose the account|not log in any more]
= the [user|account|login] [of|] {user} [must|should|can|has to] [go|be removed|be deleted|be
 closed|disappear]
= {user} [must not|should not|may not|should no longer] [log in|have an account|have a login]
 [any more|]
= [nobody|no one] [uses|needs] [the account|the login|user] {user} [any more|anymore|] [, delete
 it|, remove it]
= [the account|user|the login] {user} is [no longer needed|not needed|old|unused|not used|dead]
 [, delete it|, remove it|, drop it|, get rid of it|, clear it]
= {user}'s [account|login] [should|must|can|has to] [go|be removed|be deleted|be closed]
[remove|delete|close|drop] {user}'s [account|login]
= can [you drop|we delete|we lose] [the user|the account] {user} [?|]
= we [fired|lost|let go of|said farewell to] {user} [, remove the account|, delete the user|,
 close the login]
"""

GROUP_ADD = """
[add|put|place|include|enroll|assign|move|insert|bring|enter] [user|] {user} [to|in|into] [the|]
 {group} group
[add|put|place|include|enroll|assign|move|insert|bring|enter] [user|] {user} [to|in|into] [the|]
 group {group}
[make|appoint] {user} a member of [the|] [group {group}|{group} group|{group}]
[make|let] {user} [part|a part|one] of [the|] [group {group}|{group} group|{group} team]
[let|have] {user} [be in|belong to|enter|be added to|be a member of] [the|] [group {group}
|{group} group]
[give|grant|assign] {user} [membership in|membership of|the group|a place in] [the|] [group|]
 {group} [group|]
[give|assign] [the|] group {group} to {user}
[add|assign] [the|] group {group} to [user|the account|] {user}
[add|take|accept|admit] {user} [as a member of|as member in|into] [the|] [group {group}|{group}
 team|{group}]
group [add|member]: {user} [->|to|in] {group}
usermod -aG {group} {user}
[make sure|ensure] [that|] {user} [is|becomes] [in|a member of|part of] [the|] [group {group}
|{group} group]
= {user} [should|must|has to|needs to] [be|be added] [in|to|into] [the|] [{group} group|group
 {group}]
= {user} [should|must|has to|needs to|shall] [become|be] [a member|part] of [the|] [{group}
|group {group}
|{group} group]
= {user} [joins|is joining|enters|moves to|belongs to|goes to|is now in] [the|] [{group} group
|group {group}
|{group} team] [, update the group|, add them|, adjust the membership|]
= {user} [needs|should get|gets|wants] [to be in|membership in|to join] [the|] [{group} group
|group {group}]
= [we|I] [need|want|would like] {user} [in|to join|to be in|added to] [the|] [{group} group
|group {group}]
= [group|the group] {group} [should|must|has to|needs to] [include|contain|have|list] {user} [as
 a member|]
= [the {group} group|group {group}] [gets|has|receives|needs] [a new member|one more member
|another member]
 [, it is|, namely|:|, add|called] {user}
= new member [for|of|in] [the|] [group {group}|{group} group|{group}] [:|is|,] {user}
= {user} works [in|with|for] {group} now [, add them to the group|, put them in that group|, so
 join the group]
[expand|grow|enlarge] [the|] [group {group}|{group} group] [with|to include|by adding] {user}
[enlist|subscribe|attach|register] {user} [for|in|with|to] [the|] [{group} group|group {group}]
[extend|widen] the membership of {group} to {user}
[in|to] [the|] group {group} [add|include|put|we want] {user}
= can {user} [be added to|join|be put in|be part of|be in] [the|] [{group} group|group {group}]
 [?|]
"""
