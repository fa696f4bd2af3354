"""
A browser reaches the live page with a key as password, and nothing else by that.
"""

from __future__ import annotations

import httpx

from finetuned.files.keys import create_key
from finetuned.layout import Layout
from support.gateway import KEY, Gateway

HTML = {"accept": "text/html,*/*;q=0.8"}


def test_a_browser_is_asked_for_a_key_and_gets_the_page(gateway: Gateway) -> None:
    """
    The first request has a wrong key, the next the right one as the password of any user.
    """
    wrong = httpx.get(gateway.url, headers=HTML, auth=("me", "no"))
    assert 401 == wrong.status_code
    assert wrong.headers["www-authenticate"].startswith("Basic ")

    page = httpx.get(gateway.url, headers=HTML, auth=("me", KEY))
    assert "text/html; charset=utf-8" == page.headers["content-type"]
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert 200 == httpx.get(f"{gateway.url}/static/live.js", auth=("me", KEY)).status_code


def test_the_page_is_renewed_through_the_guards(gateway: Gateway) -> None:
    """
    The stream of events begins at once, with every part.
    """
    url = f"{gateway.url}/live/events"
    with httpx.stream("GET", url, auth=("me", KEY), timeout=30) as stream:
        lines = stream.iter_lines()
        assert "event: live" in [next(lines) for _ in range(3)]


def test_a_browser_s_key_generates_nothing(gateway: Gateway) -> None:
    """
    A link of a stranger's page must not make the browser ask the model.
    """
    answer = httpx.post(f"{gateway.url}/generate", json={"prompt": "x"}, auth=("me", KEY))

    assert 401 == answer.status_code
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_key_that_only_asks_does_not_open_the_page(gateway: Gateway) -> None:
    """
    The page shows training data. As JSON the same path tells what the service is.
    """
    _, key = create_key(Layout(gateway.root), "asks", now=1_800_000_000.0)
    auth = ("me", key)

    assert 403 == httpx.get(gateway.url, headers=HTML, auth=auth).status_code
    assert 403 == httpx.get(f"{gateway.url}/versions", auth=auth).status_code
    assert "finetuned" == httpx.get(gateway.url, auth=auth).json()["service"]
