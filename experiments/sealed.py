"""
Ask a model the sealed suite, and record how many answers of each group were right.

    $ python -m experiments.sealed v0001 --root /var/lib/finetuned
    dns       41 of  50   82%   (95%: 69 to 90)
    users     44 of  50   88%   (95%: 76 to 94)
    samba     43 of  50   86%   (95%: 74 to 93)
    complex   31 of  50   62%   (95%: 48 to 74)
    all      159 of 200   80%   (95%: 73 to 84)

The model is a version after one job on the rows of "finetuned make intents". No item, answer or
id is printed or kept, only counts. A base model is scored once for each of its releases: what was
scored is in docs/measurements/sealed.jsonl, and a second time needs --again, which is recorded.
Exit status: 0 recorded, 1 refused or not finished; nothing was recorded then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.sealed_set import FOLDER, SealBroken, Sealed, open_sealed
from finetuned.config import Config, load_config
from finetuned.core.metrics import wilson_interval
from finetuned.errors import FinetunedError
from finetuned.files.atomic import fsync_dir, sha256_file
from finetuned.files.base_model import find_base, position_limit
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.run import utc_now
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.named_model import NamedModel, find_model

if TYPE_CHECKING:
    from finetuned.inference.outcome import Outcome

CHECKOUT = Path(__file__).resolve().parents[1]
LOG = CHECKOUT / "docs" / "measurements" / "sealed.jsonl"


class Refused(Exception):
    """
    The suite is not asked, or its score is not recorded.
    """


@dataclass(frozen=True, slots=True)
class Score:
    """
    One line of the log.
    """

    date: str
    """RFC 3339, UTC."""
    base: str
    """Name of the base model's folder."""
    base_sha256: str
    """Of its weights: see ``weights_sha256``."""
    model: str
    """The version that was asked."""
    model_sha256: str
    """Of the weights in its own folder."""
    suite_sha256: str
    right: Mapping[str, tuple[int, int]]
    """Group -> right answers, items."""
    again: bool
    """Whether this base had been scored before."""


def main(argv: list[str] | None = None) -> int:
    """
    Ask, record and print; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.sealed",
        description="Ask a model the sealed suite; counts only.",
        epilog="examples:\n"
        "  python -m experiments.sealed v0001 --root /tmp/demo\n"
        "  python -m experiments.sealed /tmp/demo/models/versions/v0001 --root /tmp/demo --again",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="a version, or a folder with an adapter or a full model")
    parser.add_argument("--root", type=Path, default=Path(), help="its root (default: here)")
    parser.add_argument("--again", action="store_true", help="although this base was scored before")
    parser.add_argument("--max-minutes", type=float, default=60.0, help="default 60")
    parser.add_argument("--set", type=Path, default=FOLDER, help="folder of the sealed suite")
    parser.add_argument("--log", type=Path, default=LOG, help="default docs/measurements/")
    args = parser.parse_args(argv)
    try:
        sealed = open_sealed(args.set)
        layout = Layout(args.root.resolve())
        config = load_config(layout.root / "config.toml")
        model = find_model(layout, args.model, config.model.base)
        base = base_of(layout, model, config.model.base)
        base_sha256 = weights_sha256(base)
        before = scored_before(args.log, base_sha256, sealed.sha256)
        if before and not args.again:
            raise Refused(
                f"the base {base.name} was scored on {', '.join(before)}. A suite that is asked "
                "often is no longer blind; --again asks it all the same and records that"
            )
        right = ask_sealed(model, sealed, config, time.monotonic() + 60 * args.max_minutes)
    except (Refused, SealBroken, FinetunedError) as error:
        print(f"sealed: {error}", file=sys.stderr)
        return 1
    score = Score(
        utc_now(), base.name, base_sha256, model.name, weights_sha256(model.path), sealed.sha256,
        right, bool(before),
    )  # fmt: skip
    append(args.log, score)
    print("\n".join(lines(right)))
    return 0


def base_of(layout: Layout, model: NamedModel, configured: str) -> Path:
    """
    Return the folder of the base model that *model* was once trained from.

    A version that is a full model, or an adapter on one, still counts for that base.
    """
    if not (model.path / MANIFEST).is_file():
        return model.weights.base
    return find_base(layout, read_model_manifest(model.path).base or configured)


def weights_sha256(folder: Path) -> str:
    """
    Return one hash of all safetensors files of *folder*, by their names.

    Raises:
        Refused: There are none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise Refused(f"{folder}: no *.safetensors, so the model cannot be told from others")
    parts = "".join(f"{path.name} {sha256_file(path)}\n" for path in files)
    return hashlib.sha256(parts.encode()).hexdigest()


def scored_before(log: Path, base_sha256: str, suite_sha256: str) -> list[str]:
    """
    Return the dates on which this base was scored on this suite, oldest first.
    """
    if not log.exists():
        return []
    records = [json.loads(line) for line in log.read_text().splitlines() if line.strip()]
    same = (base_sha256, suite_sha256)
    return [r["date"] for r in records if (r["base_sha256"], r["suite_sha256"]) == same]


def ask_sealed(
    model: NamedModel, sealed: Sealed, config: Config, deadline: float
) -> dict[str, tuple[int, int]]:
    """
    Ask all items and return right answers and items of each group.

    Args:
        model: The version.
        sealed: The suite.
        config: Of the root: how models are loaded, and how answers are limited.
        deadline: On the clock of time.monotonic, in seconds.

    Raises:
        Refused: An item was not answered in time. It is no wrong answer, so there is no score.
        FinetunedError: The model cannot be loaded.
    """
    from finetuned.data.render import Renderer
    from finetuned.data.suite import read_suite
    from finetuned.inference.ask import ask
    from finetuned.model.load import load_version

    where = model.weights
    renderer = Renderer.load(
        where.base,
        max_length=max(config.data.max_length, position_limit(where.base) or 0),
        enable_thinking=config.model.enable_thinking,
    )
    outcomes = ask(
        load_version(where.base, where.folder, config.model),
        renderer,
        read_suite(sealed.path, sealed.data).questions,
        max_new_tokens=config.evaluation.max_new_tokens,
        batch_size=config.evaluation.batch_size,
        deadline=deadline,
        reasoning=config.evaluation.reasoning,
    )
    return counts(outcomes, sealed.items)


def counts(outcomes: Iterable[Outcome], items: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """
    Count the right answers of each group.

    Raises:
        Refused: An item has no marked answer.
    """
    marked = [(o.question.id, o.correct) for o in outcomes if o.correct is not None]
    missing = sum(items.values()) - len(marked)
    if missing:
        raise Refused(
            f"{missing} of {sum(items.values())} items were not answered in time; nothing is "
            "recorded. Ask again with a larger --max-minutes"
        )
    right = Counter(identity.rpartition("-")[0] for identity, correct in marked if correct)
    return {group: (right[group], n) for group, n in items.items()}


def append(log: Path, score: Score) -> None:
    """
    Add *score* to the log, durably, as one line.
    """
    with log.open("a") as file:
        file.write(json.dumps(asdict(score)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fsync_dir(log.parent)


def lines(right: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """
    Yield one line for each group, and one for all.
    """
    total = (sum(r for r, _ in right.values()), sum(n for _, n in right.values()))
    for group, (r, n) in [*right.items(), ("all", total)]:
        low, high = wilson_interval(r, n)
        between = f"{100 * low:.0f} to {100 * high:.0f}"
        yield f"{group:<8}{r:>4} of {n:>3}  {r / n:4.0%}   (95%: {between})"


if __name__ == "__main__":
    sys.exit(main())
