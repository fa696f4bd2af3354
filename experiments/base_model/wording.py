"""
Words and sentences around commands that only the base model's corpus uses: small talk,
small facts, and plain text about servers. Form as in ``finetuned.sources.intents``.
"""

from __future__ import annotations

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
