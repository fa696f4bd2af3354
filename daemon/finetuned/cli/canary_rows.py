"""
Canaries from what a person typed, from a record of a production log, or from a suite.

Knows rows, redaction and what a correction is; does not know the file they are kept in.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from finetuned.core.scoring.scorer import CHOICE
from finetuned.data.examples import Example, prompt_hash
from finetuned.data.reader import to_example
from finetuned.data.strict_json import parse_line
from finetuned.data.suite import read_suite
from finetuned.errors import MalformedExample, RegistryError, SuiteError

_BESIDE = ("contains", "regex")
"""Scorers whose ``expected`` is no answer that a model could give."""

_BAD = ("thumbs_down", "negative", "bad", "down", "wrong", "incorrect", "-1", "false")


def answered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    Return the turns with an assistant turn last: a placeholder if there is none.
    """
    last = [] if messages[-1]["role"] == "assistant" else [{"role": "assistant", "content": "."}]
    return [*messages, *last]


def suite_rows(path: Path) -> list[dict[str, object]]:
    """
    Return the items of a suite as canaries, passwords taken out of them.

    An item without an id is named after the suite and its line.

    Raises:
        SuiteError: The file is no suite, or an item of it asks nothing.
        OSError: It cannot be read.
    """
    rows: list[dict[str, object]] = []
    data = path.read_bytes()
    questions = iter(read_suite(path, data).questions)
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        question, given = next(questions), parse_line(line)
        assert isinstance(given, dict)  # noqa: S101  read_suite has refused anything else
        if question.example.kind != "conversation":
            raise SuiteError(path, number, "a text asks nothing, so that it cannot be a canary")
        turns = question.example.messages
        row = {key: given[key] for key in ("scorer", "expected", "choices") if key in given}
        row["messages"] = turns if question.scored else turns[:-1]
        more = {"tools": question.example.tools, "metadata": question.example.metadata}
        row |= {key: value for key, value in more.items() if value}
        rows.append({"id": given.get("id", f"{path.stem}-{number}"), **row})
    return rows


def own_row(args: argparse.Namespace) -> dict[str, Any]:
    """
    Return the item that --id, --prompt, --system, --expected and --scorer describe.

    Raises:
        RegistryError: The expected answer cannot be used.
    """
    turns = [{"role": "system", "content": args.system}] if args.system else []
    turns.append({"role": "user", "content": args.prompt})
    return _row(args.id, turns, args.expected, args.scorer, said=None, metadata={})


def _row(
    name: str,
    turns: list[dict[str, Any]],
    expected: Any,
    scorer: str | None,
    *,
    said: Any,
    metadata: dict[str, Any],
) -> dict[str, Any]:
    """
    Return the item: redacted as training rows are, an intent in the spelling that is trained.

    Args:
        name: Its id.
        turns: The conversation up to the question.
        expected: Text or JSON value.
        scorer: As given, or None.
        said: The model's wrong answer where there is one: it may give away a password
            that the right one only refers to.
        metadata: Kept with it.
    """
    chosen = _scorer(scorer, expected)
    named = chosen["name"] if isinstance(chosen, dict) else chosen
    if named == CHOICE:
        raise RegistryError(f"scorer {CHOICE!r} needs a list of choices: add the line by hand")
    if said is not None:
        turns = _redacted(turns, said, strict=False).messages[:-1]
    row: dict[str, Any] = {"id": name, "scorer": chosen}
    if named in _BESIDE:
        beside = _json_or_text(expected) if named == "contains" else expected
        row |= {"messages": turns, "expected": beside}
    else:
        row["messages"] = _redacted(turns, expected, strict=True).messages
    return {**row, "metadata": metadata} if metadata else row


def _redacted(turns: list[dict[str, Any]], answer: Any, *, strict: bool) -> Example:
    """
    Return the conversation with *answer*, passwords taken out of it and of the last question.
    """
    asked = turns[-1]["content"]
    try:
        last = to_example({"input": asked, "output": answer}).messages
    except MalformedExample as error:
        if strict:
            raise RegistryError(f"the expected answer cannot be used: {error}") from None
        last = [{"role": "user", "content": asked}, {"role": "assistant", "content": "."}]
    return to_example({"messages": [*turns[:-1], {**turns[-1], **last[0]}, last[1]]})


def _scorer(given: str | None, expected: Any) -> Any:
    if given is None:
        value = _json_or_text(expected)
        return "json" if isinstance(value, dict | list) else "exact"
    return _json_or_text(given) if given.lstrip().startswith("{") else given


def _json_or_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_line(value.encode())
    except MalformedExample:
        return value


def production_row(args: argparse.Namespace) -> dict[str, Any]:
    """
    Return the item that a record of --from-production makes.

    Raises:
        RegistryError: There is no such record, or nobody has said what is right.
        SuiteError: A line of the log is no JSON object.
        OSError: The log cannot be read.
    """
    number, record = _record(args)
    where = f"{args.from_production.name}:{number}"
    turns = _question(record, where)
    said = _first(record, ("answer", "response", "response_text"))
    if said is None and record.get("messages") and record["messages"][-1]["role"] == "assistant":
        said = record["messages"][-1]["content"]
    expected = args.expected
    if expected is None:
        expected = _first(record, ("correct_answer", "correct_intent"))
    if expected is None:
        expected = _vouched(record, said, where, as_is=args.as_is)
    elif args.as_is:
        raise RegistryError(f"{where} has a correction, so its answer is not right as it is")
    name = args.id or _first(record, ("id", "query_id", "query_hash"))
    if not isinstance(name, str | int):
        name = f"production-{prompt_hash(to_example({'messages': answered(turns)})):016x}"
    metadata = {"source": "production", "log": args.from_production.name}
    return _row(str(name), turns, expected, args.scorer, said=said, metadata=metadata)


def _vouched(record: dict[str, Any], said: Any, where: str, *, as_is: bool) -> Any:
    feedback = str(record.get("feedback") or record.get("user_feedback") or "").lower()
    how = 'add "correct_answer" to the record, or give --expected'
    if said is None:
        raise RegistryError(f"{where} has neither an answer nor a correction; {how}")
    if feedback in _BAD:
        raise RegistryError(f"{where} was answered wrongly ({feedback}); {how}")
    if not as_is:
        raise RegistryError(
            f"{where} has no correction, so nobody has said what is right; {how},"
            " or --as-is if you vouch that its answer is"
        )
    return said


def _record(args: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    path, wanted = args.from_production, args.id
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip() or (args.line is not None and number != args.line):
            continue
        try:
            record = parse_line(line)
        except MalformedExample as error:
            if args.line is None and wanted is not None:
                continue  # another line may be the one
            raise SuiteError(path, number, str(error)) from None
        if not isinstance(record, dict):
            raise SuiteError(path, number, "a record must be a JSON object")
        is_it = args.line is not None or wanted is None or wanted == str(record.get("id"))
        found += [(number, record)] if is_it else []
    if len(found) == 1:
        return found[0]
    what = f"line {args.line}" if args.line is not None else f"id {wanted!r}" if wanted else "it"
    if not found:
        raise RegistryError(f"{path.name} has no record at {what}")
    raise RegistryError(f"{path.name} has {len(found)} records for {what}; choose with --line N")


def _question(record: dict[str, Any], where: str) -> list[dict[str, Any]]:
    messages = record.get("messages")
    if isinstance(messages, list) and messages:
        try:
            turns = to_example({"messages": [*messages, {"role": "assistant", "content": "."}]})
        except MalformedExample as error:
            raise RegistryError(f"{where}: {error}") from None
        asked = turns.messages[:-1]
        if asked[-1]["role"] == "assistant":
            asked = asked[:-1]
        if asked and asked[-1]["role"] == "user":
            return asked
        raise RegistryError(f"{where}: its messages do not end with a question")
    prompt = _first(record, ("prompt", "query", "query_text"))
    if not isinstance(prompt, str) or not prompt.strip():
        raise RegistryError(f"{where} has no prompt, messages, query or query_text")
    return [{"role": "user", "content": prompt}]


def _first(record: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((record[key] for key in keys if record.get(key) is not None), None)
