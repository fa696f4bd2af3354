"""
``finetuned completion``: a script that completes commands in a shell.

The script is generated from the parser, so it knows every verb and option that there is. It is
not argcomplete, which would start Python at every Tab, and not shtab, which has no fish.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from finetuned.cli.session import DONE
from finetuned.cli.verb import Verb

SHELLS = ("bash", "zsh", "fish")

DETAILS = """examples:
  finetuned completion bash > ~/.local/share/bash-completion/completions/finetuned
  source <(finetuned completion bash)                for this shell only
  source <(finetuned completion zsh)                 in ~/.zshrc, after compinit
  finetuned completion fish > ~/.config/fish/completions/finetuned.fish

exit status: 0 printed, 2 wrong usage
"""


@dataclass(frozen=True, slots=True)
class Command:
    """
    A command, and what may follow it.
    """

    words: tuple[str, ...]
    """Of the command itself, such as ``("versions", "list")``; empty for the program."""
    commands: tuple[tuple[str, str], ...]
    """Verbs or sub-commands with their help."""
    options: tuple[tuple[str, str], ...]
    """Long options with their help."""
    choices: tuple[str, ...]
    """Values of a positional argument, if they are known."""

    @property
    def key(self) -> str:
        """Its words joined by blanks."""
        return " ".join(self.words)

    @property
    def following(self) -> list[str]:
        """Every word that may follow."""
        return [*(name for name, _ in self.commands), *self.choices, *(o for o, _ in self.options)]


def commands_of(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[Command]:
    """
    Yield *parser* and all parsers of sub-commands below it.
    """
    options, commands, choices = [], [], []
    below: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            below = list(action.choices.items())
            commands = [(name, summaries.get(name, "")) for name, _ in below]
        elif action.option_strings:
            longest = max(action.option_strings, key=len)
            options.append((longest, (action.help or "").replace("%%", "%")))
        elif action.choices is not None:
            choices += [str(choice) for choice in action.choices]
    yield Command(words, tuple(commands), tuple(options), tuple(choices))
    for name, sub in below:
        yield from commands_of(sub, (*words, name))


_BASH = """\
_finetuned() {{
    local word key="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${{COMP_WORDS[i]}}"
        case "${{key:+$key }}$word" in
            {keys}) key="${{key:+$key }}$word" ;;
        esac
    done
    local words=""
    case "$key" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _finetuned finetuned
"""
"""``-o default``: files, if no word fits."""


def bash(commands: list[Command]) -> str:
    """
    Return a completion script for bash.
    """
    keys = " | ".join(f'"{c.key}"' for c in commands if c.words)
    cases = "\n".join(f'        "{c.key}") words="{" ".join(c.following)}" ;;' for c in commands)
    return _BASH.format(keys=keys, cases=cases)


def zsh(commands: list[Command]) -> str:
    """
    Return a completion script for zsh, which can run one for bash.
    """
    return "autoload -U +X bashcompinit && bashcompinit\n" + bash(commands)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_FISH = """\
function __finetuned_at
    set -l key
    for word in (commandline -opc)[2..]
        set -l longer (string trim "$key $word")
        if contains -- "$longer" {keys}
            set key $longer
        end
    end
    test "$key" = "$argv[1]"
end
"""


def fish(commands: list[Command]) -> str:
    """
    Return a completion script for fish, with the help of every word.
    """
    lines = [_FISH.format(keys=" ".join(_quoted(c.key) for c in commands if c.words))]
    for command in commands:
        here = f"complete -c finetuned -n {_quoted(f'__finetuned_at {_quoted(command.key)}')}"
        for name, text in command.commands:
            lines.append(f"{here} -f -a {_quoted(name)} -d {_quoted(text)}\n")
        lines += [f"{here} -f -a {_quoted(choice)}\n" for choice in command.choices]
        for option, text in command.options:
            lines.append(f"{here} -l {option.removeprefix('--')} -d {_quoted(text)}\n")
    return "".join(lines)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="for which shell")


def _run(args: argparse.Namespace) -> int:
    commands = list(commands_of(args.program))
    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](commands), end="")
    return DONE


VERB = Verb(
    name="completion",
    summary="Print a script that completes commands in bash, zsh or fish.",
    details=DETAILS,
    configure=_configure,
    run=_run,
    needs_root=False,
)
