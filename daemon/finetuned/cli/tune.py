"""
``finetuned tune``: search for better settings of training, and write them into config.toml.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.terminal import complain, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file
from finetuned.core.text import printable
from finetuned.core.tuning.space import PRUNERS, SAMPLERS

if TYPE_CHECKING:
    from finetuned.files.study_result import StudyResult
    from finetuned.layout import Layout
    from finetuned.tuning.request import Show, TuneRequest

DETAILS = """examples:
  finetuned tune --dataset rows.jsonl                   20 trials, then the finals
  finetuned tune --dataset rows.jsonl --trials 40       goes on with the same study
  finetuned tune --dataset rows.jsonl --search learning_rate=1e-4..3e-3 --search r=8,16,32
  finetuned tune --dataset rows.jsonl --apply           writes what is recommended into config.toml
  finetuned tune --show                                 the studies of this root
  finetuned tune --show --study rows --json             one of them
  finetuned tune --dataset rows.jsonl --storage postgresql+psycopg://USER@HOST/DB --no-finals
                                                        trials on one more machine

A setting is searched as KEY=LOW..HIGH, with :log or :linear after it, or as KEY=VALUE,VALUE; any
key of [training] that changes what is learnt. Every trial is a training run on the same rows,
split and seed, from the head, at the lowest priority: it stops within one step when a file is
dropped, and goes on afterwards. Ctrl-C or a kill cost nothing: the same command goes on.

exit status: 0 done, 1 refused, or --apply without a recommendation, 2 wrong usage, 130 Ctrl-C
"""


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("--dataset", type=named_file, metavar="FILE", help="JSON lines; only read")
    parser.add_argument("--study", metavar="NAME", help="another study (default: the name of FILE)")
    parser.add_argument(
        "--trials", type=_count, default=20, metavar="N", help="of the study (default: 20)"
    )
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="KEY=VALUES",
        help="a setting and its values; may be repeated (default: around the settings of today)",
    )
    parser.add_argument(
        "--from",
        dest="start",
        choices=("head", "base"),
        default="head",
        help="what each trial goes on from (default: head)",
    )
    parser.add_argument(
        "--seeds", type=_count, default=3, metavar="N", help="of the comparison (3 or more)"
    )
    parser.add_argument(
        "--finalists", type=_count, default=3, metavar="N", help="asked by the gate (default: 3)"
    )
    parser.add_argument(
        "--pruner", choices=PRUNERS, default="halving", help="ends trials (default: halving)"
    )
    parser.add_argument(
        "--sampler", choices=SAMPLERS, default="tpe", help="chooses settings (default: tpe)"
    )
    parser.add_argument("--storage", metavar="URL", help="a database that several machines share")
    parser.add_argument(
        "--normal-priority", action="store_true", help="share the processor, as on a busy machine"
    )
    parser.add_argument("--no-finals", action="store_true", help="trials alone")
    parser.add_argument("--fresh", action="store_true", help="start over; the old study is kept")
    parser.add_argument(
        "--apply", action="store_true", help="write recommended settings into config.toml"
    )
    parser.add_argument("--show", action="store_true", help="show what is there; train nothing")


def _request(args: argparse.Namespace) -> TuneRequest:
    from finetuned.tuning.request import TuneRequest

    return TuneRequest(
        dataset=args.dataset,
        study=args.study,
        trials=args.trials,
        seeds=args.seeds,
        finalists=args.finalists,
        space=tuple(args.search),
        from_base=args.start == "base",
        pruner=args.pruner,
        sampler=args.sampler,
        storage=args.storage,
        fresh=args.fresh,
        gives_way=not args.normal_priority,
        finals=not args.no_finals,
    )


def _screen() -> Show:
    """Return what writes to stderr: lines that stay, and on a terminal one that is replaced."""
    from finetuned.tuning.request import Show

    terminal = sys.stderr.isatty()
    clear = "\r\x1b[K" if terminal else ""

    def line(text: str) -> None:
        print(f"{clear}{printable(text)}", file=sys.stderr, flush=True)

    def status(text: str) -> None:
        if terminal:
            print(f"{clear}{printable(text)[:119]}", end="", file=sys.stderr, flush=True)

    return Show(line, status)


def _tune(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.tuning.run import tune

    if args.show:
        return _show(layout, args)
    screen = _screen()
    result = tune(layout, _request(args), screen)
    screen.status("")
    page = _write_page(layout, result)
    status, applied = _apply(layout, result) if args.apply else (DONE, None)
    _print(result, page, as_json=args.json, applied=applied)
    return status


def _show(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.errors import DatasetError
    from finetuned.files.study_result import read_result
    from finetuned.tuning.folder import name_of, study_folder

    name = args.study or (name_of(args.dataset) if args.dataset else None)
    if name is None:
        return _list(layout, as_json=args.json)
    folder = study_folder(layout, name)
    result = read_result(folder.result)
    if result is None:
        known = ", ".join(_names(layout)) or "none"
        raise DatasetError(f"there is no study {name} with a trial that is over; studies: {known}")
    _print(result, _write_page(layout, result), as_json=args.json, applied=None)
    return DONE


def _names(layout: Layout) -> list[str]:
    return sorted(file.parent.name for file in layout.tuning.glob("*/result.json"))


def _list(layout: Layout, *, as_json: bool) -> int:
    from finetuned.files.study_result import read_result

    found = [read_result(layout.tuning / name / "result.json") for name in _names(layout)]
    rows = [
        {"study": r.study, "file": r.facts.file, "trials": len(r.trials), "advice": r.advice}
        for r in found
        if r is not None
    ]
    if as_json:
        import orjson

        print(orjson.dumps({"studies": rows}).decode())
    for row in () if as_json else rows:
        print(printable(f"{row['study']:<24} {row['trials']:>4} trials  {row['advice']}"))
    if not rows and not as_json:
        print("no study yet: finetuned tune --dataset FILE begins one")
    return DONE


def _write_page(layout: Layout, result: StudyResult) -> Path:
    from finetuned.files.atomic import write_atomic
    from finetuned.reports.tuning_page import tuning_page
    from finetuned.tuning.folder import study_folder

    page = study_folder(layout, result.study).page
    write_atomic(page, tuning_page(result).encode())
    return page


def _apply(layout: Layout, result: StudyResult) -> tuple[int, str]:
    """Return the exit status, and what became of config.toml."""
    from finetuned.tuning.apply import apply_settings

    settings = result.recommended
    if settings is None:
        complain("tune", f"config.toml was not changed: {result.advice}")
        return REFUSED, "not changed"
    kept = apply_settings(layout.config, settings)
    if kept is None:
        return DONE, f"{shown(layout.config)} has the settings"
    return DONE, f"{shown(layout.config)} has the settings; the old file is {shown(kept)}"


def _print(result: StudyResult, page: Path, *, as_json: bool, applied: str | None) -> None:
    from finetuned.cli.tuning_text import as_text

    if as_json:
        import orjson

        from finetuned.core.record import to_json

        facts = {
            **to_json(result),
            "recommended": to_json(result.recommended),
            "page": str(page),
            "applied": applied,
        }
        print(orjson.dumps(facts).decode())
        return
    print(as_text(result))
    if applied is not None:
        print(f"   {applied}")
    elif result.recommended is not None:
        print("   to write them into config.toml: the same command with --apply")
    print(f"page: {shown(page)}")


def _run(args: argparse.Namespace) -> int:
    if args.dataset is None and not args.show:
        raise UsageError("--dataset FILE is missing: the rows that trials are trained on")
    if args.seeds < 3:
        raise UsageError(f"--seeds must be 3 or more, got {args.seeds}: fewer say nothing of noise")
    from finetuned.core.tuning.space import parse_space
    from finetuned.errors import ConfigError

    try:
        parse_space(args.search)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.cli.tuning_text
    import finetuned.reports.tuning_page
    import finetuned.tuning.run  # noqa: F401

    return on_root(args, _tune, interrupted="interrupted; the same command goes on")


VERB = Verb(
    name="tune",
    summary="Search for better settings of training, beside the daemon and at low priority.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
