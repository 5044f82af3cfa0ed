from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.two_blocks import INPUTS, make_engine_dir, make_inputs

from etbac.engine_dir import EngineDir
from etbac.errors import EtbacError, InputError, UsageError
from etbac.planner.samples import SampleSet, load_search_and_certify, read_npz, split


def labelled(rows: int, seed: int = 0) -> SampleSet:
    return SampleSet(INPUTS, make_inputs(rows, seed), np.arange(rows) % 3)


def save(path: Path, samples: SampleSet, **changes: object) -> Path:
    np.savez(path, **{**samples.inputs, "labels": samples.labels, **changes})
    return path


def test_the_halves_are_disjoint_whole_and_the_same_for_one_seed():
    samples = labelled(101)
    search, certify = split(samples, seed=4)
    again, _ = split(samples, seed=4)
    other, _ = split(samples, seed=5)
    assert (len(search), len(certify)) == (50, 51)
    both = np.concatenate([search.inputs["unread"], certify.inputs["unread"]])
    assert sorted(both) == list(range(101))
    np.testing.assert_array_equal(search.inputs["unread"], again.inputs["unread"])
    assert (search.inputs["unread"] != other.inputs["unread"]).any()
    np.testing.assert_array_equal(certify.labels, certify.inputs["unread"] % 3)


def test_samples_of_one_unit_stay_together():
    units = np.arange(100) % 7
    whole = replace(labelled(100), units=units)
    search, certify = split(whole, seed=1)
    assert (whole.independent, search.independent, certify.independent) == (7, 3, 4)
    assert len(search) + len(certify) == 100
    assert not set(search.units) & set(certify.units)
    np.testing.assert_array_equal(certify.units, certify.inputs["unread"] % 7)
    with pytest.raises(InputError, match="1 unit of samples cannot be split"):
        split(replace(whole, units=np.zeros(100, int)), seed=0)


def test_batches_cover_the_set_in_order_and_carry_what_has_no_batch_whole():
    batches = list(labelled(10).batches(4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert np.concatenate([batch.labels for batch in batches]).tolist() == [k % 3 for k in range(10)]
    assert all(batch.inputs["scale"].shape == (6,) for batch in batches)


def test_the_hash_is_of_every_byte():
    one = labelled(5)
    hashes = {one.sha256, labelled(5, seed=1).sha256, SampleSet(INPUTS, one.inputs, None).sha256}
    changed = SampleSet(INPUTS, one.inputs, one.labels + 1)
    assert len({*hashes, changed.sha256}) == 4
    assert labelled(5).sha256 == one.sha256


def test_a_file_of_inputs_and_labels_is_read(tmp_path):
    read = read_npz(save(tmp_path / "d.npz", labelled(6)), INPUTS)
    assert read.sha256 == labelled(6).sha256
    assert read.units is None
    known = read_npz(save(tmp_path / "d.npz", labelled(6), units=np.arange(6) // 2), INPUTS)
    assert known.units.tolist() == [0, 0, 1, 1, 2, 2]
    assert known.sha256 == read.sha256


def test_what_is_wrong_with_a_file_is_said(tmp_path):
    inputs = make_inputs(6)
    np.savez(tmp_path / "lacks.npz", x=inputs["x"], scale=inputs["scale"])
    with pytest.raises(InputError, match=r"no array 'unread'.*x, scale"):
        read_npz(tmp_path / "lacks.npz", INPUTS)
    with pytest.raises(InputError, match=r"6 samples, but labels of shape \[4\]"):
        read_npz(save(tmp_path / "short.npz", labelled(6), labels=np.arange(4)), INPUTS)
    with pytest.raises(InputError, match=r"6 samples, but units of shape \[6, 1\]"):
        read_npz(save(tmp_path / "units.npz", labelled(6), units=np.zeros((6, 1), int)), INPUTS)
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(save(tmp_path / "pickle.npz", labelled(6), labels=np.array([{}] * 6)), INPUTS)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(tmp_path / "text.npz", INPUTS)


def test_without_recorded_data_it_asks_for_them(tmp_path):
    directory = make_engine_dir(tmp_path / "engines")
    with pytest.raises(UsageError, match="--data"):
        load_search_and_certify(directory, None, 0)
    with pytest.raises(InputError, match="no such file or folder"):
        load_search_and_certify(directory, tmp_path / "nowhere", 0)


def test_a_checkpoint_that_is_gone_or_has_changed_since_is_not_used(tmp_path):
    checkpoint = tmp_path / "m.pt"
    source = {"path": str(checkpoint), "sha256": "0" * 64, "kind": "checkpoint"}
    directory: EngineDir = make_engine_dir(tmp_path / "engines", source=source)
    with pytest.raises(UsageError, match="not there any more"):
        load_search_and_certify(directory, None, 0)
    checkpoint.write_bytes(b"another")
    with pytest.raises(EtbacError, match=r"has changed since.*compile"):
        load_search_and_certify(directory, None, 0)
