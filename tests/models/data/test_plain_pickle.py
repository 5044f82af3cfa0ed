from __future__ import annotations

import contextlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etbac.errors import InputError, UnsafeFileError
from etbac.models.data.plain_pickle import read_pickle

EXECUTED: list[str] = []
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(min_size=1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def executed(what: str) -> str:
    EXECUTED.append(what)
    return what


class Calls:
    """Unpickling one calls `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@given(PLAIN, st.sampled_from([2, 3, 4, 5]))
def test_plain_values_are_read(tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int) -> None:
    path = tmp_path_factory.mktemp("pickles") / "plain"
    path.write_bytes(pickle.dumps(value, protocol))
    assert read_pickle(path) == value


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        Calls(executed, "code"),
        Calls(eval, "__import__('os').abort()"),
        Calls(getattr, "x", "upper"),
        Calls(io.open, "/etc/hostname"),
        Calls(np.load, "x.npy"),
        Calls(pickle.loads, b"."),
        np.float64(1),
        {1, 2},
        np.array([1.5]).dtype,
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_else_a_pickle_names_is_refused_and_not_called(tmp_path: Path, value: Any, wrapped: bool) -> None:
    path = tmp_path / "evil"
    path.write_bytes(pickle.dumps({"data": [value]} if wrapped else value, 2))
    with pytest.raises((UnsafeFileError, InputError), match="evil"):
        read_pickle(path)
    assert EXECUTED == []


def test_a_name_by_itself_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "evil"
    for module, name in (
        ("os", "system"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "scalar"),
        ("_codecs", "decode"),
    ):
        path.write_bytes(f"c{module}\n{name}\n.".encode())
        with pytest.raises(UnsafeFileError, match=f"names {module}.{name}"):
            read_pickle(path)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros(3, "u2"), np.array([object()]), np.array(["x"])])
def test_arrays_of_other_types_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "array"
    path.write_bytes(pickle.dumps({"data": array}, 2))
    with pytest.raises((InputError, UnsafeFileError), match="array"):
        read_pickle(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("pickles") / "any"
    path.write_bytes(content)
    with contextlib.suppress(InputError, UnsafeFileError):
        read_pickle(path)
    assert EXECUTED == []
