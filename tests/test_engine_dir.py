from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.two_blocks import add_files, make_engine_dir, make_weights

from etbac.contract import Plan
from etbac.engine_dir import EngineDir, Writer, clear_leftovers, count_reading, sealed, write_plan, write_profile
from etbac.errors import EngineDirError

NAME = "onnxruntime-cpu-fp32"
PLAN = Plan((3, 7), {3: 0.6, 7: float("inf")}, precision=0.99, certified=False, reason="a test", padding={7: {3: 4}})


@pytest.fixture
def engines(tmp_path: Path) -> EngineDir:
    return make_engine_dir(tmp_path / "engines")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a plan, a profile and a counted reading; not to be changed."""
    engine_dir = make_engine_dir(tmp_path_factory.mktemp("whole") / "engines")
    count_reading(engine_dir.path, "abc", halved)
    engine_dir = write_profile(engine_dir, NAME, '{"measured": 1}', "batch,ms\n1,2\n")
    return write_plan(engine_dir, NAME, PLAN).path


def halved(reading: int) -> float:
    return 0.5**reading


def files(path: Path) -> set[str]:
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


def open_and_check_all(path: Path) -> None:
    """As loading does, and every command that reads one of the other files."""
    opened = EngineDir.open(path)
    for name in opened.manifest.files:
        opened.check(name)


# Reading


def test_what_was_committed_is_read_back(engines: EngineDir) -> None:
    opened = EngineDir.open(engines.path)
    assert opened.manifest == engines.manifest
    assert files(engines.path) == {*engines.manifest.files, "manifest.json", ".lock"}
    assert set(opened.read_samples()) == {"x", "scale", "unread"}


def test_plans_and_profiles_are_read_back(whole: Path) -> None:
    opened = EngineDir.open(whole)
    assert opened.plan == replace(PLAN, thresholds={3: 0.6})  # without a threshold nobody leaves, as with +inf
    assert opened.read_plan(NAME) == opened.plan
    assert opened.read_profile(NAME) == {"measured": 1}
    assert opened.read_plan("other-cpu-fp32") is None
    assert opened.read_profile("other-cpu-fp32") is None
    assert opened.readings() == {"abc": 1}


@settings(max_examples=60)
@given(st.data())
def test_one_changed_byte_anywhere_is_refused_with_the_files_name(whole: Path, data: st.DataObject) -> None:
    path = whole.parent / "changed"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    name = data.draw(st.sampled_from(sorted(files(path) - {".lock"})))
    content = bytearray((path / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (path / name).write_bytes(content)
    with pytest.raises(EngineDirError) as raised:
        open_and_check_all(path)
    message = str(raised.value)
    assert name in message or "schema version" in message


@pytest.mark.parametrize("length", [0, 1, 200, -1, -2])
def test_a_truncated_manifest_is_refused(engines: EngineDir, length: int) -> None:
    manifest = engines.path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:length])
    with pytest.raises(EngineDirError, match=r"manifest\.json (is incomplete|has changed).*etbac compile"):
        EngineDir.open(engines.path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: shutil.rmtree(path), "there is no such engine directory.*etbac compile MODEL --engine-dir"),
        (lambda path: (path / "manifest.json").unlink(), "no compile has finished there"),
        (
            lambda path: next(path.glob("segment-01.*")).unlink(),
            r"segment-01\.\w+\.onnx is missing.*etbac compile two_blocks",
        ),
        (lambda path: (shutil.rmtree(path), path.write_text("")), "is a file"),
    ],
)
def test_what_is_missing_is_said(engines: EngineDir, spoil: object, message: str) -> None:
    spoil(engines.path)  # type: ignore[operator]
    with pytest.raises(EngineDirError, match=message):
        EngineDir.open(engines.path)


def test_another_schema_version_is_named(engines: EngineDir) -> None:
    fields = {**engines.manifest.to_json(), "schema": 7}
    (engines.path / "manifest.json").write_bytes(sealed.seal(fields))
    with pytest.raises(EngineDirError, match=r"schema version 7; this etbac reads version 1.*etbac compile"):
        EngineDir.open(engines.path)


def test_a_manifest_of_a_version_without_a_field_is_named_and_mended_by_a_rebuild(engines: EngineDir) -> None:
    fields = {name: value for name, value in engines.manifest.to_json().items() if name != "engines"}
    (engines.path / "manifest.json").write_bytes(sealed.seal(fields))
    with pytest.raises(EngineDirError, match=r"manifest\.json lacks the field 'engines': .*etbac compile"):
        EngineDir.open(engines.path)
    assert make_engine_dir(engines.path).manifest == EngineDir.open(engines.path).manifest == engines.manifest


def test_a_changed_file_is_reported_with_both_hashes_and_the_remedy(engines: EngineDir) -> None:
    name = engines.manifest.segments[1].file
    (engines.path / name).write_bytes(b"other")
    expected = engines.manifest.files[name][:8]
    message = rf"{name} has changed since it was built \(SHA-256 {expected}… expected, \w{{8}}… found\)"
    with pytest.raises(EngineDirError, match=message + r"\. Rebuild with: etbac compile two_blocks\.onnx --exits 3,7"):
        EngineDir.open(engines.path)


def test_a_manifest_that_points_outside_is_refused(engines: EngineDir) -> None:
    outside = replace(engines.manifest, files={**engines.manifest.files, "../secret": "0" * 64})
    (engines.path / "manifest.json").write_bytes(sealed.seal(outside.to_json()))
    with pytest.raises(EngineDirError, match=r"\.\./secret"):
        EngineDir.open(engines.path)


def test_what_only_some_commands_read_does_not_keep_a_chain_from_loading(whole: Path, tmp_path: Path) -> None:
    path = shutil.copytree(whole, tmp_path / "engines")
    profile = next(path.glob("profiles/*.json"))
    profile.write_text("{}")
    (path / EngineDir.open(path).manifest.full).write_bytes(b"")
    opened = EngineDir.open(path)
    with pytest.raises(EngineDirError, match="has changed"):
        opened.read_profile(NAME)
    with pytest.raises(EngineDirError, match="has changed"):
        opened.check(opened.manifest.full)


@settings(max_examples=30)
@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=1, max_size=5))
def test_sealed_fields_are_read_back(fields: dict[str, object]) -> None:
    fields.pop("sha256", None)
    data = sealed.seal(fields)
    sealed.check(data, Path("x"))
    assert {**fields, "sha256": json.loads(data)["sha256"]} == sealed.parse(data, Path("x"))


# Writing


def test_a_rebuild_leaves_only_the_new_chain_and_the_users_own_files(whole: Path, tmp_path: Path) -> None:
    path = shutil.copytree(whole, tmp_path / "engines")
    own = {"notes.txt", "plans/mine.json", "segment-00.onnx", "weights.bin", "full.12345678.onnx.bak"}
    for name in own:
        (path / name).write_text("mine")
    with Writer(path) as writer:
        rebuilt = writer.commit(add_files(writer, make_weights(seed=1)))
    assert files(path) == {*rebuilt.manifest.files, *own, "manifest.json", "readings.json", ".lock"}
    assert not set(rebuilt.segment_hashes) & set(EngineDir.open(whole).segment_hashes)


def test_a_recompile_that_changes_a_segment_drops_the_plan_and_says_so(whole: Path, tmp_path: Path) -> None:
    path = shutil.copytree(whole, tmp_path / "engines")
    with Writer(path) as writer:
        rebuilt = writer.commit(add_files(writer, make_weights(seed=1)))
        assert writer.dropped_plan
    assert (rebuilt.plan, rebuilt.read_profile(NAME)) == (None, None)
    assert rebuilt.readings() == {"abc": 1}


def test_a_recompile_that_changes_no_segment_keeps_plan_and_profile(whole: Path, tmp_path: Path) -> None:
    path = shutil.copytree(whole, tmp_path / "engines")
    with Writer(path) as writer:
        rebuilt = writer.commit(add_files(writer, make_weights(), max_batch=4))
        assert not writer.dropped_plan
    assert rebuilt.manifest.max_batch == 4
    assert rebuilt.plan == EngineDir.open(whole).plan
    assert rebuilt.read_profile(NAME) == {"measured": 1}


def test_a_new_plan_replaces_the_one_of_its_name_and_keeps_the_others(engines: EngineDir) -> None:
    first = write_plan(engines, NAME, PLAN)
    second = write_plan(first, "other-cpu-fp32", replace(PLAN, precision=0.5))
    third = write_plan(second, NAME, replace(PLAN, precision=0.7))
    assert third.plan is not None
    assert third.plan.precision == 0.7
    assert len(list(engines.path.glob("plans/*"))) == 2
    assert third.read_plan("other-cpu-fp32") == replace(PLAN, precision=0.5, thresholds={3: 0.6})


def test_a_plan_for_a_chain_that_was_rebuilt_meanwhile_is_refused(engines: EngineDir) -> None:
    make_engine_dir(engines.path, seed=1)
    with pytest.raises(EngineDirError, match="rebuilt in the meantime"):
        write_plan(engines, NAME, PLAN)


def test_readings_are_counted_by_set_and_are_on_disk_at_once(engines: EngineDir) -> None:
    spent = [count_reading(engines.path, name, halved) for name in "aba"]
    assert spent == [[0.5], [0.5], [0.5, 0.25]]
    assert EngineDir.open(engines.path).readings() == {"a": 2, "b": 1}


def test_a_count_of_an_older_version_is_taken_for_readings_at_todays_levels(engines: EngineDir) -> None:
    (engines.path / "readings.json").write_bytes(sealed.seal({"readings": {"a": 2}}))
    assert EngineDir.open(engines.path).readings() == {"a": 2}
    assert count_reading(engines.path, "a", halved) == [0.5, 0.25, 0.125]


def test_readings_that_were_counted_by_another_hash_are_taken_over_once(engines: EngineDir) -> None:
    (engines.path / "readings.json").write_bytes(sealed.seal({"readings": {"half": 2, "b": 1}}))
    spent = [count_reading(engines.path, "file", halved, formerly=["half", "file"]) for _ in range(2)]
    assert spent == [[0.5, 0.25, 0.125], [0.5, 0.25, 0.125, 0.0625]]
    assert EngineDir.open(engines.path).readings() == {"file": 4, "b": 1}


def test_a_damaged_count_of_readings_is_not_started_anew(engines: EngineDir) -> None:
    count_reading(engines.path, "a", halved)
    readings = engines.path / "readings.json"
    readings.write_bytes(readings.read_bytes().replace(b"0.5", b"0.1"))
    with pytest.raises(EngineDirError, match=r"readings\.json has changed.*restore it"):
        count_reading(engines.path, "a", halved)
    with pytest.raises(EngineDirError, match=r"readings\.json has changed"):
        EngineDir.open(engines.path)


def test_a_directory_takes_over_what_is_in_force_in_another(engines: EngineDir, whole: Path) -> None:
    count_reading(engines.path, "abc", halved)
    with Writer(engines.path) as writer:
        adopted = writer.adopt(EngineDir.open(whole))
    assert adopted.manifest == EngineDir.open(engines.path).manifest == EngineDir.open(whole).manifest
    assert adopted.plan == EngineDir.open(whole).plan
    assert adopted.readings() == {"abc": 1}


def test_a_second_writer_is_told_and_a_dead_ones_lock_is_no_obstacle(engines: EngineDir) -> None:
    with Writer(engines.path), pytest.raises(EngineDirError, match="another etbac command is writing to"):
        make_engine_dir(engines.path)
    assert (engines.path / ".lock").exists()
    make_engine_dir(engines.path)


def test_reading_while_another_writes_works_and_removes_nothing_of_its(engines: EngineDir) -> None:
    with Writer(engines.path) as writer:
        manifest = add_files(writer, make_weights(seed=1))
        clear_leftovers(EngineDir.open(engines.path))
        assert writer.commit(manifest).check(manifest.full).exists()


def add_files_and_fail(path: Path) -> None:
    with Writer(path) as writer:
        add_files(writer, make_weights(seed=1))
        raise ZeroDivisionError


def test_an_error_removes_what_was_added(engines: EngineDir) -> None:
    before = files(engines.path)
    with pytest.raises(ZeroDivisionError):
        add_files_and_fail(engines.path)
    assert files(engines.path) == before
    assert EngineDir.open(engines.path).manifest == engines.manifest


@pytest.mark.parametrize("room", [0, 1, 500, 2000, 4500, 8000])
def test_a_full_disk_leaves_the_old_directory_whole(
    engines: EngineDir, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    before = files(engines.path)
    left = room
    write = os.write

    def write_while_there_is_room(file: int, data: memoryview) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, data[:left])
        left -= written
        return written

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "write", write_while_there_is_room)
        with pytest.raises(OSError, match="No space left"):
            make_engine_dir(engines.path, seed=1)
    assert files(engines.path) == before
    assert EngineDir.open(engines.path).manifest == engines.manifest


def test_a_damaged_directory_is_mended_by_a_rebuild(engines: EngineDir) -> None:
    (engines.path / engines.manifest.segments[0].file).write_bytes(b"damaged")
    (engines.path / "manifest.json").write_bytes(b'{\n  "schema": 1, "damaged')
    assert make_engine_dir(engines.path).manifest == EngineDir.open(engines.path).manifest == engines.manifest


@pytest.mark.parametrize("link", ["engines", "engines/onnxruntime-cpu-fp32", "plans"])
def test_what_lies_behind_a_link_is_not_cleared(engines: EngineDir, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    victims = [elsewhere / name for name in ("onnxruntime-cpu-fp32/full.01234567.ort", f"{NAME}.01234567.json")]
    victims.append(elsewhere / "full.01234567.ort")
    for victim in victims:
        victim.parent.mkdir(parents=True, exist_ok=True)
        victim.write_text("")
    (engines.path / link).parent.mkdir(exist_ok=True)
    (engines.path / link).symlink_to(elsewhere)
    with Writer(engines.path):
        pass
    assert all(victim.exists() for victim in victims)


def test_someone_elses_manifest_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(EngineDirError, match="not written by etbac"):
        make_engine_dir(tmp_path)
    assert (tmp_path / "manifest.json").read_text() == '{"name": "a web app"}'


def test_folders_are_private(whole: Path) -> None:
    modes = {stat.S_IMODE(folder.stat().st_mode) for folder in (whole, whole / "plans", whole / "profiles")}
    assert modes == {0o700}


def test_a_manifest_may_only_name_files_that_were_added(engines: EngineDir) -> None:
    with Writer(engines.path) as writer, pytest.raises(ValueError, match="nowhere"):
        writer.commit(replace(engines.manifest, full="nowhere.onnx"))


tensors = arrays.arrays(
    st.sampled_from([np.dtype("<f4"), np.dtype("<i8"), np.dtype("bool")]),
    arrays.array_shapes(min_dims=0, min_side=0),
    elements=st.integers(0, 1),
)


@settings(max_examples=40)
@given(st.lists(tensors, max_size=6))
def test_every_tensors_bytes_are_where_its_slot_says_and_equal_ones_are_stored_once(
    tmp_path_factory: pytest.TempPathFactory, tensors: list[np.ndarray]
) -> None:
    with Writer(tmp_path_factory.mktemp("weights")) as writer:
        name, slots = writer.add_weights((str(place), tensor) for place, tensor in enumerate(tensors))
        stored = (writer.path / name).read_bytes()
    for place, tensor in enumerate(tensors):
        slot = slots[str(place)]
        assert stored[slot.offset : slot.offset + slot.length] == tensor.tobytes()
        assert slot.offset % 64 == 0
    contents = {tensor.tobytes() for tensor in tensors}
    assert len(stored) <= sum(len(content) + 64 for content in contents)


def test_large_tensors_start_at_a_page(tmp_path: Path) -> None:
    with Writer(tmp_path) as writer:
        _, slots = writer.add_weights([("small", b"x"), ("large", np.ones(100_000, np.float32).T)])
    assert slots["large"].offset % 4096 == 0
