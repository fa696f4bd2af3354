"""
``finetuned base``: which base models are here, and whether one can be used.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.verb import Verb, add_common

if TYPE_CHECKING:
    from finetuned.cli.base_facts import BaseFacts
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned base list                   names, sizes; * marks the one in config.toml
  finetuned base check                  whether the configured one can be used
  finetuned base check Qwen3-0.6B       whether another one can be

To use a larger model, download it into models/base/ of the root, check it, and name it in
config.toml; it is used from the next job on:
  hf download Qwen/Qwen3-0.6B --local-dir models/base/Qwen3-0.6B
  finetuned base check Qwen3-0.6B
  [model]
  base = "Qwen3-0.6B"
The daemon itself never downloads. A version belongs to the base that it was trained on: after a
change of the base, finetuned versions rollback --to-base begins a new line of versions.

exit status: 0 listed, or it can be used, 1 it cannot be used, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    listing = commands.add_parser("list", help="List the base models that are here.")
    check = commands.add_parser(
        "check", help="Read the files of one, its tokenizer and its chat template."
    )
    check.add_argument("name", nargs="?", help="as model.base names it (default: the configured)")
    for name, command in (("list", listing), ("check", check)):
        add_common(command)
        command.set_defaults(command=name)


def _configured(layout: Layout) -> str:
    from finetuned.cli.terminal import complain
    from finetuned.config import load_sections

    config, mistakes = load_sections(layout.config, ("model",))
    for mistake in mistakes:
        complain("base", f"{mistake} (not needed here, but the daemon will refuse it)")
    return config.model.base


def _list(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.cli.base_facts import HEADER, base_names, read_facts
    from finetuned.core.text import printable

    configured = _configured(layout)
    found = [read_facts(name, folder) for name, folder in base_names(layout).items()]
    if args.json:
        data = {"configured": configured, "bases": [facts.as_json() for facts in found]}
        print(orjson.dumps(data).decode())
        return DONE
    print(HEADER)
    for facts in found:
        print(printable(facts.line(configured=facts.name == configured)))
    if configured not in [facts.name for facts in found]:
        print(printable(f"configured: {configured}; finetuned base check says whether it is here"))
    return DONE


def _check(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.cli.base_facts import read_facts
    from finetuned.cli.terminal import complain
    from finetuned.core.text import printable
    from finetuned.data.chat_template import FALLBACK
    from finetuned.files.base_model import find_base

    name = args.name or _configured(layout)
    facts = read_facts(name, find_base(layout, name))
    problem, template = (facts.problem, None) if facts.problem else _tokenizer_facts(facts)
    if args.json:
        more = {"problem": problem, "chat_template": template}
        print(orjson.dumps({**facts.as_json(), **more}).decode())
    elif problem is None:
        print(printable(f"{name}: can be used ({facts.architecture}, {facts.path})"))
        if template == FALLBACK:
            print(
                "It has no chat template: finetuned's own is trained, and published with "
                "each version."
            )
    if problem is not None:
        complain("base", f"{name} cannot be used: {problem} ({facts.path})")
    return DONE if problem is None else REFUSED


def _tokenizer_facts(facts: BaseFacts) -> tuple[str | None, str | None]:
    """Return why a conversation cannot be rendered for this model, and whose template does it."""
    from pathlib import Path

    from finetuned.data.reader import to_example
    from finetuned.data.render import Renderer
    from finetuned.errors import FinetunedError

    try:
        renderer = Renderer.load(Path(facts.path), max_length=facts.max_positions or 512)
        renderer.render(to_example({"prompt": "Say yes.", "completion": "yes"}))
    except FinetunedError as error:
        return str(error), None
    return None, renderer.template.origin


def _run(args: argparse.Namespace) -> int:
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.cli.base_facts
    import finetuned.data.render  # noqa: F401

    return on_root(args, _list if args.command == "list" else _check)


VERB = Verb(
    name="base",
    summary="List the base models that are here, and check whether one can be used.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
