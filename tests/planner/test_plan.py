from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.any_length import any_length_file, make_sequences
from support.even_profile import write_even_profile
from support.optimized import never_right
from support.two_blocks import make_engine_dir, make_inputs, make_weights, reference

import etbac
from etbac.engine_dir import EngineDir, Writer, sealed
from etbac.errors import EtbacError, InputError, UsageError
from etbac.metrics import metric
from etbac.planner import certify
from etbac.planner.evidence import find_test
from etbac.planner.goal import Goal
from etbac.planner.memory import UNLIMITED
from etbac.planner.plan import _choices, plan
from etbac.planner.prediction import chain_latency
from etbac.planner.samples import SampleSet, read_npz, split
from etbac.profiles import profiler, stored
from etbac.profiles.pieces import head_bytes
from etbac.runtime.results import StageRun
from etbac.runtime.trace import Tracer

ROWS = 4_000
PRECISION = 0.95


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    path = make_engine_dir(tmp_path / "engines").path
    write_even_profile(path)
    return path


def data(path: Path, rows: int = ROWS, **changes: object) -> Path:
    """Random inputs; the full model's own answers as labels, one in ten of them wrong."""
    inputs = make_inputs(rows, seed=1)
    labels = reference(make_weights(), inputs).answers[-1].argmax(-1)
    labels[::10] = (labels[::10] + 1) % 3
    file = path / "data.npz"
    np.savez(file, **{**inputs, "labels": labels, **changes})
    return file


def test_a_plan_is_certified_and_in_force(engines, tmp_path):
    made = plan(engines, PRECISION, data=data(tmp_path))

    with etbac.load(engines) as chain:
        assert chain.plan == made
        certificate = made.certificate
        assert made.certified
        assert certificate is not None
        assert certificate["segments"] == list(chain.engine_dir.segment_hashes)
        assert (certificate["backend"], certificate["device"], certificate["dtype"]) == ("onnxruntime", "cpu", "fp32")
    assert (certificate["level"], certificate["reading"], certificate["samples"]) == (0.05, 1, ROWS // 2)
    assert certificate["p_value"] <= 0.05
    assert certificate["best_precision"] >= PRECISION
    assert made.predicted.keys() == {1, 8}
    assert made.predicted[8]["rebuilt_ms"] <= made.predicted[8]["chain_ms"] < made.predicted[8]["full_ms"]
    assert made.exits == tuple(made.thresholds)
    assert sum(made.search["shares"].values()) == pytest.approx(1)
    assert made.search["batch_size"] == 8


def test_the_chain_does_on_the_certify_set_what_its_certificate_says(engines, tmp_path):
    file = data(tmp_path)
    made = plan(engines, PRECISION, data=file, seed=7)
    with np.load(file) as arrays, etbac.load(engines) as chain:
        labels = arrays["labels"]
        samples = SampleSet(chain.manifest.inputs, {k: arrays[k] for k in ("x", "scale", "unread")}, labels)
        _, half = split(samples, seed=7)
        answer, full = chain.run(half.inputs), chain.full(half.inputs)
    right = full.argmax(-1) == half.labels
    assert made.certificate["n"] == right.sum()
    assert made.certificate["harms"] == (right & (answer.prediction.argmax(-1) != half.labels)).sum()
    assert made.certificate["set_sha256"] == half.sha256
    assert EngineDir.open(engines).readings() == {samples.sha256: 1}


def test_the_full_models_tail_yields_to_plans_that_let_samples_leave(engines, tmp_path):
    """The chain is slower than the full model where nobody leaves a batch; three samples in ten may leave wrongly."""
    write_even_profile(engines, (1.6, 12.8))
    said: list[str] = []
    made = plan(engines, 0.7, data=never_right(tmp_path / "never.npz"), note=said.append)
    assert made.certified
    assert made.thresholds
    assert made.search["precision"] >= 0.7
    assert made.search["p99_ms"] > made.predicted[8]["full_p99_ms"]
    assert any("keeps the predicted p99" in sentence for sentence in said)


def test_the_full_models_tail_yields_to_the_precision(engines, tmp_path):
    """Heads and cuts are not known apart: the stages without an exit take longer than the full model, and are all that
    keeps the precision."""
    even = write_even_profile(engines, (1.6, 12.8))
    stored.write(EngineDir.open(engines), replace(even, pieces=()))
    said: list[str] = []
    made = plan(engines, 0.95, data=never_right(tmp_path / "never.npz"), note=said.append)
    assert made.certified
    assert made.search["precision"] >= 0.95
    assert made.search["p99_ms"] > made.predicted[8]["full_p99_ms"]
    assert any("keeps the predicted p99" in sentence for sentence in said)


def test_without_an_exit_the_stages_are_the_full_model_again(engines, tmp_path):
    write_even_profile(engines, (1.6, 12.8))
    said: list[str] = []
    made = plan(engines, 0.99, data=never_right(tmp_path / "never.npz"), note=said.append)
    assert made.certified
    assert not made.thresholds
    assert made.predicted[8]["rebuilt_ms"] == pytest.approx(made.predicted[8]["full_ms"])
    assert made.predicted[8]["chain_ms"] > 1.05 * made.predicted[8]["full_ms"]
    assert not any("keeps the predicted p99" in sentence for sentence in said)


def test_every_reading_halves_the_level_and_the_sum_is_recorded(engines, tmp_path):
    file = data(tmp_path)
    certificates = [plan(engines, PRECISION, data=file).certificate for _ in range(3)]
    assert [each["reading"] for each in certificates] == [1, 2, 3]
    assert [each["level"] for each in certificates] == pytest.approx([0.05, 0.025, 0.0125])
    assert certificates[-1]["levels_summed"] == pytest.approx(0.0875)


def test_another_split_of_the_same_samples_is_another_reading_of_them(engines, tmp_path):
    file = data(tmp_path)
    certificates = [plan(engines, PRECISION, data=file, seed=seed).certificate for seed in (1, 2)]
    assert [each["reading"] for each in certificates] == [1, 2]
    assert [each["level"] for each in certificates] == pytest.approx([0.05, 0.025])
    assert len({each["set_sha256"] for each in certificates}) == 2


def test_the_sum_is_of_the_levels_that_readings_had(engines, tmp_path):
    file = data(tmp_path)
    certificates = [plan(engines, PRECISION, delta, data=file).certificate for delta in (0.2, 0.05)]
    assert [each["level"] for each in certificates] == pytest.approx([0.2, 0.025])
    assert certificates[-1]["levels_summed"] == pytest.approx(0.225)


def test_readings_at_levels_that_add_up_to_more_than_one_hold_together_at_none(engines, tmp_path):
    file = data(tmp_path)
    assert [plan(engines, PRECISION, 0.9, data=file).certificate["levels_summed"] for _ in range(2)] == [0.9, 1.0]


def test_readings_that_an_older_version_counted_by_the_half_are_not_forgotten(engines, tmp_path):
    file, directory = data(tmp_path), EngineDir.open(engines)
    _, half = split(read_npz(file, directory.manifest.inputs), seed=0)
    (directory.path / "readings.json").write_bytes(sealed.seal({"readings": {half.sha256: 2}}))
    made = plan(engines, PRECISION, data=file).certificate
    assert (made["reading"], made["level"]) == (3, pytest.approx(0.0125))
    assert made["levels_summed"] == pytest.approx(0.0875)


def test_a_second_reading_is_tested_at_its_own_level(engines, tmp_path, monkeypatch):
    levels: list[float] = []
    run_sequence = certify.run_sequence
    monkeypatch.setattr(certify, "run_sequence", lambda *given: levels.append(given[-1]) or run_sequence(*given))
    for _ in range(2):
        plan(engines, PRECISION, data=data(tmp_path))
    assert levels == pytest.approx([0.05, 0.025])


def test_too_little_data_is_said_with_what_it_takes_and_changes_nothing(engines, tmp_path):
    with pytest.raises(EtbacError) as caught:
        plan(engines, 0.9968, data=data(tmp_path, rows=800))
    message = str(caught.value)
    assert "400 samples, about 356 of them right" in message
    assert "cannot certify precision 0.9968 at 95% confidence" in message
    assert "the betting test needs 1,180 that are right, and of 356" in message
    assert "add data with --data" in message
    directory = EngineDir.open(engines)
    assert directory.plan is None
    assert directory.readings() == {}


def test_an_uncertified_plan_is_marked_with_the_reason(engines, tmp_path):
    made = plan(engines, 0.9968, data=data(tmp_path, rows=800), uncertified=True)
    assert not made.certified
    assert made.certificate is None
    assert "needs 1,180 that are right" in made.reason
    assert EngineDir.open(engines).plan == made


def test_a_plan_that_fails_its_test_leaves_the_old_one_in_force(engines, tmp_path):
    """Every exit agrees with the full model on the search half, and the first one never does on the certify half."""
    old = plan(engines, PRECISION, data=data(tmp_path))
    x = make_inputs(ROWS, seed=1)["x"]
    answers = reference(make_weights(), make_inputs(ROWS, seed=1)).answers.argmax(-1)
    easy = np.flatnonzero((answers == answers[-1]).all(axis=0))
    misleading = np.flatnonzero(answers[0] != answers[-1])
    search_half, certify_half = np.split(np.random.default_rng(0).permutation(ROWS), 2)
    chosen = np.empty(ROWS, int)
    chosen[search_half], chosen[certify_half] = np.resize(easy, ROWS // 2), np.resize(misleading, ROWS // 2)

    with pytest.raises(
        EtbacError, match=r"is not certified.*most cautious plan loses .* is what the betting test certifies"
    ):
        plan(engines, PRECISION, data=data(tmp_path, x=x[chosen], labels=answers[-1][chosen]))
    directory = EngineDir.open(engines)
    assert directory.plan == old
    assert sorted(directory.readings().values()) == [1, 1]


def test_a_reading_is_spent_before_any_exit_is_read(engines, tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(certify, "collect", stop)
    with pytest.raises(KeyboardInterrupt):
        plan(engines, PRECISION, data=data(tmp_path))
    assert list(EngineDir.open(engines).readings().values()) == [1]


def test_the_exact_test_is_used_where_it_is_asked_for_and_both_figures_are_recorded(engines, tmp_path):
    file = data(tmp_path)
    by_betting, by_exact = (plan(engines, PRECISION, data=file, test=test).certificate for test in ("betting", "exact"))
    assert (by_betting["test"], by_exact["test"]) == ("betting", "exact")
    for certificate in (by_betting, by_exact):
        (other,) = certificate["others"]
        assert {certificate["test"], other["test"]} == {"betting", "exact"}
        assert 0 < other["best_precision"] < 1
        assert 0 <= other["p_value"] <= 1


def test_every_class_keeps_what_is_asked_for_or_it_is_said_that_there_are_none(engines, tmp_path):
    made = plan(engines, 0.9, data=data(tmp_path), min_class_precision=0.97)
    assert made.search["min_class_precision"] == 0.97
    assert made.search["worst_class"]["precision"] >= 0.97
    np.savez(tmp_path / "unlabelled.npz", **make_inputs(ROWS))
    with pytest.raises(UsageError, match="--min-class-precision needs labels"):
        plan(engines, 0.9, data=tmp_path / "unlabelled.npz", metric="agreement", min_class_precision=0.97)


def test_a_class_that_not_even_the_whole_chain_keeps_is_named(statistics, matrix):
    sample = statistics(2, 3_000, 0)
    sample.scores[-1][::30] = False
    classes = np.arange(3_000) % 3
    labelled = replace(sample, full_scores=np.ones(3_000, bool), classes=classes)
    goal, notes = Goal(metric("accuracy"), find_test("betting"), 0.9, 0.05), []
    ratio = sample.scores[-1][classes == 0].mean()
    with pytest.raises(UsageError, match=rf"class 0, which the chain without exits brings to {ratio:.4f}"):
        _choices(labelled, matrix(2, 0), 4, goal, None, 0.999, UNLIMITED, notes.append)


def test_no_exit_is_left_out_where_gates_read_the_exits_before(engines, tmp_path):
    notes: list[str] = []
    directory = EngineDir.open(engines)
    stateful = [
        replace(e, contract=replace(e.contract, gate={"name": "patience"})) for e in directory.manifest.segments
    ]
    with Writer(engines) as writer:
        writer.commit(replace(directory.manifest, segments=tuple(stateful)))
    made = plan(engines, PRECISION, data=data(tmp_path), note=notes.append)
    assert made.exits == (3, 7)
    assert any("gate patience" in sentence for sentence in notes)
    with pytest.raises(UsageError, match=r"gate patience needs the head of every exit, and those of exits 3, 7 take"):
        plan(engines, PRECISION, data=data(tmp_path), max_head_memory=0)
    assert plan(engines, PRECISION, data=data(tmp_path), max_head_memory=1).exits == (3, 7)
    assert made.predicted[8]["rebuilt_ms"] == pytest.approx(made.predicted[8]["chain_ms"])


def test_the_plans_own_batch_size_has_figures_and_one_beyond_the_measured_is_said(engines, tmp_path):
    notes: list[str] = []
    between = plan(engines, 0.3, data=data(tmp_path), batch_size=6, read=False, note=notes.append)
    assert between.predicted.keys() == {1, 6, 8}
    assert between.predicted[6]["full_ms"] == pytest.approx(between.predicted[1]["full_ms"] * 6)
    assert {"1", "6", "8"} == between.search["static_cut"]["predicted"].keys()
    assert not any("larger than any that was measured" in each for each in notes)

    profiler.profile(engines, batch_sizes=[1, 4], budget_s=0.05)
    beyond = plan(engines, PRECISION, data=data(tmp_path), read=False, note=notes.append)
    assert beyond.predicted[8]["full_ms"] == pytest.approx(2 * beyond.predicted[4]["full_ms"])
    assert any("batch 8 is larger than any that was measured" in each for each in notes)


def test_heads_take_no_more_memory_than_is_allowed(engines, tmp_path):
    with etbac.load(engines) as chain:
        heads = head_bytes(chain)
    free = plan(engines, PRECISION, data=data(tmp_path), read=False)
    taken = sum(heads[exit_id] for exit_id in free.exits)
    assert taken > 0
    assert free.search["head_bytes"] is None
    as_much = plan(engines, PRECISION, data=data(tmp_path), read=False, max_head_memory=taken / 1e6)
    assert (as_much.exits, as_much.search["head_bytes"]) == (free.exits, taken)
    less = plan(engines, PRECISION, data=data(tmp_path), read=False, max_head_memory=(taken - 1) / 1e6)
    assert less.exits != free.exits
    assert less.search["head_bytes"] <= less.search["most_head_bytes"] == pytest.approx(taken - 1)


def test_agreement_needs_no_labels(engines, tmp_path):
    file = tmp_path / "data.npz"
    np.savez(file, **make_inputs(ROWS))
    with pytest.raises(InputError, match="--metric agreement"):
        plan(engines, PRECISION, data=file)
    made = plan(engines, PRECISION, data=file, metric="agreement")
    assert made.certificate["n"] == ROWS // 2
    assert made.certificate["metric"] == "agreement"


def test_stages_are_padded_where_the_larger_batch_was_measured_to_be_faster(engines, tmp_path):
    write_even_profile(engines, last_ms=(9.0, 8.0))
    made = plan(engines, PRECISION, data=data(tmp_path))
    assert made.padding == {0: dict.fromkeys(range(1, 6), 8)}
    trace = Tracer()
    with etbac.load(engines) as chain:
        chain.run(make_inputs(8), exit_at=[3, 3, 3, 3, 7, 7, 0, 0], trace=trace)
        profile = stored.read(chain)
    assert trace.runs == [StageRun(0, 8), StageRun(1, 4), StageRun(2, 8)]
    reach = np.cumsum([made.search["shares"][exit_id] for exit_id in ("0", "7", "3")])[::-1]
    assert made.predicted[8]["chain_ms"] == pytest.approx(chain_latency(profile.matrix, 8, reach))


def test_what_cannot_be_asked_for_is_refused(engines, tmp_path):
    with pytest.raises(UsageError, match=r"write it as a ratio, 0\.9968"):
        plan(engines, 99.68)
    with pytest.raises(UsageError, match="level between 0 and 1"):
        plan(engines, delta=5)
    with pytest.raises(UsageError, match=r"--batch-size 64: .* 1 to 8"):
        plan(engines, data=data(tmp_path), batch_size=64)
    with pytest.raises(UsageError, match=r"--min-class-precision 1\.2: it is a ratio"):
        plan(engines, data=data(tmp_path), min_class_precision=1.2)
    with pytest.raises(UsageError, match=r"--max-head-memory -1: it is a number of megabytes"):
        plan(engines, data=data(tmp_path), max_head_memory=-1)
    with pytest.raises(UsageError, match=r"no such test; there are betting, exact"):
        plan(engines, test="bootstrap")
    with pytest.raises(UsageError, match="there is no metric 'bleu'"):
        plan(engines, metric="bleu")


def test_without_reading_the_certify_set_a_plan_is_chosen_and_the_one_in_force_stays(engines, tmp_path):
    before = plan(engines, PRECISION, data=data(tmp_path))
    readings = EngineDir.open(engines).readings()
    made = plan(engines, 0.6, data=data(tmp_path), read=False)
    assert (made.certified, made.reason) == (False, "the certify set was not read")
    assert made.thresholds != before.thresholds
    assert EngineDir.open(engines).plan == before
    assert EngineDir.open(engines).readings() == readings


def test_a_plan_is_priced_at_the_length_of_its_data(tmp_path):
    path = etbac.compile(any_length_file(tmp_path / "model.onnx"), tmp_path / "engines", max_batch=2).path
    np.savez(tmp_path / "data.npz", **make_sequences(200, 12))
    measured = profiler.profile(path, batch_sizes=[1, 2], lengths=[4, 20], budget_s=0.05)
    made = plan(path, 0.5, data=tmp_path / "data.npz", metric="agreement", uncertified=True)
    short, long = (measured.matrix_at(length).full_ms for length in (4, 20))
    assert [made.predicted[size]["full_ms"] for size in (1, 2)] == pytest.approx((short + long) / 2)
