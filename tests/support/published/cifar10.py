"""CIFAR-10 as https://www.cs.toronto.edu/~kriz/cifar.html describes it: pickles that Python 2 wrote, or binary records.

A picture is noise over a brightness that says its class.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))


def make(count: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """uint8 [count, 3072] (red, green and blue planes) and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    pixels = random.integers(0, 20, (count, 3072)) + 22 * labels[:, None]
    return pixels.astype(np.uint8), labels.tolist()


def write(folder: Path, each: int = 20, test: int = 20, binary: bool = False) -> Path:
    """Five training files of `each` pictures and one test file, in the folder that the archive makes."""
    made = folder / ("cifar-10-batches-bin" if binary else "cifar-10-batches-py")
    made.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate([*((name, each) for name in TRAIN), ("test_batch", test)]):
        pixels, labels = make(count, seed)
        if binary:
            records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
            (made / f"{name}.bin").write_bytes(records.tobytes())
        else:
            (made / name).write_bytes(python2_batch(name, pixels, labels))
    if not binary:
        names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
        meta = {b"num_cases_per_batch": 10_000, b"label_names": names, b"num_vis": 3072}
        (made / "batches.meta").write_bytes(_pickle(_value(meta)))
    return folder


def python2_batch(name: str, pixels: np.ndarray, labels: list[int]) -> bytes:
    """What Python 2's `cPickle.dump(batch, file, 2)` writes: byte strings, and NumPy's names of before version 2."""
    files = [f"picture_{place:05}.png".encode() for place in range(len(labels))]
    batch = {b"batch_label": name.encode(), b"labels": labels, b"data": pixels, b"filenames": files}
    return _pickle(_value(batch))


def _pickle(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def _value(value: object) -> bytes:
    """The opcodes that make the value."""
    if isinstance(value, bytes):
        return (b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_value, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_value(key) + _value(each) for key, each in value.items()) + b"u"
    assert isinstance(value, np.ndarray)
    dtype = b"cnumpy\ndtype\n" + _value(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + _value(b"|") + b"NNN" + _value(-1) + _value(-1) + b"K\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _value(b"b") + b"\x87R"
    shape = b"".join(map(_value, value.shape)) + b"\x86"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + _value(value.tobytes()) + b"tb"
