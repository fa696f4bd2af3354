"""
Sentences that only the base model's corpus uses: more ways to say a command,
small facts, and plain text about servers. Form as in ``finetuned.sources.intents``.
"""

from __future__ import annotations

FACTS: tuple[tuple[str, str], ...] = (
    ("what [is|does] dns [for|do|] ?", "DNS turns names into addresses."),
    ("what is [a cname|an alias record] ?", "A CNAME makes one name an alias of another."),
    ("what is an A record ?", "An A record holds an IPv4 address."),
    ("what is an AAAA record ?", "An AAAA record holds an IPv6 address."),
    ("what is [samba|smb] ?", "Samba shares files with Windows machines."),
    ("what is [ssh|an ssh key] ?", "SSH opens a safe shell on another machine."),
    ("what is a [group|user group] ?", "A group is a set of users with the same rights."),
    ("what is a [share|network share] ?", "A share is a folder that others reach over the network."),
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
    "{user} and {user2} work in {group}. They [use|share|read] {share} [every day|on mondays|a lot].",
    "[Clients|People|Machines] in the office ask {zone} for names; it [answers|replies] in"
    " [two|three|four] milliseconds.",
)

EXTRA: dict[str, list[tuple[str, str, bool]]] = {}
