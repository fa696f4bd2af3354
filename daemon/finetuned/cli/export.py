"""
``finetuned export``: a version written for other programs, and compared before it counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.verb import UsageError, Verb, add_common, named_file

if TYPE_CHECKING:
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned export v0007 --to gguf                        models/exports/v0007-gguf/, in q8_0
  finetuned export current_model --to gguf --quant q8_0,q4_k_m --out /srv/out/micro
  finetuned export v0007 --to ollama --create micro       and import it into Ollama here
  finetuned export v0007 --to hf                          a folder for transformers
  finetuned export v0007 --to vllm                        the same for vLLM
  finetuned export v0007 --to hf --quant int8             in fewer bits, by torchao
  finetuned export v0007 --to adapter                     the adapter alone: PEFT, and GGUF LoRA
  finetuned export v0007 --to gguf --json | jq .parity

Before an export counts, version and export are asked the same items: canaries, held-out rows and
benchmarks. Rendered prompts, token ids and greedy answers are compared, and the first
divergence is shown. An export that is not shown to lose at most 1 point of accuracy (2 points
below 8 bits) is marked as failed, in its manifest and its model card.

exit status: 0 exported, and as good as the version; 1 refused, or not shown to be as good; 2 wrong
usage; 75 no space, or another export is running; 130 ended with Ctrl-C, and nothing is left
"""

_INTERRUPTED = "interrupted; nothing of the export is left"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument(
        "model", metavar="VERSION", help="a version's name, current_model, a folder or a base model"
    )
    parser.add_argument(
        "--to",
        required=True,
        choices=("gguf", "ollama", "hf", "vllm", "adapter"),
        help="what the export is for",
    )
    parser.add_argument(
        "--quant",
        metavar="NAMES",
        help="precisions: q8_0, q5_k_m, q4_k_m or none for GGUF (default q8_0, several between "
        "commas); int8, int4, nf4 or none for hf (default none)",
    )
    parser.add_argument(
        "--out", type=named_file, metavar="DIR", help="its folder (default: models/exports/...)"
    )
    parser.add_argument(
        "--items",
        type=int,
        default=200,
        metavar="N",
        help="most items of each suite that are compared (default: 200); 0 compares nothing, and "
        "such an export never counts as passed",
    )
    parser.add_argument("--create", metavar="NAME", help="import the export into Ollama as NAME")
    parser.add_argument(
        "--sign", type=named_file, metavar="KEY", help="sign the manifest with this minisign key"
    )
    parser.add_argument("--data-licence", metavar="TEXT", help="licence of the data, for the card")


class _Shown:
    """
    What an export is doing, on stderr.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def begin(self, what: str) -> None:
        """
        Name what is being done now.
        """
        from finetuned.core.text import printable

        if not self._quiet:
            print(printable(what), file=sys.stderr, flush=True)

    @contextmanager
    def counted(self, what: str, items: int) -> Iterator[Callable[[int], object]]:
        """
        Show items that are counted, and the time that the rest will take.
        """
        from finetuned.cli.terminal import bar

        self.begin(what)
        with bar(items, time_left=True) as progress:
            progress.begin(what)
            yield progress.done


def _export(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.cli.export_text import document, lines
    from finetuned.config import load_config
    from finetuned.export.ollama import create, require_ollama
    from finetuned.export.run import export_model
    from finetuned.export.signature import require_signer, sign
    from finetuned.export.wish import Wish
    from finetuned.registry.named_model import find_model

    program = require_ollama() if args.create else None
    if args.sign is not None:
        require_signer(args.sign)
    config = load_config(layout.config)
    wish = Wish(
        model=find_model(layout, args.model, config.model.base),
        request=args.request,
        out=args.out,
        items=args.items,
        data_licence=args.data_licence,
    )
    result = export_model(layout, config, wish, _Shown(quiet=args.json))
    if args.sign is not None:
        sign(args.sign, result.folder)
    passed = result.passed or args.to == "adapter"
    if program is not None and passed:
        create(program, args.create, result.folder)
    if args.json:
        print(orjson.dumps(document(result)).decode())
    else:
        print("\n".join(lines(result, imported=args.create if passed else None)))
    return DONE if passed else REFUSED


def _run(args: argparse.Namespace) -> int:
    from finetuned.core.export.request import request_of

    if args.items < 0:
        raise UsageError("--items must be >= 0")
    if args.create is not None and args.to != "ollama":
        raise UsageError("--create is for --to ollama")
    try:
        args.request = request_of(args.to, args.quant)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if args.out is not None:
        args.out = args.out.absolute()
    args.json = getattr(args, "json", False)
    import finetuned.export.run  # noqa: F401 - before on_root(): see there

    return on_root(args, _export, interrupted=_INTERRUPTED)


VERB = Verb(
    name="export",
    summary="Write a version for llama.cpp, Ollama, transformers or vLLM, and compare it first.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
