"""
Commands said by their result: who or what is to do or be something.

"let {zone} point to {ip}", "{zone} ought to point to {ip}" and "can {zone} point
to {ip}?" differ by their frame only, so frames and predicates are kept apart
and multiplied. Form as in ``wording``.

Knows sentences and what they ask for; does not know names or models.
"""

from __future__ import annotations

FRAMES = """
[let|have|make] SUBJECT PREDICATE
[get|allow|cause|enable|help|force|want] SUBJECT to PREDICATE
arrange for SUBJECT to PREDICATE
[see to it|take care|make sure|be sure|ensure|guarantee] that SUBJECT will PREDICATE
[tell|teach|instruct] the server that SUBJECT should PREDICATE
[change|adjust|set up|configure|arrange|prepare] [things|everything|the config|it] so that
 SUBJECT will PREDICATE
= SUBJECT [should|must|shall|needs to|has to|ought to|is to|is supposed to|is expected to|will]
 PREDICATE
= SUBJECT [should|must|needs to|has to|shall] [now|also|always|soon|again|only] PREDICATE
= [I|we] [want|need|expect|would like|wish for|asked] SUBJECT to PREDICATE
= it is [time|necessary|required|important|requested] for SUBJECT to PREDICATE
= [from now on|starting today|as of today|from today|from monday on|in future] , SUBJECT [should
|will|must|shall] PREDICATE
= [the plan|the idea|my wish|the goal|the task] is for SUBJECT to PREDICATE
= [it was decided|somebody asked|they want|management says|we agreed|I think] that SUBJECT
 [should|must|shall] PREDICATE
= [could|can|may|will|should|might] SUBJECT PREDICATE ?
= SUBJECT [will|should|must] PREDICATE , [set that up|make it so|do it|configure that|please
 arrange it|so update it
|fix that|take care of it]
"""

PREDICATES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "dns_add": (
        (
            "dns_add zone ip",
            "[|the name|the host|the domain] {zone}",
            "[resolve to|point to|lead to|go to|map to|be at|live at|sit at|be found at|be"
            " served from|be reachable at|use"
            "|have the address|get the address|return|translate to|be known at|belong to|be"
            " hosted at|carry|be assigned|run on"
            "|be on|be bound to|answer as|respond with|reply with|end at|arrive at|be mapped"
            " to] {ip}",
        ),
        (
            "dns_add zone ip",
            "[|the address|the ip|the machine|the server at|the box] {ip}",
            "[be called|be named|carry the name|be known as|answer to|host|serve|get the name"
            "|have the name|go by|be reachable as"
            "|receive the name|be listed as|be registered as|bear the name|appear as|be found"
            " as] {zone} [|in dns]",
        ),
        (
            "dns_add zone ip",
            "[people|clients|everybody|all machines|lookups|users|queries|visitors|everyone]",
            "[find {zone} at|reach {zone} at|get {zone} from|see {zone} on|find {zone} on|meet"
            " {zone} at|connect for {zone} to"
            "|go for {zone} to|be sent for {zone} to|find {zone} by|reach {zone} through] {ip}",
        ),
        (
            "dns_add zone ip",
            "[dns|the dns server|the zone|the name server|our dns|the resolver]",
            "[map {zone} to|resolve {zone} to|return for {zone}|know {zone} as|answer for"
            " {zone}|list {zone} at|send {zone} to"
            "|have {zone} at|contain {zone} at|give out for {zone}|deliver for {zone}|publish"
            " {zone} at|hold {zone} with] {ip}",
        ),
    ),
    "dns_add_v6": (
        (
            "dns_add zone ip6",
            "{zone}",
            "[have|get|use|own|receive] the [v6|IPv6|ipv6|AAAA|long] [address|record|entry] {ip6}",
        ),
        (
            "dns_add zone ip6",
            "[v6|IPv6|ipv6] [clients|machines|hosts|users|traffic|lookups]",
            "[reach|get|see|use|ask] {zone} [at|on|under|with] {ip6}",
        ),
    ),
    "dns_cname": (
        (
            "dns_add zone target",
            "[|the name|the host|the alias] {zone}",
            "[be an alias of|be an alias for|mirror|follow|stand for|mean|refer to|be a synonym"
            " for|be the same as|redirect to"
            "|be another name for|be a cname of|imitate|equal|copy|be a second name of|be the"
            " nickname of|forward to|hang on"
            "|resolve like|behave like|answer like|lead to|inherit from|share the address of"
            "|shadow|track|go wherever|go with]"
            " [|the host|the name] {target}",
        ),
        (
            "dns_add zone target",
            "[people|clients|everybody|lookups|users|queries|visitors] [asking for|looking for"
            "|for|who want|that go to] {zone}",
            "[be sent to|get to|land at|arrive at|see|reach|be led to|be forwarded to|go to|end"
            " at|find|be passed to] {target}",
        ),
        (
            "dns_add zone target",
            "[|the host|the name] {target}",
            "[have the alias|also be called|be known also as|get the second name|also answer to"
            "|own the alias|carry the alias"
            "|be reachable also as|get the nickname|have the extra name|also go by] {zone}",
        ),
    ),
    "dns_wild": (
        (
            "dns_add wild *",
            "[{wild}|everything in {wild}|all of {wild}|every name in {wild}|all hosts in"
            " {wild}|names like {wild}|anything in {wild}"
            "|what matches {wild}|whatever fits {wild}]",
            "[resolve to|point to|lead to|go to|map to|end at|be sent to|arrive at|use|be"
            " caught by|be led to|be at] {V}",
        ),
    ),
    "dns_remove": (
        (
            "dns_remove zone",
            "[|the name|the host|the domain|the record for|the record of|the entry for|the dns"
            " entry for] {zone}",
            "[disappear|go|vanish|go away|be removed|be deleted|be dropped|be gone|be forgotten"
            "|be taken down|be cleaned up"
            "|be struck|be withdrawn|be erased|leave|be retired|cease to exist|be thrown out"
            "|expire|be unpublished] [|from dns|in dns]",
        ),
        (
            "dns_remove zone",
            "[|the name|the host|the domain] {zone}",
            "[no longer|not|never] [resolve|be published|exist|be served|be answered|be found"
            "|be listed|point anywhere|be known"
            "|be in dns|appear in dns|lead anywhere|be there] [|any more|anymore|any longer]",
        ),
        (
            "dns_remove zone",
            "[dns|the dns server|the zone|the name server|our dns]",
            "[forget|lose|drop|stop serving|stop knowing|no longer answer for|no longer know|no"
            " longer list|ignore|not resolve] {zone}",
        ),
    ),
    "user_add": (
        (
            "user_add user",
            "[|my colleague|our colleague|the new colleague|the employee|the student|user] {user}",
            "[have an account|get an account|receive a login|have a login|own an account|be a"
            " user|become a user|be able to log in"
            "|log in|sign in|exist as a user|be registered|be onboarded|obtain a login|be added"
            " as a user|be created as a user"
            "|be given an account|use the system|exist as a login|be known to the system|have"
            " access to the system]"
            " [|here|on the server|on this machine]",
        ),
        (
            "user_add user",
            "[a user|an account|a login|a new user|a new account|a user account]",
            "[exist for|be made for|be created for|be ready for|be opened for|be set up for|be"
            " there for|be available for"
            "|be prepared for|be named|be called] {user}",
        ),
        (
            "user_add user",
            "[the server|the system|the directory]",
            "[know|accept|have an account for|contain a user|get a user|recognise|welcome"
            "|create] {user} as a [new|] user",
        ),
    ),
    "user_remove": (
        (
            "user_remove user",
            "[the account|the login|user|the user|the account of|the login of|the user account"
            " of] {user}",
            "[disappear|go|vanish|go away|be removed|be deleted|be dropped|be gone|be closed|be"
            " disabled|be taken down|be cleaned up"
            "|end|cease to exist|be revoked|be terminated|be retired|be erased|be cancelled"
            "|expire|be thrown out]",
        ),
        (
            "user_remove user",
            "[|my colleague|the former colleague] {user}",
            "[no longer|never|not] [log in|have an account|have a login|be a user|sign in|get"
            " in|use the system|work here|be registered"
            "|exist as a user|be known to the system|be able to log in] [|any more|anymore|any"
            " longer]",
        ),
        (
            "user_remove user",
            "[|the former colleague|user] {user}",
            "[lose the account|lose the login|be offboarded|be locked out and deleted|leave the"
            " system|give up the account"
            "|be struck from the users|be taken off the users|be removed from the system|be"
            " deleted from the server"
            "|be thrown off the server|disappear from the users]",
        ),
        (
            "user_remove user",
            "[the server|the system|the directory]",
            "[forget|lose|drop|no longer know|no longer accept|delete|expel] [user|the user|the"
            " account of] {user}",
        ),
    ),
    "group_add": (
        (
            "group_add_member user group",
            "[|user|my colleague|our colleague|the account] {user}",
            "[be in|join|enter|be part of|be a member of|become a member of|belong to|be added"
            " to|be put into|be listed in"
            "|be counted in|be included in|be assigned to|go to|be placed in|be one of|be"
            " enrolled in|move to|be accepted in|strengthen"
            "|be taken into|get into|help out in|work in] [the|] [{group} group|group {group}]",
        ),
        (
            "group_add_member user group",
            "[|user|my colleague] {user}",
            "[have|get|receive|obtain|be given] [the group|membership in|membership of|the"
            " rights of group|the role of group|a place in"
            "|a seat in] {group}",
        ),
        (
            "group_add_member user group",
            "[the|] [{group} group|group {group}|{group} team]",
            "[include|contain|have|list|accept|admit|take in|get|welcome|receive|count|take"
            "|hold|gain|absorb] [|user|the member|a member called"
            "|as a member] {user}",
        ),
    ),
    "share_create": (
        (
            "share_create share path",
            "[|the folder|the directory|the path|the files in|the data in] {path}",
            "[be shared as|be available as|be exported as|be published as|be visible as|be"
            " reachable as|be a share called|become the share"
            "|appear on the network as|be served as|be offered as|show up as|be on the network"
            " as|be found as|be accessible as"
            "|be a network folder named|be open as|be usable as|carry the share name|get the"
            " share name] {share} [|over samba|over smb"
            "|on the network]",
        ),
        (
            "share_create share path",
            "[the share|a share|a new share|a share called|a share named|a network share|a"
            " samba share|the folder share] {share}",
            "[point to|serve|use|contain|live at|be at|offer|be created for|cover|expose|be"
            " made from|show|be based on|deliver|hold"
            "|provide|be stored at|be placed on|export|exist at|exist for|open|map to|be built"
            " on] {path}",
        ),
        (
            "share_create share path",
            "[people|clients|everybody|users|windows machines|our team|colleagues]",
            "[find {path} as|reach {path} as|see {path} as|get {path} as|use {path} as|open"
            " {path} as|mount {path} as|access {path} as"
            "|find {path} under|see {path} under the name|work with {path} as|reach {path}"
            " through] [|the share|share] {share}",
        ),
        (
            "share_create share path",
            "[samba|the file server|the server|smb]",
            "[share|serve|export|offer|publish|show|provide|expose|present|deliver] {path} [as"
            "|under|under the name|by the name|as share] {share}",
        ),
    ),
    "share_grant": (
        (
            "share_grant user share",
            "[|user|my colleague|our colleague|the account] {user}",
            "[have access to|get access to|use|open|read|access|enter|see|work on|work with"
            "|write to|reach|be allowed on|be admitted to"
            "|mount|be able to use|be able to open|be able to reach|get into|read and write|be"
            " let into|be welcome on|be permitted on"
            "|edit files on|look into|be granted|get rights on|store files on|browse] [the|]"
            " [{share} share|share {share}]",
        ),
        (
            "share_grant user share",
            "[the|] [{share} share|share {share}|shared folder {share}|folder {share}]",
            "[be open to|be open for|be available to|be accessible for|be unlocked for|be"
            " readable by|be writable by|let in|admit|allow"
            "|accept|permit|be usable by|be visible to|list|be shared with|be granted to"
            "|welcome|include|be reachable for|take in] {user}",
        ),
        (
            "share_grant user share",
            "[access|permission|the right|read access|write access] [to|on|for] [the|] [{share}"
            " share|share {share}]",
            "[be given to|be granted to|go to|be set for|be added for|exist for|be enabled for"
            "|be extended to|be there for] {user}",
        ),
        (
            "share_grant user share",
            "[samba|the file server|the server]",
            "[let|allow|admit|accept|permit] {user} [on|into|onto|to open|to use|to read|to"
            " enter] [the|] [{share} share|share {share}]",
        ),
    ),
}
"""For each block: (what is asked, subject, predicate)."""
