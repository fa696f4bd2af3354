"""
The reason of a file system error, in one word for status and log.
"""

from __future__ import annotations

import errno

_REASONS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "quota_exceeded",
    errno.EROFS: "read_only_file_system",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.ENOENT: "missing_directory",
    errno.ENOTDIR: "missing_directory",
    errno.EMFILE: "too_many_open_files",
    errno.ENFILE: "too_many_open_files",
    errno.EIO: "io_error",
    errno.ENOMEM: "out_of_memory",
}


def refusal_reason(error: OSError) -> str:
    """
    Return the reason of *error*: a word of _REASONS, or ``os_error`` for any other error.
    """
    return _REASONS.get(error.errno or 0, "os_error")
