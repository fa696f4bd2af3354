"""
Addresses are found in two places, and no part of one that could be a secret is ever repeated.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.errors import ConfigError
from finetuned.reports.daily.addresses import address_of, redacted

SECRET = st.text("abcdefghijkXYZ0123456789-_", min_size=8, max_size=30)


def test_a_credential_comes_before_the_environment(tmp_path):
    """
    systemd's credential wins; without it the variable counts; without both the error names both.
    """
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path), "FINETUNED_REPORT_MAIL": "mailto://b"}
    assert "mailto://b" == address_of("mail", environment)

    (tmp_path / "report-mail").write_text("mailto://a\n")
    assert "mailto://a" == address_of("mail", environment)
    with pytest.raises(ConfigError, match=r"FINETUNED_REPORT_TEAM.*report-team"):
        address_of("team", environment)


@given(SECRET, SECRET)
def test_no_secret_is_repeated(user, token):
    """
    Whatever a library says of an address, its user, its password and its tokens are hidden.
    """
    for address in (
        f"mailtos://{user}:{token}@smtp.example.com?to=me@example.com",
        f"slack://{user}/{token}/{user}{token}",
        f"tgram://12345678:{token}/{user}",
        f"json://hooks.example.com:8080/{token}?key={user}",
        token,
    ):
        said = redacted(f"cannot reach {address}: /bot12345678:{token}/send as {user}", address)
        assert token not in said
        assert user not in said or "://" not in address


def test_the_server_is_named():
    """
    A reader is told which server did not answer.
    """
    said = redacted("no route to smtp.example.com", "mailtos://me:hidden77@smtp.example.com")
    assert "no route to smtp.example.com" == said
