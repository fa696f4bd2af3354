"""
llama.cpp's quantiser over one file: a process of its own, which may end in an abort.

    python -m finetuned.export.quantise_child FROM TO FTYPE THREADS
"""

from __future__ import annotations

import sys


def main() -> int:
    """
    Quantise the file that the arguments name, and return the status of llama.cpp.
    """
    from llama_cpp_py_sync import _cffi_bindings  # type: ignore[import-not-found, unused-ignore]

    source, target, ftype, threads = sys.argv[1:]
    ffi, lib = _cffi_bindings.get_ffi(), _cffi_bindings.get_lib()
    params = ffi.new("llama_model_quantize_params *")
    params[0] = lib.llama_model_quantize_default_params()
    params.ftype = getattr(lib, ftype)
    params.nthread = int(threads)
    status: int = lib.llama_model_quantize(source.encode(), target.encode(), params)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
