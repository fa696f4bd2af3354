"""
Hand-made eval reports of schema_version 2, as a run on infrastructure commands leaves them.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from typing import Any

from finetuned.core.confidence.calibration import MarkedEnding, calibrate
from finetuned.core.confidence.likelihood import Likelihood
from finetuned.core.confidence.signs import Ending
from finetuned.core.record import to_json

SUITES = (
    ("new-services", "new", "services-2026-11.jsonl"),
    ("old-lights", "old", "lights-2026-10.jsonl"),
    ("json_commands", "benchmark", "json_commands.jsonl"),
)
SKILL = {"base": 0.1, "incumbent": 0.6, "candidate": 0.85}
VERBS = ("restart", "stop", "start", "reload")
SERVICES = ("nginx", "postgres", "redis", "the mail queue", "grafana")


def make_confidence(n: int = 240) -> dict[str, Any]:
    """
    Return what an evaluation says of the confidence in *n* answers about two kinds of commands.
    """
    dice, answers = random.Random(f"confidence {n}"), []
    for i in range(n):
        p = dice.uniform(0.2, 0.999)
        odds = math.log(p / (1 - p))
        ending = Ending(Likelihood(12, math.log(p) / 12, math.log(p), odds), 0, stopped=True)
        answers.append(
            MarkedEnding(
                ending=ending,
                is_right=dice.random() < p**2,
                family=str(i // 3),
                domain=("dns", "users & groups")[i % 2],
            )
        )
    found: dict[str, Any] = json.loads(json.dumps(to_json(calibrate(answers))))
    return found


def make_score(outcomes: list[dict[str, Any]], *, as_json: bool = False) -> dict[str, Any]:
    """
    Return the score that *outcomes* add up to.
    """
    n, right = len(outcomes), sum(o["correct"] for o in outcomes)
    tokens = sum(o["n_tokens"] for o in outcomes)
    p = right / n if n else None
    return {
        "n_items": n,
        "n_asked": n,
        "n_correct": right,
        "accuracy": p,
        "interval_95": None if p is None else [max(0.0, p - 0.13), min(1.0, p + 0.11)],
        "n_exact": sum(o["exact"] for o in outcomes),
        "mean_score": None if p is None else sum(o["score"] for o in outcomes) / n,
        "loss": sum(o["loss"] for o in outcomes) / tokens if tokens else None,
        "loss_tokens": tokens,
        "stop_rate": None if p is None else sum(o["stopped"] for o in outcomes) / n,
        "mean_answer_tokens": None if p is None else 18.25,
        "tokens_per_second": 412.5 if n else None,
        "n_timed_out": sum(o["timed_out"] for o in outcomes),
        "n_cached": 0,
        "complete": True,
        "json": {"n_valid": n, "n_schema_valid": n, "fields_right": 2 * n, "fields": 3 * n}
        if as_json
        else None,
        "format": None,
    }


def make_item(dice: random.Random, suite: str, number: int, subjects: list[str]) -> dict[str, Any]:
    """
    Return one question, with an answer of each subject.
    """
    verb, service, host = dice.choice(VERBS), dice.choice(SERVICES), f"web-{dice.randint(1, 9)}"
    golden = json.dumps({"command": f"{verb}_service", "service": service, "host": host})
    outcomes = {}
    for subject in subjects:
        right = dice.random() < SKILL[subject]
        wrong = dice.choice(
            [
                golden.replace(host, f"db-{dice.randint(1, 9)}"),
                golden.replace(f"{verb}_service", "status"),
                "I am not sure what you mean.\nCould you say that again?",
                golden[: len(golden) // 2],
            ]
        )
        outcomes[subject] = {
            "answer": golden if right else wrong,
            "correct": right,
            "score": 1.0 if right else 0.5,
            "exact": right,
            "loss": dice.uniform(1, 4) if right else dice.uniform(5, 20),
            "n_tokens": 22,
            "answer_tokens": 20,
            "stopped": right or dice.random() < 0.8,
            "timed_out": False,
            "likelihood": {"n": 21, "mean": -0.02, "least": -0.3, "margin": 1.1},
            "detail": {} if right else {"field": "host"},
        }
    return {
        "suite": suite,
        "id": str(number),
        "scorer": "json",
        "system": "You turn requests into commands. Answer with JSON only.",
        "prompt": f"{verb} {service} on {host}, please",
        "golden": golden,
        "cluster": f"{suite}/{number}",
        "swapped_loss": None,
        "outcomes": outcomes,
    }


def make_subject(report: dict[str, Any], subject: str, version: str | None) -> dict[str, Any]:
    """
    Return a subject with the scores that its answers in *report* add up to.
    """
    scores = {}
    for name, _, _ in SUITES:
        asked = [i["outcomes"][subject] for i in report["items"] if i["suite"] == name]
        scores[name] = make_score(asked, as_json=name == "json_commands")
    return {
        "version": version,
        "same_as": None,
        "seconds": 41.25,
        "load_seconds": 3.5,
        "suites": scores,
    }


def make_rules(promoted: bool) -> list[dict[str, Any]]:
    """
    Return what the gate might have looked at.
    """
    return [
        {
            "name": "gain",
            "passed": True,
            "required": True,
            "kind": "gain",
            "against": "release",
            "detail": "8 got better, 2 got worse of 14",
            "suite": None,
            "numbers": {
                "better": 8,
                "worse": 2,
                "accuracy_change_low": 0.0425,
                "accuracy_change_high": 0.61,
                "p_accuracy": 0.0547,
            },
        },
        {
            "name": "old_accuracy",
            "passed": promoted,
            "required": True,
            "kind": "harm",
            "against": "release",
            "detail": "accuracy 62% -> 85%" if promoted else "accuracy 85% -> 62%",
            "suite": "old-lights",
            "numbers": {"allowed_drop": 2.5},
        },
        {
            "name": "answers_stop",
            "passed": False,
            "required": False,
            "kind": "advice",
            "against": "release",
            "detail": "96% of answers ended by themselves, 98% wanted",
            "suite": None,
            "numbers": {"stop_rate": 0.9625},
        },
    ]


def make_matrix(names: list[str]) -> dict[str, Any]:
    """
    Return the accuracies of versions v0001.. on one file each, learnt one after another.
    """
    rows = [{"version": f"v{i:04d}", "titles": [name]} for i, name in enumerate(names, 1)]
    accuracy = [
        [round(max(0.3, 0.95 - 0.07 * (i - j)), 2) if j <= i else None for j in range(len(names))]
        for i in range(len(names))
    ]
    return {"rows": rows, "columns": names, "accuracy": accuracy}


def make_report(
    n_items: int = 40,
    *,
    version: str = "v0004",
    incumbent: str | None = "v0003",
    promoted: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Return a whole report with *n_items* items in 3 suites.
    """
    dice = random.Random(seed)
    subjects = ["base", "incumbent", "candidate"] if incumbent else ["base", "candidate"]
    files = [
        "lights-2026-08.jsonl",
        "doors.jsonl",
        "lights-2026-10.jsonl",
        "services-2026-11.jsonl",
    ]
    report: dict[str, Any] = {
        "schema_version": 2,
        "run_id": "r000012",
        "job_id": "j000004",
        "job_kind": "training",
        "created_at": "2026-11-20T10:09:41.512Z",
        "base": "micro",
        "chat_template": "base",
        "incumbent": incumbent,
        "head": None,
        "version": version,
        "datasets": [
            {"dataset_id": "d-31c0", "name": "services-2026-11.jsonl", "n_examples": 1180}
        ],
        "items": [make_item(dice, SUITES[i % 3][0], i, subjects) for i in range(n_items)],
        "forgetting": {
            "backward_transfer": -4.5,
            "worst_drop": {
                "suite": "old-lights",
                "title": "lights-2026-08.jsonl",
                "best": 0.95,
                "now": 0.74,
                "drop": 21.0,
            },
            "matrix": make_matrix(files),
        },
        "curves": {
            "train_loss": [
                [step, 2.4 / (1 + step / 40) + dice.uniform(0, 0.3)] for step in range(1, 301)
            ],
            "held_out_loss": [[step, 2.2 / (1 + step / 45) + 0.1] for step in range(0, 301, 50)],
            "kl": [[step, 0.4 * step / (step + 90)] for step in range(0, 301, 50)],
        },
        "verdict": {
            "outcome": "promoted" if promoted else "rejected",
            "promoted": promoted,
            "reason": "gain: 8 got better, 2 got worse of 14"
            if promoted
            else "old_accuracy: accuracy 85% -> 62% on lights-2026-10.jsonl",
            "rules": make_rules(promoted),
        },
        "interpolation": {
            "tried": [
                {"a": 0.9, "accuracy_new": 0.93, "accuracy_old": 0.71, "passes": False},
                {"a": 0.7, "accuracy_new": 0.9, "accuracy_old": 0.84, "passes": True},
            ],
            "chosen": 0.7,
        },
        "confidence": make_confidence(),
    }
    report["subjects"] = {
        "base": make_subject(report, "base", None),
        "incumbent": make_subject(report, "incumbent", incumbent)
        if incumbent
        else {"version": None, "same_as": "base", "seconds": 0, "load_seconds": 0, "suites": {}},
        "candidate": make_subject(report, "candidate", version),
    }
    report["suites"] = [
        {
            "name": name,
            "origin": origin,
            "title": title,
            "dataset_id": None if origin == "benchmark" else "d-31c0",
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
            "n_items": sum(item["suite"] == name for item in report["items"]),
            "required": origin != "benchmark",
            "problem": None,
            "n_unasked": 0,
            "n_left_out": 0,
        }
        for name, origin, title in SUITES
    ]
    return report


def make_comparison(n_items: int = 40) -> dict[str, Any]:
    """
    Return what finetuned compare measures of two models, on the items of make_report().
    """
    report = make_report(n_items)
    subjects = report["subjects"]
    suites = []
    for suite in report["suites"]:
        a, b = (subjects[who]["suites"][suite["name"]] for who in ("incumbent", "candidate"))
        suites.append(
            {
                "name": suite["name"],
                "title": suite["title"],
                "n_items": suite["n_items"],
                "a": a,
                "b": b,
                "delta_accuracy": 100 * (b["accuracy"] - a["accuracy"]),
                "interval_95": [-3.0, 41.5],
                "p_value": 0.0312,
                "test": "McNemar exact",
                "winner": "b",
                "reason": "8 items only b has right, 2 only a",
            }
        )
    overall = {
        **suites[0],
        "name": "overall",
        "title": "all suites",
        "n_items": n_items,
        "winner": None,
        "reason": "p = 0.0547 is not below 0.05",
    }
    items = [
        {
            **{key: item[key] for key in ("suite", "id", "prompt", "golden")},
            "a": item["outcomes"]["incumbent"],
            "b": item["outcomes"]["candidate"],
        }
        for item in report["items"]
    ]
    return {
        "a": {"name": "v0003", "path": "models/versions/v0003"},
        "b": {"name": "v0004", "path": "models/versions/v0004"},
        "suites": suites,
        "overall": overall,
        "items": items,
    }
