from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from support.published import cifar10

from etbac.errors import InputError, UnsafeFileError
from etbac.models.data.cifar10 import CLASS_NAMES, Cifar10
from etbac.preprocessing import ImagePreprocessing

AS_IT_IS = ImagePreprocessing("x", 32, 32, 3, 1.0, (0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_pictures_are_those_of_the_batches_in_their_order(tmp_path: Path, binary: bool, inside: bool) -> None:
    """Planes and labels as https://www.cs.toronto.edu/~kriz/cifar.html describes both versions."""
    folder = cifar10.write(tmp_path, each=7, test=5, binary=binary)
    opened = Cifar10().open(next(folder.iterdir()) if inside else folder, AS_IT_IS)
    assert opened.class_names == CLASS_NAMES
    for part, seeds, count in (("train", range(5), 7), ("test", [5], 5)):
        made = [cifar10.make(count, seed) for seed in seeds]
        inputs, labels = opened.parts[part].read(np.arange(len(opened.parts[part])))
        np.testing.assert_array_equal(labels, np.concatenate([each for _, each in made]))
        planes = np.concatenate([pixels for pixels, _ in made]).reshape(-1, 3, 32, 32)
        np.testing.assert_array_equal(inputs["x"], planes)


def test_the_fixtures_pickles_are_what_python_itself_reads() -> None:
    pixels, labels = cifar10.make(4, 0)
    content = pickle.loads(cifar10.python2_batch("batch", pixels, labels), encoding="bytes")  # noqa: S301
    np.testing.assert_array_equal(content[b"data"], pixels)
    assert content[b"labels"] == labels


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_batches_that_python_3_wrote_are_read_too(tmp_path: Path, protocol: int) -> None:
    cifar10.write(tmp_path)
    pixels, labels = cifar10.make(20, 9)
    batch = tmp_path / "cifar-10-batches-py" / "test_batch"
    batch.write_bytes(pickle.dumps({"data": np.asfortranarray(pixels), "labels": labels}, protocol))
    inputs, found = Cifar10().open(tmp_path, AS_IT_IS).parts["test"].read(np.arange(20))
    assert found.tolist() == labels
    np.testing.assert_array_equal(inputs["x"], pixels.reshape(-1, 3, 32, 32))


def test_files_that_lack_are_named(tmp_path: Path) -> None:
    cifar10.write(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(InputError, match=r"lacks data_batch_1 to 5.*in it is cifar-10-batches-py/"):
        Cifar10().open(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", "cut", {"data": np.zeros((2, 3072), np.uint8)}, {"data": [1], "labels": [1]}, [1], "labels", "size"],
)
def test_a_damaged_batch_is_named(tmp_path: Path, content: object) -> None:
    cifar10.write(tmp_path)
    batch = tmp_path / "cifar-10-batches-py" / "test_batch"
    pixels, labels = cifar10.make(20, 0)
    if content == "cut":
        content = batch.read_bytes()[:-200]
    elif content == "labels":
        content = {"data": pixels, "labels": [10, *labels[1:]]}
    elif content == "size":
        content = {"data": pixels[1:], "labels": labels}
    batch.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 2))
    with pytest.raises(InputError, match="test_batch"):
        len(Cifar10().open(tmp_path).parts["test"])


def test_a_binary_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    cifar10.write(tmp_path, binary=True)
    batch = tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"data_batch_2\.bin is not a whole"):
        len(Cifar10().open(tmp_path).parts["train"])


def test_a_batch_that_would_run_code_is_refused(tmp_path: Path) -> None:
    cifar10.write(tmp_path)
    ran = tmp_path / "ran"
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nmkdir\n(V" + str(ran).encode() + b"\ntR.")
    with pytest.raises(UnsafeFileError, match=r"data_batch_1 names os\.mkdir"):
        len(Cifar10().open(tmp_path).parts["train"])
    assert not ran.exists()
