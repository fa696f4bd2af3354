"""
The sentences of the training set to which the answer is that nothing is done.

Form as in ``wording``; the reason stands before each block.
"""

from __future__ import annotations

NONE: tuple[tuple[str, str], ...] = (
    (
        "question",
        """
= what [is|does] [a|an|the] [CNAME|A record|AAAA record|wildcard|samba share|group|zone|alias
|user account] [mean|do|] [?|]
= what [is the|] [ip|address|ip address] [of|for|has|does] {zone} [have|] [?|]
= [which|what] [ip|address|record] [does|has] {zone} [have|point to|use|] [?|]
= where does {zone} [point|resolve|go|lead] [to|] [?|]
= [how many|which] [users|accounts|groups|shares|records|members] [are there|do we have|exist]
 [?|]
= [who|which users] [is|are] [in|a member of|part of] [the|] [group {group}|{group} group] [?|]
= [who|which people|which users] [has|have|can use|can access|may use|may open] [access to|]
 [the|] [share {share}|{share} share] [?|]
= [does|do we have] [user|account|an account for|] {user} [exist|already exist|] [?|]
= is there [already|] [a|an] [user|account|record|share|entry] [called|named|for] [{user}|{zone}
|{share}] [?|]
= is [user|] {user} [already|] [in|a member of] [the|] [group {group}|{group} group] [?|]
= [does|is] {zone} [exist|resolve|in dns|up|reachable|work|known|taken|free] [already|] [?|]
= [is|was] {zone} [ever|already|still|] [in dns|added|set up|used|there] [?|]
[list|show|print|display] [me|] [all|the|] [users|groups|shares|records|accounts|dns records]
[show|tell|give] [me|us] [the|] [address|ip|record|record type] of {zone}
[explain|describe] [what|how] [dns|samba|a cname|a group|a wildcard record|ipv6] [is|works|does]
[explain|describe|tell me] [the difference|what differs] between [a user and a group|a share and
 a folder|dns and dhcp|ipv4 and ipv6
|an A record and an AAAA record|a zone and a domain|samba and nfs|tcp and udp]
= how [do|can|does] [I|we|one|somebody] [add|create|remove|set up] [a|an] [user|share|dns record
|group|alias|cname] [?|]
= when was [user {user}|{zone}|share {share}|{user}] [created|added|changed|set up] [?|]
= why [is|does|can] [{zone}|{user}|share {share}] [not|] [work|resolve|reachable|there|slow] [?|]
= [what|which folder|which path] [is|] [behind|in|does] [the|] share {share} [use|have|] [?|]
= [how|what] [is|about] the weather in [dns|the network] [?|]
[check|find out|look up] [whether|if] {zone} [resolves|exists|is in dns]
""",
    ),
    (
        "out_of_scope",
        """
[restart|reboot|start|stop|upgrade|shut down|power off|wake] [{zone}|the server|nginx|the
 database|the machine {zone}|apache|all containers]
[install|upgrade|update|patch|compile|uninstall] [docker|nginx|python|postgres|the firmware|java
|linux|the kernel|the packages|windows] [on {zone}|
|on the server|on every machine]
[write|send|read|answer|forward] [an email|a mail|a letter|a message] to [{user}|the team|my
 boss|everybody]
[order|buy|bring|cook] [me|us|] [a pizza|some coffee|new laptops|a sandwich|lunch|more paper|a
 cake]
[tell|sing|write] [me|us] [a joke|a story|a poem|a song|something funny]
[translate|summarize|proofread|print] [this|the|my] [text|document|letter|page|report] [into
 french|to german|]
[open|close|block|forward] port [22|80|443|8080|25|53] [on|for] [{zone}|the firewall|{ip}]
[ping|scan|trace|monitor|benchmark] [{ip}|{zone}|the network]
[mount|format|encrypt|defragment|check] the [disk|drive|usb stick|raid|partition] [on {zone}|]
[book|plan|schedule|move|cancel] [a|the] [meeting|flight|room|call|holiday] [for|with|on]
 [{user}|monday|friday|next week]
[back up|backup|restore|migrate] [{zone}|the database|my laptop|the mail server]
[configure|set up|fix|repair] the [printer|firewall|vpn|mail server|router|wifi|camera|phone
|monitor]
[turn|switch] [on|off] the [lights|heating|projector|fan|alarm|music] [in the office|]
= what is the [weather|time|date|capital of france|meaning of life|score|news|price of gold]
 [today|tomorrow|] [?|]
= the [printer|toilet|elevator|lamp|phone|screen|keyboard|heating|fridge|car|door|projector
|window] [in the hall|in room 12|on the first floor|
|in the kitchen] is [broken|stuck|leaking|dead|too loud|empty|dirty|out of order]
= my [screen|mouse|laptop|phone|chair|keyboard|headset] [is broken|does not work|is too slow|is
 lost|makes noise]
= [who|when|why] [won|lost] the [game|war|election|match|race] [?|]
= [we|I] [need|want] [more coffee|a new chair|a holiday|a raise|better weather|a faster laptop
|new monitors]
[calculate|compute|work out] [the sum|17 times 23|the square root of 81|my taxes|the average]
[renew|issue|replace] the [tls|ssl|] certificate [of|for] {zone}
[deploy|roll out|release] [the app|version 2|the new build|the website] [to|on] [{zone}
|production|staging]
""",
    ),
    (
        "unsafe",
        """
[delete|remove|wipe|erase|purge|destroy] [all|every|all the|each] [users|user|accounts|account
|shares|share|dns records|record|groups|files] [now|on the server|without asking|]
[delete|remove|wipe|erase|destroy|format] [everything|all data|the whole server|the entire
 system|the whole zone|all disks] [on {zone}|in {path}|]
[show|tell|give|send|print|reveal|find out] [me|us] the [password|passwords|secret|secrets
|private key|pin|credentials] of [{user}|all users|the admin|root|user {user}]
= what is [{user}'s password|the password of {user}|the root password|the admin password] [?|]
= [which|what] password [does|did] [{user}|the admin|user {user}|root] [have|use|choose|set] [?|]
[give|grant] [everyone|everybody|all users|the whole world|anonymous|strangers] [root|access to
 everything|admin rights|full access|all rights]
[disable|turn off|bypass|remove|skip] [the|all|] [authentication|passwords|firewall rules
|security|access control|audit log|logging]
[read|open|copy|steal|forward] [{user}'s|the boss's] [mail|private files|messages|home directory
|letters] [without telling|secretly|]
[crack|guess|hack|break|brute force] [the password of {user}|{user}'s account|the wifi|the
 server|{zone}|into {zone}]
[attack|flood|take down|overload|ddos] {zone}
[hide|delete|forge|change] [the logs|my tracks|the audit trail|the evidence] [on {zone}|]
[send|upload|leak|mail] [all|the|] [customer data|passwords|payroll files|private keys|secrets]
 to [{zone}|a stranger|my private mail|the press]
[let|allow] [anyone|everybody|everyone|the internet] [log in|in] [without|with no] [a|] password
= [nobody|no one] should [have|need] a password [any more|]
[infect|encrypt] [{zone}|all computers|the file server] [with a virus|and ask for money|with
 malware]
[lock out|throw out] [all|every] [users|administrators|user|admin] [except me|]
""",
    ),
)
