"""The safetensors format: named arrays and texts in one file, of which nothing is run and nothing is believed.

A file is the length of its header (uint64), the header (JSON), and the bytes of the arrays, all little-endian. The
header has of each array ``{"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}``, and under ``__metadata__`` the
texts. The format's own package is compiled, and has no wheel for free-threaded Pythons: docs/decisions.md.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

DTYPES = {"BOOL": np.dtype("bool")} | {
    f"{name}{8 * size}": np.dtype(f"<{kind}{size}")
    for name, kind, sizes in (("F", "f", (2, 4, 8)), ("I", "i", (1, 2, 4, 8)), ("U", "u", (1, 2, 4, 8)))
    for size in sizes
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

# As in the format's own package, so that a length alone cannot make a reader allocate gigabytes.
LONGEST_HEADER = 100_000_000


def serialized(arrays: Arrays, metadata: dict[str, str]) -> bytes:
    """A file of these arrays, C-contiguous, and texts. Each array lies at a multiple of its elements' size."""
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    parts = []
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
        parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def read(path: str) -> tuple[dict[str, str], Arrays]:
    """The texts and the arrays of a file; ValueError, or another Exception that JSON leads to, when it is none.

    Before there is an array, the header has to account for every byte of the file: no hole, no overlap, none too many.
    So no more memory is taken than the file is long.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LONGEST_HEADER, size - 8):
            raise ValueError("it is no safetensors file: its header does not fit into it")
        header = json.loads(file.read(length).decode())
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are not texts")
        places = sorted((_place(name, entry), name) for name, entry in header.items())
        end = 0
        for (begin, after, _, _), name in places:
            if begin != end:
                raise ValueError(f"{name!r:.100} does not begin where the array before it ends")
            end = after
        if end != size - 8 - length:
            raise ValueError("its arrays do not fill it")
        arrays = {}
        for (begin, after, code, shape), name in places:
            array = np.empty(shape, DTYPES[code])
            if after > begin and file.readinto(array.reshape(-1).view(np.uint8).data) != after - begin:
                raise ValueError("it changed while it was read")
            arrays[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return metadata, arrays


def _place(name: str, entry: Any) -> tuple[int, int, str, tuple[int, ...]]:
    """(begin, end, type, shape) of an array, which fit each other."""
    code, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if code not in DTYPES:
        raise ValueError(f"{name!r:.100} is of type {code!r:.100}, which is none of {', '.join(DTYPES)}")
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"{name!r:.100} has a shape or a place that is none")
    if end - begin != math.prod(shape) * DTYPES[code].itemsize:
        raise ValueError(f"{name!r:.100} has bytes for another shape than {shape!r:.100}")
    return begin, end, code, tuple(shape)
