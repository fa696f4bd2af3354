"""
Disk errors of safetensors and torch, raised as OSError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

_ERRNO = re.compile(r"\(os error (\d+)\)|^unable to .*\((\d+)\)$")


@contextmanager
def disk_errors() -> Iterator[None]:
    """
    Turn disk errors that safetensors or torch raise in the block into OSError.

    Both name the errno only in the message of an error of their own. Without this, a full
    disk would look like a bug and cost the job an attempt.
    """
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        found = _ERRNO.search(str(error))
        if found is None:
            raise
        code = int(found[1] or found[2])
        raise OSError(code, os.strerror(code)) from error
