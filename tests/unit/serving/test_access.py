"""
What scopes open, and what the environment says of access.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.config.serving import Tier
from finetuned.core.access import (
    DEFAULT_TIER,
    OPEN,
    TIERS,
    Caller,
    Scope,
    needed_scopes,
    parse_origins,
    read_environment,
)
from finetuned.errors import ConfigError

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])


@given(METHODS, st.text(max_size=40).map(lambda text: f"/{text}"))
def test_every_route_needs_a_scope_but_one(method: str, path: str) -> None:
    """
    A route that nobody thought of is closed to all but ADMIN.
    """
    needed = needed_scopes(method, path)

    assert bool(needed) != ((method, path) in OPEN)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/versions"),
        ("POST", "/"),
        ("GET", "/health/live/"),
        ("POST", "/health/live"),
        ("GET", "//metrics"),
        ("GET", "/docs"),
        ("POST", "/metrics"),
        ("POST", "/v1/models/x"),
    ],
)
def test_what_is_not_listed_needs_admin(method: str, path: str) -> None:
    """
    Paths are compared letter by letter; the page is the owner's.
    """
    assert (Scope.ADMIN,) == needed_scopes(method, path)


@given(st.sets(st.sampled_from(Scope)), st.sampled_from(Scope))
def test_a_scope_opens_itself_and_admin_opens_all(held: set[Scope], needed: Scope) -> None:
    """
    No other scope implies one.
    """
    caller = Caller(id="a", name="a", scopes=tuple(held), tier=TIERS[DEFAULT_TIER])

    assert (needed in held or Scope.ADMIN in held) == caller.may(needed)


def test_an_environment_that_says_nothing_opens_nothing() -> None:
    """
    In the fifth document's ancestor a service without API_KEY was open.
    """
    found = read_environment({"API_KEY": " ", "ALLOWED_ORIGINS": ""})

    assert found.api_key is None
    assert () == found.allowed_origins
    assert TIERS == found.tiers({})


def test_the_environment_sets_the_standard_rate() -> None:
    """
    RATE_LIMIT_PER_MINUTE=30 is the documents' own example.
    """
    found = read_environment({"RATE_LIMIT_PER_MINUTE": "30", "API_KEY": "k" * 16})
    mine = Tier(name="mine", requests_per_minute=1, tokens_per_minute=2)

    assert "k" * 16 == found.api_key
    assert 30 == found.tiers({})[DEFAULT_TIER].requests_per_minute
    assert TIERS["high"] == found.tiers({})["high"]
    assert mine == found.tiers({"mine": mine})["mine"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "short"),
        ("FINETUNED_ENGINE_KEY", "café"),
        ("API_KEY", "k" * 20 + "\n" + "x"),
        ("RATE_LIMIT_PER_MINUTE", "0"),
        ("RATE_LIMIT_PER_MINUTE", "-3"),
        ("RATE_LIMIT_PER_MINUTE", "many"),
        ("RATE_LIMIT_PER_MINUTE", "1e3"),
        ("RATE_LIMIT_PER_MINUTE", "9" * 5000),
        ("ALLOWED_ORIGINS", "chat.example.org"),
        ("ALLOWED_ORIGINS", "https://a.example/path"),
        ("ALLOWED_ORIGINS", "null"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, value: str) -> None:
    """
    And a key is not repeated in the message.
    """
    with pytest.raises(ConfigError, match=name) as error:
        read_environment({name: value})

    assert name != "API_KEY" or value not in str(error.value)


def test_origins_are_listed_once() -> None:
    """
    A slash at the end belongs to no origin.
    """
    found = parse_origins("https://a.example, http://[::1]:80/,https://a.example/")

    assert ("https://a.example", "http://[::1]:80") == found


def test_a_negative_limit_is_refused() -> None:
    """
    Zero is the word for none.
    """
    with pytest.raises(ConfigError, match="tokens_per_minute"):
        Tier(name="x", requests_per_minute=0, tokens_per_minute=-1)
