"""
A GGUF file written in another precision, with the kernels of llama.cpp: a process of its own.

    python -m finetuned.export.quantise_child CONVERTER FROM TO QUANT

The package that brings llama.cpp has no call for it, but its library has llama.cpp's function
for rows of one matrix, and the converter's own package reads and writes the file.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any, Final

from finetuned.core.export.mixture import precision_of
from finetuned.core.export.request import Quant

_FILE_TYPE: Final = {Quant.Q8_0: 7, Quant.Q4_K_M: 15, Quant.Q5_K_M: 17}
"""LLAMA_FTYPE_MOSTLY_... of llama.h."""

_ROWS: Final = 1 << 22
"""About so many weights are quantised at a time."""


def main() -> None:
    """
    Quantise the file that the arguments name.
    """
    converter, source, target, name = sys.argv[1:]
    sys.path.insert(0, f"{converter}/gguf-py")
    import gguf  # type: ignore[import-untyped, unused-ignore]

    reader, quant = gguf.GGUFReader(source), Quant(name)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, arch)
    _copy_facts(gguf, reader, writer, quant)
    n_layers = int(reader.fields[f"{arch}.block_count"].contents())
    has_head = any(tensor.name == "output.weight" for tensor in reader.tensors)
    kinds = []
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        kind = precision_of(
            tensor.name, shape[-1], len(shape), quant, n_layers=n_layers, has_head=has_head
        )
        kinds.append(kind)
        if kind is None:
            _announce(gguf, writer, tensor, shape)
        else:
            dtype = gguf.GGMLQuantizationType[kind]
            stored = gguf.quant_shape_to_byte_shape(shape, dtype)
            size = 1
            for n in stored:
                size *= n
            writer.add_tensor_info(tensor.name, stored, _uint8(), size, dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    kernel = _kernel()
    for tensor, kind in zip(reader.tensors, kinds, strict=True):
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if kind is not None:
            values = _quantised(kernel, values, gguf.GGMLQuantizationType[kind], gguf)
        writer.write_tensor_data(values)
    writer.close()


def _uint8() -> Any:
    import numpy as np

    return np.dtype(np.uint8)


def _copy_facts(gguf: Any, reader: Any, writer: Any, quant: Quant) -> None:
    own = ("general.architecture", "general.file_type", "general.quantization_version")
    for fact in reader.fields.values():
        if fact.name.startswith("GGUF.") or fact.name in own:
            continue
        kind = fact.types[0]
        inner = fact.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(fact.name, fact.contents(), kind, sub_type=inner)
    writer.add_file_type(_FILE_TYPE[quant])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _announce(gguf: Any, writer: Any, tensor: Any, shape: list[int]) -> None:
    """Announce a tensor that is kept, as float32: it is small, and every engine reads that."""
    import numpy as np

    size = 4 * int(np.prod(shape))
    dtype = gguf.GGMLQuantizationType.F32
    writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), size, dtype)


def _kernel() -> Any:
    import xllamacpp

    folder = Path(xllamacpp.__file__).parent
    library = ctypes.CDLL(str(next(folder.glob("xllamacpp*.so"))))
    kernel = library.ggml_quantize_chunk
    kernel.restype = ctypes.c_size_t
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    kernel.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]
    return kernel


def _quantised(kernel: Any, values: Any, dtype: Any, gguf: Any) -> Any:
    import numpy as np

    stored = gguf.quant_shape_to_byte_shape(values.shape, dtype)
    rows = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, values.shape[-1])
    out = np.empty((len(rows), stored[-1]), dtype=np.uint8)
    step = max(1, _ROWS // rows.shape[1])
    for start in range(0, len(rows), step):
        part, into = rows[start : start + step], out[start : start + step]
        written = kernel(
            int(dtype), part.ctypes.data, into.ctypes.data, 0, len(part), rows.shape[1], None
        )
        if written != into.nbytes:
            raise SystemExit(f"llama.cpp wrote {written} bytes, expected {into.nbytes}")
    return out.reshape(stored)


if __name__ == "__main__":
    main()
