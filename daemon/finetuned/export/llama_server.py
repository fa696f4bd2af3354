"""
llama.cpp's server over one file, until standard input ends, in a process of its own.

    python -m finetuned.export.llama_server FILE CONTEXT KEY

The first line of standard output is its address.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """
    Serve the file that the arguments name on a free port of 127.0.0.1.
    """
    import xllamacpp

    file, context, key = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = int(context)
    params.n_parallel = 1
    params.cpuparams.n_threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    params.use_jinja = True
    params.warmup = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # its threads would keep the process


if __name__ == "__main__":
    main()
