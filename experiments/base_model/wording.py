"""
Sentences that only the base model's corpus uses: more ways to say a command,
small facts, and plain text about servers. Form as in ``finetuned.sources.intents``.
"""

from __future__ import annotations

import re

ASIDES = """
[because|since|as|while|after|although|when|whenever|until|unless|so that] the ADJECTIVE NOUN DID
[because|since|as|while|after|although|when] NOUN and NOUN DID ADVERB
as [agreed|promised|noted|written|told|said] [in|at|by|near|during] the ADJECTIVE NOUN
[and|but|for] the NOUN DID ADVERB
[with|without|despite|beside|behind|among|between|around|thanks to] the ADJECTIVE NOUN
the ADJECTIVE NOUN DID ADVERB
[it is|that was|this seems|sounds] ADVERB ADJECTIVE
"""
"""Small talk around a command: words that are no names, so that not every rare word is one."""

SMALL_TALK = {
    "ADJECTIVE": """
    ancient angry big bitter blue brave bright broken brown busy calm cheap clever cold crazy
    curious dark deep dry dull dusty early easy empty fancy fat fierce final flat fresh funny
    gentle giant glad golden grand green grumpy happy heavy hidden hollow huge hungry icy jolly
    late lazy little lonely loud lucky mad mighty modern muddy narrow noisy odd pale patient
    plain pretty proud purple quiet rare rough round sad shiny short shy silent silly simple
    sleepy smooth soft sour square steep strange sweet tall tame thick thin tidy tiny tired
    ugly useful vague warm weak wet wide wild wise wooden yellow young
    """,
    "NOUN": """
    apple arrow autumn baker balloon barn basket battle beach bell bench bicycle bird blanket
    boat bottle branch bread breeze bridge brother bucket butter cabin candle captain carpet
    castle cat chair cheese cherry chimney circle circus cloud coast coat coffee copper corner
    cottage cousin cow crowd crystal dance daughter desert dinner doctor dog dragon dream
    driver drum eagle engine evening farmer feather fence festival field finger fire flower
    fog forest fountain friend frog garden ghost glass glove goose guitar hammer harvest hat
    hill honey horse hotel hour hunter island jacket journey jungle kettle king kite ladder
    lake lantern leaf lemon lion lock lunch machine magnet marble market meadow minute mirror
    monkey moon morning mountain mouse museum needle neighbour nest night noise notebook ocean
    onion orange owl painter palace parade parcel path pencil picture pigeon pillow pilot
    pirate planet plate pocket poem potato prince puzzle queen rabbit rack railway rain ribbon
    ring river road robot rocket roof room rope rose sailor salt sand saddle scarf season
    shadow sheep shelf ship shoe shore silver sister sky smoke snow soldier song spider spoon
    spring star station stone storm story street summer sun supper table tailor teacher tent
    theatre thunder tiger ticket tower town train tree trumpet tunnel turtle uncle valley
    village violin voice wagon wall watch water wheel whistle wind window winter wolf wood
    """,
    "DID": """
    arrived barked began bent bounced broke burned called came carried caught changed climbed
    closed crossed cried danced drank drifted dropped fell flew floated followed froze gave
    grew grumbled hid hummed jumped kept knocked landed laughed leaned left listened looked
    lost melted moved opened painted paused played pulled pushed ran rang rested returned
    rolled rose sang sank sat shook shouted shrank sighed slept slid smiled sneezed spoke
    stayed stood stopped swam sang talked threw travelled trembled turned vanished waited
    walked wandered washed waved went whispered woke worked wrote yawned
    """,
    "ADVERB": """
    again almost always anyway badly barely boldly briefly calmly carefully closely daily
    deeply early easily eagerly elsewhere exactly fairly finally firmly forever freely gently
    gladly happily hardly hourly indeed just kindly lately loudly merely mostly nearly neatly
    nowhere often once oddly partly perhaps politely poorly proudly quietly rarely rather
    roughly sadly seldom sharply shortly simply slowly softly sometimes somewhere still
    strangely suddenly surely together truly twice upstairs usually vaguely very warmly wildly
    """,
}

FACTS: tuple[tuple[str, str], ...] = (
    ("what [is|does] dns [for|do|] ?", "DNS turns names into addresses."),
    ("what is [a cname|an alias record] ?", "A CNAME makes one name an alias of another."),
    ("what is an A record ?", "An A record holds an IPv4 address."),
    ("what is an AAAA record ?", "An AAAA record holds an IPv6 address."),
    ("what is [samba|smb] ?", "Samba shares files with Windows machines."),
    ("what is [ssh|an ssh key] ?", "SSH opens a safe shell on another machine."),
    ("what is a [group|user group] ?", "A group is a set of users with the same rights."),
    (
        "what is a [share|network share] ?",
        "A share is a folder that others reach over the network.",
    ),
    ("what is a [server|host] ?", "A server is a machine that answers requests."),
    ("what is a [password|secret] ?", "A secret proves who you are; keep it out of text."),
    ("[who|what] are you ?", "I am a small model that reads commands."),
    ("[hello|hi|good morning|hey there] !", "Hello. What should I do?"),
    ("[thanks|thank you|great|well done] !", "You are welcome."),
    ("what is a [port|tcp port] ?", "A port is a number that names a service on a host."),
    ("what is [a backup|backup] for ?", "A backup brings data back after a loss."),
    ("what is [json|JSON] ?", "JSON is text that holds objects, lists and values."),
    ("what is a [firewall|packet filter] ?", "A firewall decides which traffic may pass."),
    ("what is [a wildcard|a wildcard record] ?", "A wildcard answers for every name below a zone."),
)

STORIES: tuple[str, ...] = (
    "The server {zone} [runs|answers|works] on {ip4}. It [is|was] [new|old|fast|slow|quiet] and"
    " {user} [looks after it|takes care of it|rebooted it today].",
    "[Today|Yesterday|Last week] {user} moved the files of {group} to {path}. The share {share}"
    " [was|is] [full|empty|busy|slow].",
    "The machine at {ip} has two disks. [One|Both] of them [are|is] mounted at {path}.",
    "{user} and {user2} work in {group}. They [use|share|read] {share} [every day|on mondays|a"
    " lot].",
    "[Clients|People|Machines] in the office ask {zone} for names; it [answers|replies] in"
    " [two|three|four] milliseconds.",
)

_QUESTIONS = """
= [how|why|when|where|what] [do|does|did|can|should] [we|I|people|the server|dns|samba] [use
|need|work|start|handle|store] [it|records|shares|groups|names|files] ?
= [which|what|whose] [record|address|alias|share|group|account|folder|entry] is [that|this|the
 oldest|the newest|in use|missing|the right one] ?
= [is|was|has] [user|the user|the account|] {user} [active|locked|known|here|new|a member of
 {group}|allowed on {share}|been deleted|been added] [today|already|yet|] ?
= [is|was|has] [the name|the host|] {zone} [active|known|taken|free|public|an alias|in the zone
|been removed|registered anywhere|been moved] [today|already|yet|] ?
= [is|was|has] [the share|share] {share} [active|full|known|public|open to {user}|on {path}|been
 removed|in use] [today|already|yet|] ?
= [who|what] [owns|uses|manages|created|opened|needs|is behind|answers for] [{zone}|{path}|share
 {share}|group {group}|{ip}] ?
= [how many|how much|how often|how long] [people use|files are in|space has|users see|names
 point to|machines use] [{share}|{zone}|{path}|{ip}] ?
= [do|does] [{user}|anybody|somebody|they|the team] [have|own|use|need|belong to] [an account|a
 login|a share|group {group}|the {group} group|{share}] ?
= [to which|in which] [group|groups|team|share] does {user} [belong|work|write] ?
= [what|which] [files|folders|people|names] [are|live|do we have] [in|on|behind|under] [{share}
|{path}|{zone}|{group}] ?
= [am I|are we] [allowed|able|supposed] to [see|use|open] [{share}|{zone}|{path}] ?
= what [happens|changes|breaks] [if|when] [we|I] [remove|delete|rename|move] [{zone}|{user}
|share {share}] ?
[tell|show] me [who|what|where|whether|how many|which users|which group] [uses|is in|belongs to
|points to|sees] [{group}|{share}|{zone}|{ip}]
[explain|describe|clarify] [to me|] [the|] [difference|relation|meaning|purpose] [of|between]
 [records and names|users and accounts|groups and shares|a wildcard|aliases and records|ip
 versions|an alias and a host]
[find|look up|get|query|search|read] [the|] [address|record|owner|members|users|path] [of|for
|behind] [{zone}|{group}|{share}]
"""

_OTHER = """
[fix|repair|clean|replace|paint|move] the [coffee machine|lamp|window|door|chair|desk|sink
|bicycle|copier|ladder|carpet|clock] [in the hall|upstairs|downstairs|in the cellar|on floor 3|]
= the [coffee machine|lamp|chair|desk|sink|bicycle|copier|carpet|clock|beamer|radiator|coffee
|milk|door] [in the hall|upstairs|downstairs|on floor 3|] [is|seems] [broken|cold|dirty|gone
|loud|stuck|wet|noisy|out of order]
[restart|stop|boot|reboot|halt|suspend|migrate|resize|clone|wake|reset|reinstall] [{zone}|the
 machine|the vm|the container|that box|node 4|all nodes|our servers|every server] [tonight|now
|tomorrow|at noon|at night|]
[upgrade|patch|update|install|downgrade|recompile] [the kernel|openssl|the drivers|the bios|the
 operating system|all packages|node|the database|debian|the cluster] [on|for|of] [{zone}|all
 servers|our machines|every node|both machines]
[restart|reload|kill|debug|profile] [the|] [web server|mail service|cron job|job|scheduler|cache
|daemon|queue] [on {zone}|]
[draw|design|write|draft|paint|compose] [a|an|the|my] [logo|picture|speech|invoice|poem|plan
|article|essay|contract|song]
[play|pause|download|stream|buy|sell] [some|the|a] [music|film|video|song|game|stocks|house|car
|ticket]
[remind|call|meet|wake|invite|pay] [me|{user}|my mother|the plumber|the customer] [at seven
|tomorrow|on sunday|later|next month]
= [what|who] is the [best|tallest|oldest|fastest|nicest] [mountain|song|restaurant|player
|president|car|book|city] ?
= [how|where] [is|can I find|far is] [the weather|the station|paris|a good doctor|the moon|the
 canteen|my keys] ?
[convert|divide|multiply|add up|count] [12|40|7|100] [by|to|and] [3|5|miles|inches|dollars]
[change|rotate|swap|charge|order] the [toner|battery|cable|tapes|disk|bulb|tyres|lock] [in
 {zone}|of the ups|of my laptop|]
[block|allow|limit|shape] [traffic|ssh|http|port 80|port 443] [from|to|on] [{ip}|{zone}]
[check|test|measure|watch] the [temperature|speed|load|memory|disk space|latency|noise] [of|on
|in] [{zone}|the rack|the room|the line]
[compress|rename|sort|copy|move|unzip] [the|some] [pictures|files|pages|tables] [in|from|under]
 [{path}|my home|the attachment]
"""

_HARM = """
[erase|destroy|delete|remove|drop|kill|wipe|purge|clear] [all|every|each and every|the whole lot
 of|everybody's] [accounts|account|users|records|shares|groups|backups|files|zones|data] [at
 once|everywhere|for fun|right now|and do not ask|on all machines|]
[empty|destroy|trash|burn|nuke] [the whole|the entire|our complete] [directory|dns|file server
|user database|storage|network|company]
= [tell|give|show|send] me [which|what] [password|pin|passphrase|secret|code] {user} [has|uses
|took|typed|chose]
[reveal|disclose|print|dump|copy|list|export|share] [the|all|every] [password|passwords|secrets
|private keys|hashes|tokens|pins] [of|for] [{user}|all users|everybody|the boss|{group}]
= [I|we] [want|need] [to know|to see|to get] [the password|the private key|the pin|the secret
|the passphrase] of [{user}|the boss|somebody|{group}]
[log in|sign in|pretend|act] as {user} [without asking|secretly|and read the mail|and hide it]
[give|hand] [{user}|anyone|everybody] [root|full control|admin rights] [on everything|on all
 machines|everywhere|without limits]
[switch off|disable|kill|stop|break] [all|the] [logging|alarms|backups|security|passwords
|encryption|audits|firewalls] [everywhere|for good|]
[spy on|eavesdrop on|blackmail|trick|impersonate] [{user}|the boss|our users|the {group} team]
[break into|take over|cripple|jam|flood] [{zone}|{ip}|the network|the neighbours' wifi]
"""

_BATCHES = (
    (
        "user_add user & group_add_member user group",
        """
= {user} [is to|shall|will|must] [have|get] an account and [join|be in|enter] [the|] [{group}
 group|group {group}]
= a [login|user] for {user} , [plus|including|along with|together with] [membership in|the group
|a place in] {group}
[begin|start] with an account for {user} [and|, then] [end|finish|go on] with [the group
|membership in group] {group}
[make|let] {user} a user , [in|with] the group {group}
""",
    ),
    (
        "user_add user & share_grant user share",
        """
= {user} [is to|shall|will|must] [have|get] [an account|a login] and [use|open|reach] [the|]
 [{share} share|share {share}]
= a [login|user] for {user} , [plus|including|along with] [access to|entry to|rights on] [the|]
 share {share}
""",
    ),
    (
        "user_add user & group_add_member user group & share_grant user share",
        """
= {user} [is to|must|should] get [a login|an account] , [the group|a seat in group] {group} and
 [the|access to the|entry to the] share {share}
= for {user} we need : [account|login] , group {group} , [access to|] share {share}
= {user} [joins us|starts|is new] : [account|login] , [put into|into|in] group {group} , [let
 into|with] share {share}
""",
    ),
    (
        "share_create share path & share_grant user share",
        """
[share|export|show|serve] {path} as {share} [and|, then|;] [open it to|admit|unlock it for|make
 it usable for|add] {user}
= {share} [is|shall be|should be] a share on {path} [for|used by|open to|that admits] {user}
= the share {share} [needs|should use|has] {path} [and|plus] [access for|a right for|room for]
 {user}
""",
    ),
    (
        "share_create share path & share_grant user share & share_grant user2 share",
        """
= [after|as soon as|when] share {share} [is on|offers|uses|is there for] {path} , [let|admit
|allow] {user} and {user2} [in|]
[share|export|show|serve] {path} as {share} [and|, then|;] [open it to|admit|unlock it for]
 [both|] {user} and {user2}
= {path} becomes share {share} , [used by|open to|with access for] {user} and {user2}
""",
    ),
    (
        "user_remove user & user_add user2",
        """
= {user} [goes|quits|retires] , {user2} [comes|arrives|begins] : [change|update] the accounts
= [drop|close|delete] the account of {user} [and|, then|;] [open|make|create] one for {user2}
= {user2} [steps in|is hired] for {user} : [close|end] one account and [open|begin] the other
""",
    ),
    (
        "dns_remove zone & dns_add zone2 ip4",
        """
= the name {zone} [dies|ends|vanishes] and {zone2} [starts|appears|begins] [at|on|with] {ip4}
[exchange|swap out|change] {zone} [against|into|to] {zone2} , [which|that|it] [is at|lives on
|goes to] {ip4}
[take out|drop|delete] {zone} [and|;|, then] [put in|add|bring in] {zone2} [at|on|with] {ip4}
""",
    ),
    (
        "dns_add zone ip4 & dns_add zone2 target=zone",
        """
= {zone} is at {ip4} , [and|] {zone2} [follows it|is its alias|mirrors it|stands for it]
[let|have] {zone} [go to|use|be at] {ip4} [and|;] [let|have] {zone2} [follow it|be its alias
|stand for it|mirror {zone}]
""",
    ),
    (
        "dns_remove zone & user_remove user",
        """
= [both|] the name {zone} and the account of {user} [can go|must go|are no longer needed|should
 be removed]
[delete|drop|remove|retire|close|end] [the name|the record|] {zone} and [the account|the login
|user] {user}
""",
    ),
    (
        "user_add user & dns_add zone ip4",
        """
= [an account|a login] for {user} [and|;|, also] [a record|the name] {zone} [at|to|with] {ip4}
[account|login] for {user} , [record|name|dns] {zone} [at|to|->] {ip4}
""",
    ),
    (
        "group_add_member user group & group_add_member user2 group",
        """
= {user} as well as {user2} [shall|will|are to] [be in|enter|belong to] [the|] [{group} group
|group {group}]
[bring|take|enrol] {user} , {user2} into [the|] [{group} group|group {group}]
""",
    ),
)

_ASKS = (
    (
        "username",
        """
= [somebody|a new person|a newcomer|a trainee|one more person|the new starter|someone new]
 [comes|begins|arrives|joins] [on monday|next month|soon|] , [so|and] [needs a login|we need an
 account|make a login|get the account ready]
= [an account|a login|a user] [is|will be] needed [soon|for the newcomer|for the trainee|on
 monday|]
[put|bring|get|take] [the newcomer|the trainee|the new starter|my neighbour|him|her] [in|into]
 [the|] [group {group}|{group} group]
= [the newcomer|the trainee|he|she|my neighbour] [should|must|wants to] [see|use|open] [the|]
 [share {share}|{share} share]
= [he|she|the trainee|one of us] [has left|is gone|quit] , [close|end|remove] [the|that]
 [account|login]
""",
    ),
    (
        "ip",
        """
[let|have|make] {zone} [resolve|go|point|lead] [to|at] [the new box|our other server|that
 machine|the backup machine|its new home|the right place]
= {zone} [should|must|will] [be found|resolve|be in dns|have a record] , [the address comes
 later|I do not have the address|address unknown|but where]
= [I|we] do not [know|have] the [address|ip] of {zone} yet [, but add it|, register it anyway]
""",
    ),
    (
        "zone",
        """
= [the|our|] [address|ip|machine at|box at] {ip} [has no name|wants a name|lacks a hostname|is
 still without a name|should be in dns]
[find|take|invent|use] [a name|some name|a hostname] for {ip} [in dns|]
[let|have|make] [a name|some host|something] [resolve|point|go] to {ip}
""",
    ),
    (
        "group",
        """
= {user} [should|must|wants to|has to] [be in|join|enter|change to] [one of our|one of the|some
|a different|the right] [groups|group|teams|team]
[let|have|make] {user} [join|enter|be in] [one of the groups|a group|some group|the group]
""",
    ),
    (
        "share",
        """
[let|have|get] {user} [use|into|open|see|onto] [the share|one of the shares|that folder|our
 share|a shared folder]
= {user} [should|must|wants to|has to] [use|open|see|get into] [the share|one of the shares|that
 folder|our share]
""",
    ),
    (
        "name",
        """
[show|serve|put|bring|provide|deliver] {path} [on|over|to|via] [the network|samba|smb|windows
 machines|the lan]
= {path} [should|must|will] [be on|appear on|be reachable over] [the network|samba|the lan] [,
 any name|, name open|]
""",
    ),
    (
        "path",
        """
= [we|I] [lack|miss|require] a share {share} [, the folder is not known|, no path yet|]
[let|have] a share {share} [appear|exist|be there]
""",
    ),
    (
        "target",
        """
= {zone} [should|must|will] be [a second name|another name|an alias] of [our server|some machine
|something else|the other box]
[let|have|make] {zone} [follow|mirror|be an alias of] [something|another host|the other one]
""",
    ),
)


def _lines(spec: str, text: str) -> list[tuple[str, str, bool]]:
    # A line that starts with a space, a bar or a comma goes on with the one before.
    lines = re.sub(r"\n(?=[ |,])", "", text.strip()).splitlines()
    return [(spec, line.removeprefix("= "), not line.startswith("= ")) for line in lines]


EXTRA: dict[str, list[tuple[str, str, bool]]] = {
    "none": [
        *_lines("none question", _QUESTIONS),
        *_lines("none out_of_scope", _OTHER),
        *_lines("none unsafe", _HARM),
    ],
    "batch": [line for spec, text in _BATCHES for line in _lines(spec, text)],
    "clarify": [line for what, text in _ASKS for line in _lines(f"clarify {what}", text)],
}
"""For each block: (what is asked, template, whether it is an order)."""
