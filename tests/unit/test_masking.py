"""
Secrets in free text are replaced before the text is logged; other words stay.
"""

from __future__ import annotations

import pytest

from finetuned.core.masking import MASK, masked


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("add user sam with password hunter2!", "hunter2!"),
        ("the passphrase is correct-horse", "correct-horse"),
        ('{"user": "sam", "password": "hunter2"}', "hunter2"),
        ("API_KEY=abcdef please", "abcdef"),
        ("curl -H 'Authorization: Bearer abcdefgh123'", "abcdefgh123"),
        ("use ft_6de89109_pRdCV00Wmq861jgnVvr11Jf", "pRdCV00Wmq861jgnVvr11Jf"),
        ("postgres://sam:hunter2@db/x", "hunter2"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "MIIE"),
    ],
)
def test_what_has_the_form_of_a_secret_is_replaced(text: str, secret: str) -> None:
    """
    The rest of the line stays, so that a log can be read.
    """
    found = masked(text)

    assert MASK in found
    assert secret not in found


@pytest.mark.parametrize(
    "text", ["set dns to 1.1.1.1", "passing the tokens on", "bearer of news", "", "secretary"]
)
def test_other_words_stay(text: str) -> None:
    """
    Words that only look alike are no secrets.
    """
    assert text == masked(text)
