"""
llama.cpp's server over one file, until standard input ends: python serve_llama.py FILE PORT ALIAS.
"""

from __future__ import annotations

import os
import sys

import xllamacpp

if __name__ == "__main__":
    file, port, alias = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.port = int(port)
    params.model_alias = {alias}
    params.n_ctx = 4096
    params.n_parallel = 2
    params.cpuparams.n_threads = 1
    params.use_jinja = True
    params.warmup = False
    server = xllamacpp.Server(params)
    sys.stdin.read()
    os._exit(0)  # its threads would keep the process
