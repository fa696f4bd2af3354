"""
``finetuned config``: print the default config.toml, or check one and what it names.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE
from finetuned.cli.terminal import complain
from finetuned.cli.verb import Verb, add_common, chosen_root, named_file
from finetuned.core.suite_origin import HELD_OUT
from finetuned.core.text import printable
from finetuned.errors import EXIT_CONFIG, ConfigError, FinetunedError
from finetuned.layout import Layout

if TYPE_CHECKING:
    from finetuned.config import Config

DETAILS = """examples:
  finetuned config > config.toml            all defaults with their meaning: edit what differs
  finetuned config --check                  the config.toml of the root
  finetuned config --check /srv/ft/config.toml
  finetuned config --check new.toml --root /srv/ft     a file that is to become that of a root

A check also looks for what the file names: the base model, suites, the file of accelerate.

exit status: 0 printed or valid, 2 wrong usage, 78 wrong or missing (as the daemon would exit)
"""

OVERALL = "overall"
"""In the gate's lists: all suites together."""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument(
        "--check",
        metavar="FILE",
        type=named_file,
        nargs="?",
        const=True,
        help="read FILE (default: config.toml of the root) and say what is wrong with it",
    )


def mistakes_in(layout: Layout, config: Config) -> list[str]:
    """
    Return one sentence for each thing that *config* names and that is not there or not usable.

    Args:
        layout: The root that the configuration is for.
        config: Valid by itself.
    """
    from finetuned.files.base_model import find_base
    from finetuned.supervisor.runs.specs import launch_file

    return [
        *_problem(lambda: find_base(layout, config.model.base)),
        *_problem(lambda: launch_file(layout.root, config.training.accelerate_config)),
        *_suite_problems(layout, config),
    ]


def _problem(check: Callable[[], object]) -> list[str]:
    """Return the message of the error that *check* raises, if it does."""
    try:
        check()
    except FinetunedError as error:
        return [str(error)]
    return []


def _suite_problems(layout: Layout, config: Config) -> list[str]:
    from finetuned.data.suite import load_suite, suite_files

    found = []
    names = [name.strip() for name in config.evaluation.suites.split(",") if name.strip()]
    files = {path.stem: path for path in suite_files(layout.benchmarks)}
    asked = {*(n for n in names if n != "*"), *(files if "*" in names else [])}
    for name in sorted(asked):
        if name not in files:
            missing = _missing(layout, name)
            found.append(f"evaluation.suites names {name!r}, but there is no {missing}")
            continue
        problem = _problem(partial(load_suite, files[name]))
        found += [f"the suite {files[name]} cannot be read: {text}" for text in problem]
    return found + _unasked_gates(layout, config, asked)


def _missing(layout: Layout, name: str) -> str:
    known = ", ".join(sorted(p.stem for p in layout.benchmarks.glob("*.jsonl"))) or "none"
    return f"{layout.benchmarks / name}.jsonl; suites that are there: {known}"


def _unasked_gates(layout: Layout, config: Config, asked: set[str]) -> list[str]:
    from finetuned.config import parse_gates

    return [
        f"gate.{key} names {name!r}, which is not a suite that evaluation.suites asks; "
        f"there is no {_missing(layout, name)}"
        for key in ("ship_gates", "quality_gates")
        for name, _ in parse_gates(getattr(config.gate, key))
        if name not in asked | {OVERALL} and not name.startswith(HELD_OUT)
    ]


def _differences(config: Config) -> dict[str, object]:
    """Return the values that are not the default, by ``section.key``."""
    from finetuned.config import Config

    default = Config().as_dict()
    return {
        f"{section}.{key}": value
        for section, table in config.as_dict().items()
        for key, value in table.items()
        if value != default[section][key]
    }


def _check(layout: Layout, path: Path, *, as_json: bool) -> int:
    from finetuned.config import ignored_keys, load_config

    changed: dict[str, object] = {}
    try:
        if not path.exists():
            raise ConfigError(f"{path}: no such file")
        config = load_config(path)
        changed = _differences(config)
        for warning in ignored_keys(path):
            complain("config", f"{path}: {warning}")
        mistakes = [f"{path}: {mistake}" for mistake in mistakes_in(layout, config)]
    except ConfigError as error:
        mistakes = [str(error)]
    if as_json:
        import orjson

        facts = {"file": str(path), "valid": not mistakes, "mistakes": mistakes, "set": changed}
        print(orjson.dumps(facts).decode())
    elif not mistakes:
        text = ", ".join(f"{key} = {value!r}" for key, value in changed.items()) or "nothing"
        print(f"{path}: valid; differs from the defaults in: {printable(text)}")
    for mistake in mistakes:
        complain("config", mistake)
    return EXIT_CONFIG if mistakes else DONE


def _run(args: argparse.Namespace) -> int:
    if args.check is None:
        from finetuned.config.default_file import default_toml

        print(default_toml(), end="")
        return DONE
    named: Path | None = None if args.check is True else args.check
    root = named.resolve().parent if named and args.root is None else chosen_root(args)
    layout = Layout(root.resolve())
    return _check(layout, named or root / "config.toml", as_json=args.json)


VERB = Verb(
    name="config",
    summary="Print the default config.toml with every setting explained, or check one.",
    details=DETAILS,
    configure=_configure,
    run=_run,
    needs_root=False,
)
