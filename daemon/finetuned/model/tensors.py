"""
What goes wrong when tensors are written, in the terms of the operating system.
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
    Raise what the disk refused inside as OSError, also where safetensors or torch met it.

    They name the errno only in the text of an error of their own; taken for a
    bug, a full disk would cost the job an attempt.
    """
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        found = _ERRNO.search(str(error))
        if found is None:
            raise
        code = int(found[1] or found[2])
        raise OSError(code, os.strerror(code)) from error
