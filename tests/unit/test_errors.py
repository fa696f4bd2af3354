import os

import pytest

from finetuned import errors
from finetuned.files.refusal import refusal_reason


def test_exit_statuses_are_those_of_sysexits():
    """
    systemd and scripts read them.
    """
    assert (os.EX_DATAERR, os.EX_SOFTWARE, os.EX_TEMPFAIL, os.EX_CONFIG) == (
        errors.EXIT_DATAERR,
        errors.EXIT_SOFTWARE,
        errors.EXIT_TEMPFAIL,
        errors.EXIT_CONFIG,
    )


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    """
    Every error is drawn, and nothing is drawn that does not exist.
    """
    drawn = {
        line.split()[1]
        for line in errors.__doc__.splitlines()
        if line.lstrip()[:2] in ("* ", "x ", "+ ")
    }
    real = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.FinetunedError)
    }

    assert real == drawn


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (28, "disk_full"),
        (30, "read_only_file_system"),
        (13, "permission_denied"),
        (999, "os_error"),
    ],
)
def test_a_refusal_has_one_word(number, reason):
    """
    The status says in a word what is waited for.
    """
    assert reason == refusal_reason(OSError(number, "x"))
