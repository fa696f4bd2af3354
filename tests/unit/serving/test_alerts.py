"""
Each alert fires when it should and is quiet when it should be, in Prometheus' own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetuned.serving.gateway.metric_list import series_names
from support.promtool import DOCS, metrics_in, run_promtool, write_yaml

ALERTS = DOCS / "prometheus-alerts.yml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
}
AT = {"job": "finetuned", "instance": "host:9000"}
STEPS = 60
"""Samples of 15 s in each test: 15 minutes."""


@dataclass(frozen=True)
class Case:
    """
    Series that let an alert fire, others that do not, and the labels it fires with.
    """

    alert: str
    fires: dict[str, str]
    quiet: tuple[dict[str, str], ...]
    labels: tuple[tuple[str, str], ...] = ()


def always(value: float) -> str:
    """
    Return the samples of a series that never changes.
    """
    return f"{value}x{STEPS}"


def jump(before: int, after: int) -> str:
    """
    Return samples that change after 10 of the 15 minutes.
    """
    return f"{before}x40 {after}x20"


FAILED = 'finetuned_requests_total{finish_reason="error",code="503"}'
WRONG = 'finetuned_requests_total{finish_reason="error",code="400"}'
REFUSED = 'finetuned_requests_total{finish_reason="refused",code="503"}'
ANSWERED = 'finetuned_requests_total{finish_reason="stop",code="200"}'

CASES = (
    Case("FinetunedServiceDown", {"up": always(0)}, ({"up": always(1)},)),
    Case(
        "FinetunedNotReady",
        {'finetuned_ready{model_name="finetuned"}': always(0)},
        (
            {'finetuned_ready{model_name="finetuned"}': always(1)},
            {'finetuned_ready{model_name="finetuned"}': "1x54 0x4 1x2"},  # an engine came back
        ),
        (("model_name", "finetuned"),),
    ),
    Case(
        "FinetunedModelNotServed",
        {"finetuned_model_problems": always(1)},
        ({"finetuned_model_problems": always(0)},),
    ),
    Case(
        "FinetunedErrorRate",
        {FAILED: "0+1x60", ANSWERED: "0+9x60"},
        (
            {FAILED: "0+1x60", ANSWERED: "0+99x60"},  # one percent
            {WRONG: "0+9x60", ANSWERED: "0+1x60"},  # the clients' mistakes
            {REFUSED: "0+9x60", ANSWERED: "0+1x60"},  # a full queue, which is another alert
            {FAILED: jump(0, 2), ANSWERED: always(1)},  # a failure on a quiet day
        ),
    ),
    Case(
        "FinetunedQueueFull",
        {"finetuned_queue_full_total": "0+1x60"},
        ({"finetuned_queue_full_total": always(7)},),
    ),
    Case(
        "FinetunedDaemonDown",
        {'finetuned_daemon_state{state="died"}': always(1)},
        (
            {
                'finetuned_daemon_state{state="running"}': always(1),
                'finetuned_daemon_state{state="died"}': always(0),
            },
            {'finetuned_daemon_state{state="never"}': always(1)},  # a root that only serves
        ),
        (("state", "died"),),
    ),
    Case(
        "FinetunedStatusStale",
        {
            "finetuned_status_age_seconds": "0+15x60",
            'finetuned_daemon_state{state="silent"}': always(1),
        },
        (
            {
                "finetuned_status_age_seconds": always(2),
                'finetuned_daemon_state{state="silent"}': always(0),
            },
            {  # it was stopped, which is another alert
                "finetuned_status_age_seconds": "0+15x60",
                'finetuned_daemon_state{state="silent"}': always(0),
            },
            {  # it never ran
                "finetuned_status_readable": always(0),
                "finetuned_journal_readable": always(0),
            },
        ),
    ),
    Case(
        "FinetunedStatusStale",
        {"finetuned_status_readable": always(0), "finetuned_journal_readable": always(1)},
        (),
    ),
    Case(
        "FinetunedDiskLow",
        {"finetuned_disk_free_bytes": always(4), "finetuned_disk_size_bytes": always(100)},
        (
            {
                "finetuned_disk_free_bytes": always(6),
                "finetuned_disk_size_bytes": always(100),
                "finetuned_waiting_for_disk": always(0),
            },
        ),
    ),
    Case("FinetunedDiskLow", {"finetuned_waiting_for_disk": always(1)}, ()),
    Case(
        "FinetunedRejectedInARow",
        {"finetuned_verdicts_rejected_in_a_row": "0+1x4 5x55"},
        ({"finetuned_verdicts_rejected_in_a_row": always(4)},),
    ),
    Case(
        "FinetunedVersionTakenBack",
        {'finetuned_promotions_total{cause="watch"}': jump(0, 1)},
        (
            {'finetuned_promotions_total{cause="watch"}': always(3)},
            {'finetuned_promotions_total{cause="rollback"}': jump(0, 1)},  # a person's decision
        ),
        (("cause", "watch"),),
    ),
    Case(
        "FinetunedLossDiverged",
        {"finetuned_training_diverged": always(1)},
        ({"finetuned_training_diverged": always(0), "finetuned_jobs_diverged": always(2)},),
    ),
    Case("FinetunedLossDiverged", {"finetuned_jobs_diverged": jump(1, 2)}, ()),
)


def with_target(series: str) -> str:
    """
    Return a series with the labels that Prometheus adds to what it scrapes.
    """
    name, _, labels = series.rstrip("}").partition("{")
    target = ",".join(f'{label}="{value}"' for label, value in AT.items())
    return f"{name}{{{target},{labels}}}" if labels else f"{name}{{{target}}}"


def rule_test(alert: str, series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "15s",
        "input_series": [{"series": with_target(s), "values": v} for s, v in series.items()],
        "alert_rule_test": [{"eval_time": "14m", "alertname": alert, "exp_alerts": expected}],
    }


def test_every_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    """
    One run of promtool over all cases; it prints the alert that is missing or too many.
    """
    tests = []
    for case in CASES:
        rule = RULES[case.alert]
        fired = {
            "exp_labels": {**AT, **dict(case.labels), **rule["labels"]},
            "exp_annotations": rule["annotations"],
        }
        tests.append(rule_test(case.alert, case.fires, [fired]))
        tests += [rule_test(case.alert, quiet, []) for quiet in case.quiet]
    asked = {"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": tests}

    run_promtool("test", "rules", str(write_yaml(tmp_path / "tests.yml", asked)))


def test_prometheus_takes_the_file() -> None:
    """
    As its own checker says.
    """
    run_promtool("check", "rules", str(ALERTS))


def test_every_alert_has_a_test() -> None:
    """
    With a case in which it fires, and one in which it does not.
    """
    assert set(RULES) == {case.alert for case in CASES}
    assert set(RULES) == {case.alert for case in CASES if case.quiet}


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_asks_for_metrics_that_exist_and_says_what_to_do(alert: str) -> None:
    """
    Also where there is no promtool: an alert on a name that nobody exposes is never heard.
    """
    rule = RULES[alert]

    assert set() == metrics_in(rule["expr"]) - series_names()
    assert metrics_in(rule["expr"]) or rule["expr"].startswith("up{")
    assert {"summary", "what_to_do"} == rule["annotations"].keys()
    assert rule["labels"]["severity"] in ("critical", "warning")
