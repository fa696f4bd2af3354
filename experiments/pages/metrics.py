"""
The metrics of the service as a table, and the alerts that ask for them.
"""

from __future__ import annotations

import yaml

from experiments.pages.table import table
from experiments.pages.tree import CHECKOUT
from finetuned.serving.gateway.metric_list import METRICS

ALERTS = CHECKOUT / "docs" / "prometheus-alerts.yml"


def metrics() -> str:
    """
    Return a table of every metric.
    """
    rows = [
        (
            f"`{metric.name}`",
            str(metric.kind),
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.meaning,
        )
        for metric in METRICS
    ]
    return table(("metric", "type", "labels", "meaning"), rows)


def alerts() -> str:
    """
    Return a table of every alert.
    """
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    rows = [
        (
            f"`{rule['alert']}`",
            rule["labels"]["severity"],
            rule.get("for", "at once"),
            rule["annotations"]["summary"],
        )
        for rule in rules
    ]
    return table(("alert", "severity", "after", "when"), rows)
