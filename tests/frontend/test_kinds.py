from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from etbac.errors import EtbacError, UnsafeFileError
from etbac.frontend import Kind, kind_of, load_model


class Attack:
    """A pickle that makes a file when it is read."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.evidence),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"just words\n", "is a text file"),
        (b"\x00\x01\x02\x03" * 9, "is of an unknown kind"),
        (b"PK\x03\x04 and no more", "is truncated or damaged"),
    ],
)
def test_what_is_no_model_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(EtbacError, match=message):
        load_model(path)


def test_a_pickle_is_refused_and_not_read(tmp_path: Path) -> None:
    path, evidence = tmp_path / "model.pt", tmp_path / "evidence"
    path.write_bytes(pickle.dumps(Attack(evidence)))
    with pytest.raises(UnsafeFileError, match="is a Python pickle"):
        load_model(path)
    assert not evidence.exists()
    with path.open("rb") as file:
        pickle.load(file)  # noqa: S301
    assert evidence.exists()


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(EtbacError, match="no such file"):
        kind_of(tmp_path / "resnet.pt")
    with pytest.raises(EtbacError, match="is a folder"):
        kind_of(tmp_path)


@pytest.mark.parametrize("spec", ["package.module:factory", "module:build"])
def test_a_factory_is_known_by_its_colon(spec: str) -> None:
    assert kind_of(spec) is Kind.FACTORY


@pytest.mark.parametrize("spec", ["a:b:c", "a-b:c", "a:", ":b", "../a:b", "a.pt"])
def test_what_looks_like_no_factory_is_a_missing_file(spec: str) -> None:
    with pytest.raises(EtbacError, match="no such file"):
        kind_of(spec)
