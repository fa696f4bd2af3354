"""
``finetuned chat``: a conversation with a model on a terminal.
"""

from __future__ import annotations

import argparse

from finetuned.cli.ask import add_model, add_sampling, check_sampling
from finetuned.cli.session import DONE, INTERRUPTED
from finetuned.cli.terminal import complain
from finetuned.cli.verb import Verb, add_root

DETAILS = """examples:
  finetuned chat                              the version in use
  finetuned chat --model base --system "Answer in one sentence."

Lines that begin with / are commands:
  /help  /model [NAME]  /templates [NAME]  /reset  /save FILE  /quit
  /good [COMMENT]  /bad [COMMENT]  /correct [TEXT]    of the last answer
What is said of an answer goes to the running service; finetuned review shows what was disliked or
corrected. /correct alone puts the answer on the line to be mended.
Ctrl-C ends an answer and not the chat; Ctrl-D or /quit ends the chat. With prompt_toolkit
(pip install 'finetuned[chat]') there are line editing, completion and a history, which is kept in
~/.local/state/finetuned/chat_history and readable by you alone. Templates are texts with gaps;
more than those that are there are read from templates.toml of the root: NAME = "text".

exit status: 0 ended, 1 no such model, 2 wrong usage, 75 the service is not ready, 78 wrong
configuration
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_root(parser)
    add_model(parser)
    add_sampling(parser)


def _run(args: argparse.Namespace) -> int:
    check_sampling(args)
    from finetuned.cli.asked import exit_status
    from finetuned.cli.chat_session import ChatSession
    from finetuned.cli.chat_templates import load_templates
    from finetuned.core.question import Question
    from finetuned.errors import FinetunedError
    from finetuned.layout import Layout

    layout = Layout(args.root.resolve())
    system = () if args.system is None else ({"role": "system", "content": args.system},)
    first = Question(
        messages=system,
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        seed=args.seed,
    )
    try:
        templates = load_templates(layout)
        ChatSession(layout, args.model, first, load=args.load, templates=templates).run()
    except (FinetunedError, OSError) as error:
        complain("chat", str(error))
        return exit_status(error)
    except KeyboardInterrupt:  # while the model was loaded
        complain("chat", "interrupted")
        return INTERRUPTED
    return DONE


VERB = Verb(
    name="chat",
    summary="Talk with a model on a terminal.",
    details=DETAILS,
    configure=_configure,
    run=_run,
    quiet_pipe=False,
)
