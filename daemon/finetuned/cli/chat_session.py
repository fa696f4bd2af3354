"""
One chat: what is typed goes to the model with all that was said before, or is a command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from finetuned.cli import answer_text
from finetuned.cli.asked import Asked, choose, known_models
from finetuned.cli.chat_feedback import NOTHING_YET, tell, thumbs
from finetuned.cli.chat_input import line_reader
from finetuned.cli.terminal import complain
from finetuned.core.generation import JsonObject
from finetuned.core.question import AnswerEnd, Question
from finetuned.core.text import printable
from finetuned.errors import FinetunedError, NoAnswer
from finetuned.files.new_file import NewFile
from finetuned.layout import Layout
from finetuned.serving.client.feedback import Opinion

NAMES_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Command:
    """
    A line that begins with / and one of the names.
    """

    usage: str
    meaning: str
    run: Callable[[str], None]
    """Gets what stands after the name."""


class ChatSession:
    """
    A conversation and who answers it.
    """

    def __init__(
        self,
        layout: Layout,
        model: str,
        first: Question,
        *,
        load: bool,
        templates: Mapping[str, str],
    ) -> None:
        """
        Args:
            layout: The root.
            model: As asked.choose() takes it.
            first: The system message, if there is one, and how answers are chosen.
            load: Whether models are loaded here even if a service runs.
            templates: By name.

        Raises:
            RegistryError, ModelError, ConfigError: As choose().
        """
        self._layout = layout
        self._first = first
        self._load = load
        self._templates = templates
        self._said: list[JsonObject] = []
        self._last: AnswerEnd | None = None
        self._begun = ""
        self._over = False
        self._name = model
        self._asked: Asked = choose(layout, model, load=load)
        self.commands: dict[str, Command] = {
            "/help": Command("/help", "this list", self._help),
            "/model": Command("/model [NAME]", "who answers, or another from now on", self._model),
            "/templates": Command("/templates [NAME]", "questions to fill in", self._template),
            "/good": Command("/good [COMMENT]", "the last answer is good", self._good),
            "/bad": Command("/bad [COMMENT]", "it is not: a person will look at it", self._bad),
            "/correct": Command("/correct [TEXT]", "what it should have been", self._correct),
            "/reset": Command("/reset", "forget what was said", self._reset),
            "/save": Command("/save FILE", "write it as a row that can be trained", self._save),
            "/quit": Command("/quit", "end; Ctrl-D does it too", self._quit),
        }

    def run(self) -> None:
        """
        Read lines until the end.
        """
        read = line_reader([*self.commands, *(f"/templates {name}" for name in self._templates)])
        self._say(f"{self._asked.label}. /help shows the commands, /quit ends.")
        while not self._over:
            begun, self._begun = self._begun, ""
            try:
                line = read(begun).strip()
            except KeyboardInterrupt:
                self._say("nothing is running; /quit or Ctrl-D ends the chat")
                continue
            except EOFError:
                break
            if line:
                self.take(line)

    def take(self, line: str) -> None:
        """
        Do what a line says: a command, or a question. ``//`` begins a question with one slash.
        """
        if not line.startswith("/") or line.startswith("//"):
            self._ask(line.removeprefix("/") if line.startswith("//") else line)
            return
        name, _, rest = line.partition(" ")
        command = self.commands.get(name)
        if command is None:
            known = ", ".join(self.commands)
            complain("chat", f"there is no command {name}; there are {known}. // begins a question")
            return
        try:
            command.run(rest.strip())
        except (FinetunedError, OSError) as error:
            complain("chat", str(error))

    def _ask(self, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            self._say(f"not sent: character {error.start + 1} is no UTF-8")
            return
        self._last = None  # what is said next is not meant of the answer before
        user: JsonObject = {"role": "user", "content": text}
        said = [*self._said, user]
        question = replace(self._first, messages=(*self._first.messages, *said))
        try:
            self._asked = self._answerer()
            shown = answer_text.stream(self._asked.answerer.answer(question))
        except KeyboardInterrupt:
            self._say("stopped; this question and its answer are not part of the conversation")
            return
        except (FinetunedError, OSError) as error:
            complain("chat", str(error))
            return
        self._said = [*said, {"role": "assistant", "content": shown.text}]
        self._last = shown.end
        if sys.stderr.isatty():
            self._say(answer_text.note(shown, self._asked.label))

    def _answerer(self) -> Asked:
        """Look for the service again: it may have been started anew, with another key."""
        if self._asked.is_loaded:
            return self._asked
        return choose(self._layout, self._name, load=self._load)

    def _help(self, _: str) -> None:
        width = max(len(command.usage) for command in self.commands.values())
        for command in self.commands.values():
            print(f"  {command.usage:<{width}}  {command.meaning}")
        print(f"  {'Ctrl-C':<{width}}  ends an answer")

    def _model(self, name: str) -> None:
        if name:
            self._asked, self._name = choose(self._layout, name, load=self._load), name
            self._say(f"{self._asked.label} answers from now on, and knows what was said")
            return
        names = known_models(self._layout)
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        print(f"  {self._asked.label}; /model NAME takes another:")
        print(f"  {', '.join(names[:NAMES_SHOWN])}{more}, a run's id, a folder, a base model")

    def _template(self, name: str) -> None:
        if not name:
            for known, text in self._templates.items():
                print(printable(f"  {known:<10} {text}"))
            print("  /templates NAME puts one on the line, to be filled in")
        elif name in self._templates:
            self._begun = self._templates[name]
        else:
            complain("chat", f"no template {name!r}; there are {', '.join(self._templates)}")

    def _good(self, comment: str) -> None:
        self._tell(thumbs(True, comment))

    def _bad(self, comment: str) -> None:
        self._tell(thumbs(False, comment))

    def _correct(self, text: str) -> None:
        """Send what the answer should have been, and go on as if it had been that."""
        if self._last is None:
            raise NoAnswer(NOTHING_YET)
        if not text:
            self._begun = f"/correct {self._said[-1]['content']}"
            return
        if text == self._said[-1]["content"]:
            raise NoAnswer("that is what was answered; /good says that it is right")
        self._said[-1] = {"role": "assistant", "content": text}
        self._say("the conversation goes on with your text; /save FILE writes it as a row")
        self._tell(Opinion(correction=text))

    def _tell(self, opinion: Opinion) -> None:
        if self._last is None:
            raise NoAnswer(NOTHING_YET)
        self._say(tell(self._layout, self._last.request_id, opinion))

    def _reset(self, _: str) -> None:
        self._said, self._last = [], None
        self._say("forgotten; the system message stays" if self._first.messages else "forgotten")

    def _save(self, name: str) -> None:
        if not name or not self._said:
            complain("chat", "/save FILE writes what was said; " + (
                "nothing was said yet" if name else "the name of a file is missing"
            ))  # fmt: skip
            return
        path = Path(name).expanduser()
        row = {"messages": [*self._first.messages, *self._said]}
        try:
            with NewFile(path.absolute().parent) as new:
                new.file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                new.publish(path.name, mode=0o600)
        except FileExistsError:
            complain("chat", f"{path} is there already and was not touched; choose another name")
            return
        self._say(
            f"{len(self._said)} turns are in {path}, as a row that can be dropped into inbox/"
        )

    def _quit(self, _: str) -> None:
        self._over = True

    @staticmethod
    def _say(text: str) -> None:
        dim = sys.stdout.isatty()
        line = printable(text)
        print(f"{answer_text.DIM}{line}{answer_text.PLAIN}" if dim else line, flush=True)
