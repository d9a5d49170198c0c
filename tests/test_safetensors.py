"""The safetensors format: what is written is what its own package reads, and a header that lies is refused."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from nnfast._safetensors import DTYPES, read, serialized

ARRAYS = {
    **{f"of {dtype}": np.arange(6).reshape(2, 3).astype(dtype) for dtype in DTYPES.values()},
    "number": np.array(2.5),
    "nothing": np.zeros((3, 0), np.float32),
    "ä": np.array([-1, 1], np.int64),
}
TEXTS = {"format": "nnfast", "text": 'zwölf "\n', "": ""}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file.safetensors")


def assert_same(arrays, others):
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (others[name].dtype, others[name].shape), name
        np.testing.assert_array_equal(array, others[name])


def write(path, header, data=b""):
    """A file with this header, as JSON or as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_round_trip(path):
    with open(path, "wb") as file:
        file.write(serialized(ARRAYS, TEXTS))
    texts, arrays = read(path)
    assert texts == TEXTS
    assert_same(arrays, ARRAYS)
    assert all(array.flags.writeable and array.flags.aligned for array in arrays.values())


def test_the_formats_own_package_agrees(path):
    package = pytest.importorskip("safetensors.numpy", reason="safetensors has no wheel for this Python")
    with open(path, "wb") as file:
        file.write(serialized(ARRAYS, TEXTS))
    assert_same(package.load_file(path), ARRAYS)
    package.save_file(ARRAYS, path, TEXTS)
    texts, arrays = read(path)
    assert texts == TEXTS
    assert_same(arrays, ARRAYS)


HEADERS = {
    "no object": ([], b""),
    "no JSON": (b"{nonsense}", b""),
    "no text": (b'{"\xff": 1}', b""),
    "metadata that are no texts": ({"__metadata__": {"a": 1}}, b""),
    "metadata that are no object": ({"__metadata__": ["a"]}, b""),
    "an entry that is none": ({"a": 1}, b""),
    "an entry without a type": ({"a": {"shape": [], "data_offsets": [0, 0]}}, b""),
    "an unknown type": ({"a": entry(0, 4, [2], "BF16")}, bytes(4)),
    "a type that is none": ({"a": entry(0, 4, [1], ["F32"])}, bytes(4)),
    "a shape of texts": ({"a": entry(0, 4, ["1"])}, bytes(4)),
    "a shape that is true": ({"a": entry(0, 4, [True])}, bytes(4)),
    "a shape of fractions": ({"a": entry(0, 4, [1.0])}, bytes(4)),
    "two negative sizes": ({"a": entry(0, 4, [-1, -1])}, bytes(4)),
    "a shape for more bytes": ({"a": entry(0, 4, [2])}, bytes(4)),
    "a shape whose product wraps around": ({"a": entry(0, 4, [2**62 + 1, 4])}, bytes(4)),
    "a huge shape of nothing": ({"a": entry(0, 0, [10**30, 0])}, b""),
    "too many axes": ({"a": entry(0, 4, [1] * 1000)}, bytes(4)),
    "an array that begins before the file": ({"a": entry(-4, 0, [1])}, b""),
    "an array that ends before it begins": ({"a": entry(4, 0, [1])}, bytes(4)),
    "an array beyond the file": ({"a": entry(0, 8, [2])}, bytes(4)),
    "two arrays in one place": ({"a": entry(0, 4, [1]), "b": entry(0, 4, [1])}, bytes(4)),
    "arrays that overlap": ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)),
    "a hole": ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12)),
    "bytes at the end": ({"a": entry(0, 4, [1])}, bytes(5)),
    "three places": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(8)),
    "deep nesting": (b"[" * 100_000, b""),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies(path, name):
    with pytest.raises(Exception) as caught:  # which a model file turns into its own error
        read(write(path, *HEADERS[name]))
    assert not isinstance(caught.value, (MemoryError, OSError, AssertionError))


@pytest.mark.parametrize("length", [0, 1, 3, 10**8 + 1, 2**63, 2**64 - 1])
def test_a_header_longer_than_its_file(path, length):
    with open(path, "wb") as file:
        file.write(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="its header does not fit"):
        read(path)


def test_a_short_file_takes_little_memory(path):
    """Whatever sizes it claims."""
    write(path, {"a": entry(0, 4 * 10**9, [10**9]), "b": entry(4 * 10**9, 8 * 10**9, [10**9])}, bytes(100))
    tracemalloc.start()
    with pytest.raises(ValueError, match="do not fill it"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
