"""
A Modelfile whose template and stops are those of the tokenizer's own chat template.

It ships trained weights: a Modelfile that only sets a system prompt changes nothing of a model.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from finetuned.core.export.chat_marks import ChatMarks, Turns, marks_of
from finetuned.data.messages import Message
from finetuned.data.render import Renderer
from finetuned.errors import ExportRefused, MalformedExample

MODELFILE: Final = "Modelfile"


def chat_marks(renderer: Renderer) -> ChatMarks:
    """
    Return the marks of a renderer's chat template.

    Raises:
        ExportRefused: A Modelfile cannot express the template.
    """

    def render(turns: Turns) -> str:
        messages: list[Message] = [{"role": role, "content": content} for role, content in turns]
        try:
            return renderer.template.prompt(messages, None)
        except MalformedExample as error:
            raise ExportRefused(
                f"the chat template refuses a plain conversation ({error.reason}), so no Modelfile "
                "can be made; export with --to gguf"
            ) from error

    return marks_of(render)


def modelfile(file: str, marks: ChatMarks, stops: Sequence[str], begins_with: str) -> str:
    """
    Return the Modelfile of a GGUF file beside it.

    Args:
        file: The file's name.
        marks: Of the chat template.
        stops: Texts that end an answer.
        begins_with: The token that llama.cpp puts before every prompt by itself, or "".
    """
    begin = marks.begin.removeprefix(begins_with) if begins_with else marks.begin
    lines = [
        f"# Import it: ollama create NAME -f {MODELFILE}",
        f"FROM ./{file}",
        f'TEMPLATE """{_template(marks, begin)}"""',
        *(f"PARAMETER stop {_quoted(stop)}" for stop in stops),
        "PARAMETER temperature 0",
    ]
    return "\n".join(lines) + "\n"


def stops_of(renderer: Renderer) -> list[str]:
    """
    Return the texts of the tokens that end an answer, the end of a turn first.
    """
    first = renderer.template.turn_end
    order = sorted(renderer.stop_token_ids, key=lambda token: (token != first, token))
    return [renderer.decode([token]) for token in order]


def require_ollama() -> str:
    """
    Return the path of Ollama's program.

    Raises:
        ExportRefused: It is not on PATH.
    """
    found = shutil.which("ollama")
    if found is None:
        raise ExportRefused(
            "ollama is not on PATH, so nothing can be imported into it; export without --create, "
            "copy the folder to the machine that has it, and run there: "
            f"ollama create NAME -f {MODELFILE}"
        )
    return found


def create(program: str, name: str, folder: Path) -> None:
    """
    Import the export in *folder* into Ollama as *name*.

    Raises:
        ExportRefused: Ollama refused; the message ends with what it said.
    """
    ended = subprocess.run(
        [program, "create", name, "-f", MODELFILE],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if ended.returncode != 0:
        said = ended.stdout.decode("utf-8", "replace").strip()[-400:]
        raise ExportRefused(f"ollama create {name} ended with status {ended.returncode}: {said}")


def _template(marks: ChatMarks, begin: str) -> str:
    """Return the marks as a template of Go, whose literals are Go's quoted strings."""
    system_first = 'eq (index $.Messages 0).Role "system"'
    return "".join(
        (
            _put(begin),
            "{{- range $i, $_ := .Messages -}}",
            "{{- $last := eq (len (slice $.Messages $i)) 1 -}}",
            _if('and (eq $i 0) (ne .Role "system")', _put(marks.default_system)),
            '{{- if eq .Role "system" -}}',
            _put(marks.system[0]) + "{{ .Content }}" + _put(marks.system[1]),
            '{{- else if eq .Role "user" -}}',
            f"{{{{- if and (eq $i 1) ({system_first}) -}}}}{_put(marks.first_user)}"
            f"{{{{- else -}}}}{_put(marks.user[0])}{{{{- end -}}}}",
            "{{ .Content }}" + _put(marks.user[1]),
            '{{- else if eq .Role "assistant" -}}',
            _put(marks.assistant[0]) + "{{ .Content }}",
            _if("not $last", _put(marks.assistant[1])),
            "{{- end -}}",
            _if('and $last (ne .Role "assistant")', _put(marks.ask)),
            "{{- end -}}",
        )
    )


def _put(text: str) -> str:
    return f"{{{{ {_quoted(text)} }}}}" if text else ""


def _if(condition: str, text: str) -> str:
    return f"{{{{- if {condition} -}}}}{text}{{{{- end -}}}}" if text else ""


def _quoted(text: str) -> str:
    """Return *text* in quotes, as Go and a Modelfile read it: JSON's escapes are Go's too."""
    return orjson.dumps(text).decode()
