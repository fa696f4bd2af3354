"""
The text that the embedded base model is made from, generated from a seed.

Commands about infrastructure with answers in notations of its own (a sentence,
a call, another JSON, picked fields), JSON and key/value exercises,
small questions, sums and tool calls. The demo's answer schema does not occur,
nor does any name of its test set, nor any sentence near to one of its held-out
phrasings: ``documents`` refuses those.

Knows what a document says; does not know tokens or models.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from experiments.base_model import wording
from finetuned.sources.intents.catalog import soften
from finetuned.sources.intents.entities import Names
from finetuned.sources.intents.grammar import GAP, fill, pick, tidy
from finetuned.sources.intents.meaning import Sentence, intent_of
from finetuned.sources.intents.rows import draw_sentence, heldout_phrasings, values_for

Message = dict[str, Any]
Document = dict[str, Any]
"""``{"messages": [...]}``, with ``tools`` if there are some."""

_BLOCKS = (
    ("dns_add", 9), ("dns_add_v4", 1), ("dns_add_v6", 3), ("dns_cname", 7), ("dns_wild", 4),
    ("dns_remove", 7), ("user_add", 6), ("user_add_secret", 2), ("user_remove", 7),
    ("group_add", 8), ("share_create", 10), ("share_grant", 9), ("batch", 7), ("joined", 7),
    ("clarify", 9), ("none", 9),
)  # fmt: skip
_WORDS = tidy("""
zone ip name host user group share path record type target username port size color owner
state id label kind value key note region level team login role task unit page count
action steps batch missing clarify none reason question out scope unsafe dns add remove create
member grant ref secret record_type password_ref A AAAA CNAME
""").split()
_FIRST_EXERCISES = 4000
"""Documents at the start of which most are copying exercises."""


def documents(seed: int) -> Iterator[Document]:
    """
    Generate documents without end.

    Args:
        seed: The same seed gives the same documents.

    Yields:
        Conversations of one or more turns, as a chat template takes them.
    """
    rng = random.Random(f"base:{seed}")
    names = Names(rng, heldout=False)
    makers: list[tuple[int, Callable[[random.Random, Names], Document]]] = [
        (80, _command),
        (5, _objects),
        (5, _lookup),
        (4, _repeat),
        (1, _sum),
        (2, _fact),
        (2, _tools),
        (1, _story),
    ]
    weights = [w for w, _ in makers]
    exercises: list[Callable[[random.Random, Names], Document]] = [_repeat, _objects, _lookup]
    for n in itertools.count():
        # Copying comes first: everything else here needs it, and it is learned
        # much sooner from documents that are little else.
        if n < _FIRST_EXERCISES and rng.random() < 0.7:
            make = rng.choice(exercises)
        else:
            (_, make) = rng.choices(makers, weights)[0]
        yield make(rng, names)


def _chat(prompt: str, answer: str, system: str = "") -> Document:
    head = [{"role": "system", "content": system}] if system else []
    return {
        "messages": [
            *head,
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": answer},
        ]
    }


_FORBIDDEN = heldout_phrasings()


def _sentence(rng: random.Random) -> Sentence:
    blocks = [b for b, _ in _BLOCKS]
    weights = [w for _, w in _BLOCKS]
    while True:
        block = rng.choices(blocks, weights)[0]
        extra = wording.EXTRA.get(block)
        if extra and rng.random() < 0.5:
            spec, template, order = rng.choice(extra)
            phrasing = soften(pick(template, rng), rng, order=order)
            sentence = Sentence(f"{block}.base", spec, phrasing)
        else:
            sentence = draw_sentence(block, rng)
        if sentence.phrasing not in _FORBIDDEN:
            return sentence


def _command(rng: random.Random, names: Names) -> Document:
    sentence = _sentence(rng)
    values = values_for(sentence, names, rng)
    prompt = fill(sentence.phrasing, values)
    if rng.random() < 0.25:
        prompt = _with_aside(prompt, rng)
    intent = intent_of(sentence.spec, values)
    steps = intent["steps"] if intent["action"] == "batch" else [intent]
    form = rng.random()
    if form < 0.58:
        return _chat(prompt, _as_json(steps), "op")
    if form < 0.78:
        return _chat(prompt, " ".join(_as_words(s) for s in steps))
    if form < 0.85:
        return _chat(prompt, "; ".join(_as_call(s) for s in steps), "call")
    if form < 0.88:
        return _chat(prompt, " + ".join(_kind(s) for s in steps), "kind")
    return _fields(prompt, values, rng)


_ASIDES = wording.ASIDES.strip().splitlines()


def _with_aside(prompt: str, rng: random.Random) -> str:
    aside = pick(rng.choice(_ASIDES), rng)
    for kind, words in wording.SMALL_TALK.items():
        bank = words.split()
        while kind in aside:
            aside = aside.replace(kind, rng.choice(bank), 1)
    if rng.random() < 0.5:
        return f"{aside}{rng.choice((', ', ': ', '; ', ', so ', '. '))}{prompt}"
    return f"{prompt.rstrip('.!?')}{rng.choice((', ', ' ', '; ', '. ', ' - '))}{aside}"


_OPS = {
    "dns_add": ("record", "create"),
    "dns_remove": ("record", "drop"),
    "user_add": ("account", "create"),
    "user_remove": ("account", "drop"),
    "group_add_member": ("team", "join"),
    "share_create": ("folder", "create"),
    "share_grant": ("folder", "allow"),
    "clarify": ("ask", "back"),
    "none": ("skip", "it"),
}
_KEYS = {
    "zone": "host", "record_type": "class", "ip": "to", "target": "to", "username": "login",
    "password_ref": "key", "group": "team", "name": "label", "path": "dir", "share": "label",
    "missing": "for", "reason": "why",
}  # fmt: skip
_WHY = {"question": "asks", "out_of_scope": "other", "unsafe": "danger"}


def _values(step: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in step.items():
        if key == "missing":
            out["for"] = [_KEYS[m] if m != "ip" else "address" for m in value]
        elif key == "reason":
            out["why"] = _WHY[value]
        elif key != "action":
            out[_KEYS[key]] = {"A": "v4", "AAAA": "v6", "CNAME": "alias"}.get(value, value)
    return out


def _as_json(steps: list[dict[str, Any]]) -> str:
    ops = [{"op": "_".join(_OPS[s["action"]][::-1]), **_values(s)} for s in steps]
    return _compact(ops[0] if len(ops) == 1 else {"ops": ops})


def _as_call(step: dict[str, Any]) -> str:
    values = [v if isinstance(v, str) else ",".join(v) for v in _values(step).values()]
    return f"{_OPS[step['action']][1]}_{_OPS[step['action']][0]}({', '.join(values)})"


def _kind(step: dict[str, Any]) -> str:
    values = _values(step)
    return " ".join((*_OPS[step["action"]], str(values.get("class", values.get("why", "")))))


def _as_words(step: dict[str, Any]) -> str:
    v = _values(step)
    match step["action"]:
        case "dns_add":
            kind = {"v4": "points to", "v6": "points over IPv6 to", "alias": "is an alias of"}
            return f"{v['host']} now {kind[v['class']]} {v['to']}."
        case "dns_remove":
            return f"{v['host']} is now gone."
        case "user_add":
            key = f", key in {v['key']}" if "key" in v else ""
            return f"{v['login']} now has an account{key}."
        case "user_remove":
            return f"{v['login']} no longer has an account."
        case "group_add_member":
            return f"{v['login']} is now in team {v['team']}."
        case "share_create":
            return f"{v['dir']} is now shared as {v['label']}."
        case "share_grant":
            return f"{v['login']} can now use {v['label']}."
        case "clarify":
            return f"Which {' and '.join(v['for'])}?"
        case _:
            why = {
                "asks": "That is a question.",
                "other": "That is not my work.",
                "danger": "I will not do that.",
            }
            return why[v["why"]]


_FIELD_NAMES = {
    "zone": ("host", "fqdn", "zone", "name"), "zone2": ("other", "second"),
    "wild": ("host", "pattern", "zone"), "target": ("points_to", "target", "original"),
    "ip": ("addr", "ip", "number"), "ip4": ("addr", "ip", "v4"), "ip6": ("addr", "ip", "v6"),
    "user": ("who", "login", "username"), "user2": ("other", "second"),
    "group": ("team", "group", "unit"), "group2": ("team2", "other_team"),
    "share": ("label", "name", "share"), "path": ("dir", "where", "path"),
    "secret": ("key", "secret"),
}  # fmt: skip


def _fields(prompt: str, values: dict[str, str], rng: random.Random) -> Document:
    gaps = list(values)
    rng.shuffle(gaps)
    picked: dict[str, str | None] = {}
    for gap in gaps:
        options = _FIELD_NAMES.get(gap, (gap.rstrip("0123456789"),))
        picked.setdefault(rng.choice(options), values[gap])
    if rng.random() < 0.2:
        picked.setdefault(rng.choice(("port", "size", "color", "owner")), None)
    return _chat(f"{', '.join(picked)}: {prompt}", _compact(picked), "fields")


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _pairs(rng: random.Random, names: Names) -> dict[str, str]:
    kinds = ("zone", "ip", "user", "group", "share", "path")
    # With an action among its keys an object could look like the demo's answers.
    keys = rng.sample([w for w in _WORDS if w != "action"], rng.randint(2, 4))
    return {k: names.draw(rng.choice(kinds)) for k in keys}


def _objects(rng: random.Random, names: Names) -> Document:
    pairs = _pairs(rng, names)
    if rng.random() < 0.5:
        # Words as values: a token that never occurs in an answer could not be learned later.
        pairs.update({k: rng.choice(_WORDS) for k in rng.sample(list(pairs), 2)})
    lines = ", ".join(f"{k}={v}" for k, v in pairs.items())
    if rng.random() < 0.7:
        return _chat(lines, _compact(pairs), "json")
    return _chat(_compact(pairs), lines, "pairs")


def _lookup(rng: random.Random, names: Names) -> Document:
    pairs = _pairs(rng, names)
    key = rng.choice(list(pairs))
    question = rng.choice(("{}?", "what is the {}?", "give me {}", "{} please", "which {}?"))
    return _chat(f"{_compact(pairs)} {question.format(key)}", pairs[key])


def _repeat(rng: random.Random, names: Names) -> Document:
    kinds = ("zone", "ip4", "ip6", "user", "group", "share", "path", "secret")
    things = [
        names.draw(rng.choice(kinds)) if rng.random() < 0.6 else rng.choice(_WORDS)
        for _ in range(rng.randint(1, 4))
    ]
    order = rng.choice(("repeat", "list", "last", "first"))
    answer = {
        "repeat": " ".join(things),
        "list": _compact(things),
        "last": things[-1],
        "first": things[0],
    }[order]
    return _chat(f"{order}: {' '.join(things)}", answer)


def _sum(rng: random.Random, names: Names) -> Document:
    a, b = rng.randint(0, 60), rng.randint(0, 39)
    sign, result = rng.choice((("+", a + b), ("-", a - b)))
    form = rng.choice(("{} {} {} =", "how much is {} {} {}?", "{}{}{}"))
    return _chat(form.format(a, sign, b), str(result))


def _fact(rng: random.Random, names: Names) -> Document:
    questions, answer = rng.choice(wording.FACTS)
    return _chat(soften(pick(questions, rng), rng, order=False), answer)


def _tools(rng: random.Random, names: Names) -> Document:
    host = names.draw("zone")
    name, ask, result = rng.choice(
        (
            ("ping", "is {} up?", rng.choice(("up", "down"))),
            ("uptime", "how long has {} been up?", f"{rng.randint(1, 400)} days"),
            ("disk_free", "free space on {}?", f"{rng.randint(1, 900)} GB"),
        )
    )
    tool = {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"host": {"type": "string"}}},
        },
    }
    call = {"type": "function", "function": {"name": name, "arguments": {"host": host}}}
    messages: list[Message] = [
        {"role": "user", "content": ask.format(host)},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": result},
        {"role": "assistant", "content": f"{host}: {result}"},
    ]
    return {"messages": messages, "tools": [tool]}


def _story(rng: random.Random, names: Names) -> Document:
    text = pick(rng.choice(wording.STORIES), rng)
    values = {g: names.draw(g) for g in dict.fromkeys(GAP.findall(text))}
    return _chat(rng.choice(("tell me about the network", "report", "news?")), fill(text, values))
