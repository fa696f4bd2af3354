"""
``finetuned ask``: one question to a model, and its answer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, INTERRUPTED, REFUSED
from finetuned.cli.terminal import complain
from finetuned.cli.verb import UsageError, Verb, add_common, named_file

if TYPE_CHECKING:
    from finetuned.cli.answer_text import Shown
    from finetuned.core.generation import JsonObject
    from finetuned.core.question import Question
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned ask "add a dns record for web01 pointing to 10.0.0.7"      the version in use
  finetuned ask --model v0003 "..."          a version; base, a run's id or a folder likewise
  finetuned ask --schema dns.schema.json "..."               an answer of this shape only
  finetuned ask --system "Answer in JSON." --temperature 0.7 --seed 1 "..."
  finetuned ask --stdin "Explain:"           what is piped in comes after PROMPT
  finetuned ask --json "..." | jq -r .text

If a service of this root runs (finetuned serve), it is asked; otherwise the model is loaded here,
which takes seconds. On a terminal the answer is shown as it comes; in a pipe it is written once
it is whole, as the model gave it. Without PROMPT a terminal is asked for one.

exit status: 0 answered, 1 no whole answer (also one that --schema holds and --max-tokens cuts),
2 wrong usage, 70 a bug, 75 the service is not ready or went away: try again later,
78 wrong configuration, 130 ended with Ctrl-C
"""

MODEL_HELP = (
    "current_model, a version's name, base, a run's id (its candidate), a folder or a base model "
    "(default: current_model)"
)


def add_model(parser: argparse.ArgumentParser) -> None:
    """
    Add the options that say who answers.
    """
    parser.add_argument("--model", default="current_model", help=MODEL_HELP)
    parser.add_argument(
        "--load", action="store_true", help="load the model here even if a service runs"
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """
    Add the options that say how it answers.
    """
    parser.add_argument("--system", metavar="TEXT", help="the system message")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest answer in tokens")
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 to 2 (default: 0)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="repeats a choice at T > 0")


def check_sampling(args: argparse.Namespace) -> None:
    """
    Raises:
        UsageError: A number is out of its range.
    """
    if args.max_tokens is not None and args.max_tokens < 1:
        raise UsageError("--max-tokens must be >= 1")
    if not 0 <= args.temperature <= 2:
        raise UsageError("--temperature must be 0 to 2")


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("words", nargs="?", metavar="PROMPT", help="the question")
    parser.add_argument("--prompt", metavar="TEXT", help="the same, as an option")
    parser.add_argument("--stdin", action="store_true", help="read the question from stdin")
    add_model(parser)
    add_sampling(parser)
    parser.add_argument(
        "--schema", type=named_file, metavar="FILE", help="a JSON Schema that the answer must fit"
    )
    parser.add_argument(
        "--free", action="store_true", help="hold the answer to nothing (see model.answer_format)"
    )


def read_schema(path: Path) -> JsonObject:
    """
    Return the JSON Schema in a file.

    Raises:
        UsageError: It cannot be read, or is no JSON Schema; the message has the place and why.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--schema {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--schema {path}: not UTF-8: {error}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"--schema {path}: {where}: not JSON: {error.msg}") from None
    if not isinstance(found, dict):
        raise UsageError(
            f"--schema {path}: found {type(found).__name__}, expected a JSON object such as "
            '{"type": "object", "properties": {...}}'
        )
    from finetuned.core.copy_marks import check_marks
    from finetuned.core.json_schema import check_schema

    try:
        check_schema(found)
        check_marks(found)
    except ValueError as error:
        raise UsageError(f"--schema {path}: {error}") from None
    return found


def utf8_text(text: str, what: str) -> str:
    """
    Return *text* if it can be sent to a model.

    Raises:
        UsageError: It holds bytes that are not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{what}: character {error.start + 1} is no UTF-8; convert the text first, such as "
            "with iconv -f latin1 -t utf-8"
        ) from None
    return text


def _prompt(args: argparse.Namespace) -> str:
    """Return the question from wherever the arguments say it is."""
    if args.words is not None and args.prompt is not None:
        raise UsageError("the question is given twice: as PROMPT and by --prompt")
    given = args.prompt if args.words is None else args.words
    if args.stdin:
        given = "\n\n".join(part for part in (given, sys.stdin.read().rstrip("\n")) if part)
    elif given is None:
        if not sys.stdin.isatty():
            raise UsageError("no question: give PROMPT, or --stdin to read it from a pipe")
        print("Prompt: ", end="", file=sys.stderr, flush=True)
        given = sys.stdin.readline().rstrip("\n")
    if not given.strip():
        raise UsageError("the question is empty")
    return utf8_text(str(given), "the question")


def _question(args: argparse.Namespace) -> Question:
    from finetuned.core.question import Question

    check_sampling(args)
    if args.free and args.schema is not None:
        raise UsageError("--schema holds the answer and --free does not: choose one")
    schema = None if args.schema is None else read_schema(args.schema)
    system: tuple[JsonObject, ...] = ()
    if args.system is not None:
        system = ({"role": "system", "content": utf8_text(args.system, "--system")},)
    return Question(
        messages=(*system, {"role": "user", "content": _prompt(args)}),
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        seed=args.seed,
        schema=schema,
        free=args.free,
    )


def _ask(layout: Layout, args: argparse.Namespace, question: Question) -> int:
    from finetuned.cli import answer_text
    from finetuned.cli.asked import choose

    asked = choose(layout, args.model, load=args.load)
    answer = asked.answerer.answer(question)
    if args.json or not sys.stdout.isatty():
        shown = answer_text.collect(answer)
        print(json.dumps(shown.as_json(), ensure_ascii=False) if args.json else shown.text)
        sys.stdout.flush()
    else:
        shown = answer_text.stream(answer)
        if sys.stderr.isatty():
            below = answer_text.note(shown, asked.label)
            print(f"{answer_text.DIM}{below}{answer_text.PLAIN}", file=sys.stderr)
    if shown.end.invented and not args.json:
        complain("ask", answer_text.invented_note(shown.end))
    return _status(shown, held=question.schema is not None)


def _status(shown: Shown, *, held: bool) -> int:
    if not shown.is_cut:
        return DONE
    tokens = shown.end.answer_tokens
    if held:
        complain(
            "ask", f"the answer was cut after {tokens} tokens, so it is not JSON of the schema"
        )
        return REFUSED
    if not sys.stderr.isatty():
        complain("ask", f"the answer was cut after {tokens} tokens; --max-tokens allows more")
    return DONE


def _run(args: argparse.Namespace) -> int:
    from finetuned.cli.asked import exit_status
    from finetuned.errors import FinetunedError
    from finetuned.layout import Layout

    try:
        return _ask(Layout(args.root.resolve()), args, _question(args))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except (FinetunedError, OSError) as error:
        if args.json:
            print(json.dumps({"error": str(error)}))
        complain("ask", str(error))
        return exit_status(error)
    except KeyboardInterrupt:
        complain("ask", "interrupted; the answer is not whole")
        return INTERRUPTED


VERB = Verb(
    name="ask",
    summary="Ask a model one question and print its answer.",
    details=DETAILS,
    configure=_configure,
    run=_run,
    quiet_pipe=False,
)
