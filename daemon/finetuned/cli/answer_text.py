"""
An answer as it is shown: as it comes on a terminal, whole and unchanged in a pipe.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuned.core.generation import FinishReason
from finetuned.core.question import Answer, AnswerEnd
from finetuned.core.text import visible
from finetuned.errors import NoAnswer

DIM, PLAIN, CLEAR = "\x1b[2m", "\x1b[0m", "\x1b[2K"


@dataclass(frozen=True, slots=True)
class Shown:
    """
    A whole answer.
    """

    text: str
    end: AnswerEnd

    @property
    def is_cut(self) -> bool:
        """Whether it ended because it was as long as it may be."""
        return self.end.reason is FinishReason.LENGTH

    def as_json(self) -> dict[str, object]:
        """
        Return the object of ``--json``.
        """
        end = self.end
        return {
            "text": self.text,
            "model": end.model,
            "finish_reason": str(end.reason),
            "prompt_tokens": end.prompt_tokens,
            "answer_tokens": end.answer_tokens,
            "first_seconds": round(end.first_seconds, 3),
            "seconds": round(end.seconds, 3),
            "reasoning": end.reasoning,
            "invented": [{"path": one.path, "value": one.value} for one in end.invented],
            "request_id": end.request_id,
        }


def stream(answer: Answer) -> Shown:
    """
    Write an answer to the terminal as it comes, with what could control it spelled out.

    Raises:
        NoAnswer: As the answer; what came before it stands on the terminal, on lines of its own.
        KeyboardInterrupt: Likewise.
    """
    parts: list[str] = []
    try:
        for part in answer:
            if isinstance(part, AnswerEnd):
                return Shown("".join(parts), part)
            parts.append(part)
            print(visible(part), end="", flush=True)
    except NoAnswer as error:
        written = sum(map(len, parts))
        raise _after(error, written) from None
    finally:
        if parts and not parts[-1].endswith("\n"):
            print(flush=True)
        close(answer)
    raise NoAnswer("the answer has no end")


def collect(answer: Answer) -> Shown:
    """
    Return an answer once it is whole.

    Raises:
        NoAnswer: As the answer.
    """
    parts: list[str] = []
    try:
        for part in answer:
            if isinstance(part, AnswerEnd):
                return Shown("".join(parts), part)
            parts.append(part)
    except NoAnswer as error:
        raise _after(error, sum(map(len, parts))) from None
    finally:
        close(answer)
    raise NoAnswer("the answer has no end")


def close(answer: Answer) -> None:
    """
    End the work on an answer that nobody reads further.
    """
    ended = getattr(answer, "close", None)
    if ended is not None:
        ended()


def note(shown: Shown, label: str) -> str:
    """
    Return the line below an answer on a terminal: what gave it, how long it is, how long it took.
    """
    end = shown.end
    return (
        f"{end.model if '@' in end.model else label}, {end.answer_tokens} tokens, first after "
        f"{end.first_seconds:.2f} s, all after {end.seconds:.2f} s"
        + (", cut at its longest" if shown.is_cut else "")
    )


def invented_note(end: AnswerEnd) -> str:
    """
    Return what to say of values that the question does not have.
    """
    listed = ", ".join(f"{one.value} ({one.path})" for one in end.invented)
    return f"not in the question, so probably invented: {visible(listed)}"


def _after(error: NoAnswer, written: int) -> NoAnswer:
    if not written:
        return error
    message = f"{error} (after {written} characters, which are not the whole answer)"
    return NoAnswer(message, exit_status=error.exit_status)
