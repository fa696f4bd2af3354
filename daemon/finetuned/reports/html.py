"""
Templates to one self-contained file.

Knows jinja2 and the page's security policy; does not know the content.
Everything is escaped by the template engine, and a content security policy forbids the
page to load or run anything but its own one script, whatever a model has answered.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from finetuned.core.text import visible
from finetuned.reports import wording
from finetuned.reports.activity import duration
from finetuned.reports.lineage import rails
from finetuned.reports.subjects import outcome_of

TEMPLATES = Path(__file__).parent / "templates"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        visible=visible,
        outcome=outcome_of,
        number=wording.number,
        nats=wording.nats,
        moment=wording.moment,
        percent=wording.percent,
        signed=wording.signed,
        accuracy=wording.accuracy,
        duration=duration,
        rails=rails,
    )
    return environment


def part(template: str, name: str, value: object) -> str:
    """
    Return what the macro *name* of *template* makes of *value*: a piece of a page, escaped.
    """
    macro = getattr(_environment().get_template(template).module, name)
    return str(macro(value)).strip()


def served(template: str, values: Mapping[str, object]) -> str:
    """
    Return a page whose style and scripts are files beside it, as a service sends it.

    Args:
        template: File name in templates/.
        values: What the template names. Strings are escaped; only Markup is not.
    """
    return _environment().get_template(template).render(values)


def render(template: str, values: Mapping[str, object]) -> str:
    """
    Return the page that *template* makes of *values*.

    Args:
        template: File name in templates/.
        values: What the template names. Strings are escaped; only Markup is not.

    Returns:
        One HTML file without any reference to another.

    Raises:
        jinja2.UndefinedError: The template names something that is not there.
    """
    # Not autoescaped: both files are ours, and a quote in them must stay one.
    script = Markup((TEMPLATES / "filter.js").read_text())  # noqa: S704
    style = Markup((TEMPLATES / "page.css").read_text())  # noqa: S704
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    page = _environment().get_template(template)
    return page.render(values, script=script, style=style, policy=Markup(policy))  # noqa: S704
