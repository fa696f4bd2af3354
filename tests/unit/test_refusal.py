"""
Every refusal of the file system has one word in status and log.
"""

import errno
import os

import pytest

from finetuned.files.refusal import refusal_reason


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "quota_exceeded"),
        (errno.EROFS, "read_only_file_system"),
        (errno.EACCES, "permission_denied"),
        (errno.EPERM, "permission_denied"),
        (errno.ENOENT, "missing_directory"),
        (errno.ENOTDIR, "missing_directory"),
        (errno.EMFILE, "too_many_open_files"),
        (errno.ENFILE, "too_many_open_files"),
        (errno.EIO, "io_error"),
        (errno.ENOMEM, "out_of_memory"),
        (errno.EXDEV, "os_error"),
    ],
)
def test_the_word_says_what_a_person_can_do_about_it(code, word):
    """
    Scripts match on these words, so none of them may change.
    """
    assert word == refusal_reason(OSError(code, os.strerror(code)))


def test_an_error_without_a_number_has_a_word_too():
    """
    Python raises some of its own.
    """
    assert "os_error" == refusal_reason(OSError("no number"))


def test_the_word_of_an_error_that_the_kernel_raised(tmp_path):
    """
    Not only of errors made by hand.
    """
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "gone" / "file").write_text("")

    assert "missing_directory" == refusal_reason(caught.value)
