"""
The program's words: every verb says what it does, by example, and how it ends.
"""

from __future__ import annotations

import argparse
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.cli.program import NAMES, build_parser, main, verbs
from finetuned.cli.verb import Verb
from finetuned.core.order import OrderKind

PACKAGE_PARENT = Path(__file__).resolve().parents[3] / "daemon"
HEAVY = ("torch", "transformers", "peft", "numpy", "matplotlib", "jsonschema", "jinja2", "rich")
VERBS = verbs()


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """
    Return what ``finetuned WORDS --help`` prints.
    """
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert 0 == ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS, ids=NAMES)
def test_every_verb_says_what_it_does_by_example_and_how_it_ends(
    verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A person who types --help needs no document.
    """
    text = help_of(capsys, verb.name)

    assert verb.summary.endswith(".")
    assert f"examples:\n  finetuned {verb.name}" in text
    assert "exit status:" in text


def test_the_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """
    No verb is hidden.
    """
    text = help_of(capsys)

    assert [] == [verb.name for verb in VERBS if verb.summary not in " ".join(text.split())]


def test_the_help_of_run_names_every_order_and_exit_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    An order that is added to the enum is in the help.
    """
    text = help_of(capsys, "run")

    for kind in OrderKind:
        assert f"touch control/{kind} " in text
        assert kind.meaning in text
    for word in ("--root", "--until-idle", "  0 ", "70", "75", "78"):
        assert word in text


@pytest.mark.parametrize("words", [[], *([name] for name in NAMES)], ids=" ".join)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    """
    Help appears at once: libraries are imported by the verb that needs them, when it runs.
    """
    code = (
        "import sys\nfrom finetuned.cli.program import main\n"
        "try: main(sys.argv[1:])\n"
        f"except SystemExit: sys.exit(','.join(set({HEAVY!r}) & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(PACKAGE_PARENT)},
    )

    assert "" == found.stderr.strip()
    assert found.stdout.startswith("usage: finetuned")


def test_a_verb_has_the_name_of_its_file_and_reads_no_other(tmp_path: Path) -> None:
    """
    The files of all verbs take longer to read than a service takes to answer.
    """
    code = (
        "import sys\nfrom finetuned.cli.program import NAMES, main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([n for n in NAMES if f'finetuned.cli.{n}' in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, "retry", "--root", str(tmp_path), "--no-such-option"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(PACKAGE_PARENT)},
    )

    assert [*NAMES] == [verb.name for verb in VERBS]
    assert "['retry']\n" == found.stdout


def test_help_takes_less_than_a_third_of_a_second() -> None:
    """
    Of processor time, which other programs on this machine do not add to; the best of five.
    """
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "finetuned", "--help"],
            stdout=subprocess.DEVNULL,
            check=True,
            env={"PYTHONPATH": str(PACKAGE_PARENT)},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(seconds) <= 0.3


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """
    Return *parser* and all parsers of sub-commands below it.
    """
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += parsers(below)
    return found


ROOTED = [p.prog for p in parsers(build_parser()) if "--root" in p._option_string_actions]


@pytest.mark.parametrize("prog", ROOTED)
@pytest.mark.parametrize("root", ["", "  "])
def test_an_empty_root_is_refused_by_every_command(
    prog: str, root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    ``--root "$UNSET"`` must not work on the directory that a person happens to be in.
    """
    with pytest.raises(SystemExit) as ended:
        main([*prog.split()[1:], "--root", root])

    assert 2 == ended.value.code
    assert "the name of the folder is empty" in capsys.readouterr().err


def examples(verb: Verb) -> list[list[str]]:
    """
    Return the command lines of a verb's help, without what a shell or a reader adds.
    """
    text = verb.details.replace("%%", "%").replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        match = re.match(rf"  (?:source <\()?finetuned ({verb.name}\b.*)", line)
        if match:
            command = re.sub(r" {3,}--", " --", match[1])  # a line that was continued
            command = re.split(r" {2,}| [|>] |\)", command)[0]
            found.append(shlex.split(command))
    return found


EXAMPLES = [words for verb in VERBS for words in examples(verb)]


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_every_example_of_the_help_can_be_parsed(words: list[str]) -> None:
    """
    Help that does not work is worse than none.
    """
    build_parser().parse_args(words)


def test_every_verb_has_examples_that_are_parsed() -> None:
    """
    The law above is not held by finding nothing.
    """
    assert {verb.name for verb in VERBS} == {words[0] for words in EXAMPLES}
    assert len(EXAMPLES) > 50
