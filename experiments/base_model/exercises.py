"""
Documents of the base model's corpus beside commands: copying, JSON, questions, tools.

Each function draws one document. Knows what is practised; does not know how often.
"""

from __future__ import annotations

import random
from typing import Any

from experiments.base_model import wording
from experiments.base_model.chat import Document, chat
from experiments.base_model.names import WideNames, gaps_of
from experiments.base_model.notations import compact, words_of_commands
from finetuned.sources.intents.catalog import soften
from finetuned.sources.intents.grammar import fill, pick, tidy

_WORDS = tuple(
    dict.fromkeys(
        tidy(f"""
zone ip name host user group share path record type target username port size color owner
state id label kind value key note region level team login role task unit page count
action steps batch missing clarify none reason question out scope unsafe dns add remove create
member grant ref secret record_type password_ref A AAAA CNAME
{" ".join(sorted(words_of_commands()))}
""").split()
    )
)


def _pairs(rng: random.Random, names: WideNames) -> dict[str, str]:
    kinds = ("zone", "ip", "user", "group", "share", "path")
    # With an action among its keys an object could look like the demo's answers.
    keys = rng.sample([w for w in _WORDS if w != "action"], rng.randint(2, 4))
    return {k: names.draw(rng.choice(kinds)) for k in keys}


def objects(rng: random.Random, names: WideNames) -> Document:
    pairs = _pairs(rng, names)
    if rng.random() < 0.5:
        # Words as values: a token that never occurs in an answer could not be learned later.
        pairs.update({k: rng.choice(_WORDS) for k in rng.sample(list(pairs), 2)})
    lines = ", ".join(f"{k}={v}" for k, v in pairs.items())
    if rng.random() < 0.7:
        return chat(lines, compact(pairs), "json")
    return chat(compact(pairs), lines, "pairs")


def lookup(rng: random.Random, names: WideNames) -> Document:
    pairs = _pairs(rng, names)
    key = rng.choice(list(pairs))
    question = rng.choice(("{}?", "what is the {}?", "give me {}", "{} please", "which {}?"))
    return chat(f"{compact(pairs)} {question.format(key)}", pairs[key])


def repeat(rng: random.Random, names: WideNames) -> Document:
    kinds = ("zone", "ip4", "ip6", "user", "group", "share", "path", "secret")
    things = [
        names.draw(rng.choice(kinds)) if rng.random() < 0.6 else rng.choice(_WORDS)
        for _ in range(rng.randint(1, 4))
    ]
    order = rng.choice(("repeat", "list", "last", "first"))
    answer = {
        "repeat": " ".join(things),
        "list": compact(things),
        "last": things[-1],
        "first": things[0],
    }[order]
    return chat(f"{order}: {' '.join(things)}", answer)


def addition(rng: random.Random, names: WideNames) -> Document:
    a, b = rng.randint(0, 60), rng.randint(0, 39)
    sign, result = rng.choice((("+", a + b), ("-", a - b)))
    form = rng.choice(("{} {} {} =", "how much is {} {} {}?", "{}{}{}"))
    return chat(form.format(a, sign, b), str(result))


def fact(rng: random.Random, names: WideNames) -> Document:
    questions, answer = rng.choice(wording.FACTS)
    return chat(soften(pick(questions, rng), rng, order=False), answer)


def tools(rng: random.Random, names: WideNames) -> Document:
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
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": ask.format(host)},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": result},
        {"role": "assistant", "content": f"{host}: {result}"},
    ]
    return {"messages": messages, "tools": [tool]}


def story(rng: random.Random, names: WideNames) -> Document:
    text = pick(rng.choice(wording.STORIES), rng)
    values = names.for_gaps(gaps_of(text))
    return chat(rng.choice(("tell me about the network", "report", "news?")), fill(text, values))
