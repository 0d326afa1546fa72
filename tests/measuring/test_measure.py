"""Running a bundle's parts as processes: predicted against measured where both are known, and processes that fail."""

import os
import time

import fake_bundle
import numpy as np
import psutil
import pytest
from fake_bundle import LINK, SENT_BYTES, SLEEPS, TIERS, installed, plan, profile, write_bundle

from edgepart.bundle import open_bundle
from edgepart.data import Dataset
from edgepart.errors import EdgepartError, MeasurementError, PlanError, UnknownName
from edgepart.hardware import Measurement
from edgepart.measuring import Measured, measure_bundle, processes
from edgepart.measuring.measured import Comparison
from edgepart.measuring.prediction import predict
from edgepart.measuring.thresholds import plan_thresholds
from edgepart.testing.hardware import example_device, example_link

#: that sleeping, sockets and a busy machine may add to what is predicted, in relation to it and in seconds
SLACK, SLACK_S = 1.6, 0.02


@pytest.fixture(autouse=True)
def sleepy(tmp_path, monkeypatch, request):
    """The runtime of the fake bundle; memory is measured only where a test asks for it, since it takes a second."""
    installed(tmp_path, monkeypatch)
    if "memory" not in request.fixturenames:
        monkeypatch.setattr("edgepart.measuring.measure.can_measure", lambda: False)
    yield
    fake_bundle.plugins._entries.cache_clear()


@pytest.fixture
def memory():
    """Ask for memory to be measured."""


def bundle(tmp_path, deployment="split", device=None, **what):
    return write_bundle(tmp_path / "bundle", plan(deployment, device), **what)


def near(comparison, predicted):
    """Whether the prediction is the one expected, and the measurement not far above it."""
    assert comparison.predicted == pytest.approx(predicted)
    median = comparison.measured.median
    assert 0.98 * predicted <= median <= SLACK * predicted + SLACK_S
    assert comparison.error == pytest.approx((predicted - median) / median)
    assert comparison.measured.lower <= median <= comparison.measured.upper
    return True


def children():
    return [
        each for each in psutil.Process().children(recursive=True) if "edgepart.measuring" in " ".join(each.cmdline())
    ]


def test_everything_is_compared_on_shaped_links(tmp_path, memory):
    cores = sorted(os.sched_getaffinity(0))[:1]
    found = measure_bundle(bundle(tmp_path), runs=4, shaped=True, pin_cores={"edge": cores})
    assert [part.tier for part in found.parts] == list(TIERS.values())
    for part, (layer, tier) in zip(found.parts, TIERS.items(), strict=True):
        assert near(part.compute_s, SLEEPS[layer]), tier
        assert near(part.alone_s, SLEEPS[layer]), tier
        assert part.compute_s.measured.runs == part.alone_s.measured.runs == 4
        assert (part.runtime, part.basis) == ("sleepy", "plan")
        # 4 MB are held; the process itself is many times that
        assert 0.7 < part.memory_bytes.predicted / part.memory_bytes.measured.median < 1.4
        assert part.runtime_bytes > 10_000_000
    assert [part.cores for part in found.parts] == [None, tuple(cores), None]
    for hop in found.hops:
        assert hop.link == "slow"
        assert near(hop.transfer_s, LINK.transfer_s(SENT_BYTES))
        assert hop.sent_bytes.predicted == SENT_BYTES
        assert SENT_BYTES < hop.sent_bytes.measured.median < SENT_BYTES + 1000
    assert near(found.latency_s, sum(SLEEPS.values()) + 2 * LINK.transfer_s(SENT_BYTES))
    assert [(x.name, x.samples) for x in found.exits] == [("early", 0), ("final", 4)]
    assert found.remarks == ()
    assert found.machine_load.mean_cores >= 0
    found.save(tmp_path / "measured.json")
    assert Measured.load(tmp_path / "measured.json") == found
    assert children() == []


def test_loopback_is_predicted_from_processes_without_layers_and_another_link_as_it_is(tmp_path):
    fast = example_link(80e6, 0.01, name="fast")
    found = measure_bundle(bundle(tmp_path), runs=2, links={"edge:cloud": fast})
    first, second = found.hops
    assert first.link is None
    assert 0 < first.transfer_s.predicted < 1
    assert 0 < first.transfer_s.measured.median < 1
    assert second.link == "fast"
    assert near(second.transfer_s, 0.012)
    known = sum(SLEEPS.values()) + 0.012
    assert found.latency_s.predicted == pytest.approx(known + first.transfer_s.predicted)
    assert found.latency_s.measured.median > known
    assert any("from mobile to edge tensors go over loopback" in remark for remark in found.remarks)


def stand_ins(monkeypatch, *arguments, **options):
    """What stands in for the parts when hops are measured, by tier, and the hops that are then predicted."""
    seen = {}

    def measured(tiers, sample, *, split, timeout_s, runs):
        seen.update({tier.tier: tier for tier in tiers})
        return [0.25 * (number + 1) for number in range(len(tiers) - 1)]

    monkeypatch.setattr("edgepart.measuring.measure.measure_hops", measured)
    found = measure_bundle(*arguments, runs=2, **options)
    hops_s = [hop.transfer_s and hop.transfer_s.predicted for hop in found.hops]
    return {tier: each.stand_in for tier, each in seen.items()}, hops_s, found


def test_stand_ins_are_as_busy_as_the_parts_and_give_what_they_give(tmp_path, monkeypatch):
    found, hops_s, measured = stand_ins(monkeypatch, bundle(tmp_path), pin_cores={})
    assert [each.busy_s for each in found.values()] == pytest.approx(list(SLEEPS.values()))
    given = [dict(each.gives) for each in found.values()]
    assert given == [{layer: ("<f4", (1, fake_bundle.WIDTH))} for layer in ("first", "second")] + [{}]
    assert [each.classes for each in found.values()] == [None, None, 2]
    assert hops_s == [0.25, 0.5]
    assert measured.latency_s.predicted == pytest.approx(sum(SLEEPS.values()) + 0.75)


def test_stand_ins_of_parts_that_nothing_is_known_of_are_as_busy_as_these_were(tmp_path, monkeypatch):
    found, _, measured = stand_ins(monkeypatch, bundle(tmp_path, device=example_device("phone")))
    for each, part in zip(found.values(), measured.parts, strict=True):
        assert part.compute_s.predicted is None
        assert each.busy_s == pytest.approx(part.compute_s.measured.median)


def test_nested_only_the_parts_that_ran_have_stand_ins(tmp_path, monkeypatch):
    found, _, _ = stand_ins(monkeypatch, bundle(tmp_path, "nested", certain=0.7))
    assert [each is None for each in found.values()] == [True, True, False]


def test_hops_that_nothing_crossed_are_not_measured_without_parts(tmp_path, monkeypatch):
    found, hops_s, _ = stand_ins(monkeypatch, bundle(tmp_path, certain=0.7), threshold=0.6)
    assert (found, hops_s) == ({}, [None, None])


def test_samples_leave_where_they_are_sure(tmp_path):
    path = bundle(tmp_path, certain=0.7)
    early = measure_bundle(path, runs=2, threshold=0.6)
    assert [(x.name, x.samples) for x in early.exits] == [("early", 2), ("final", 0)]
    assert near(early.latency_s, SLEEPS["first"])
    assert early.parts[1].compute_s is None
    assert near(early.parts[1].alone_s, SLEEPS["second"])
    assert early.hops[0].transfer_s is None
    late = measure_bundle(path, runs=2, threshold=0.8)
    assert [(x.name, x.samples) for x in late.exits] == [("early", 0), ("final", 2)]


def test_every_exit_of_a_measurement_may_have_a_threshold_of_its_own(tmp_path):
    path = bundle(tmp_path, "nested", certain=0.7)
    names = [point.name for point in open_bundle(path).plan.exits]
    found = measure_bundle(path, runs=2, threshold=dict(zip(names, (0.8, 0.6), strict=True)))
    assert [x.samples for x in found.exits] == [0, 2, 0]
    assert found.threshold == dict(zip(names, (0.8, 0.6), strict=True))
    with pytest.raises(MeasurementError, match="give one for each"):
        measure_bundle(path, runs=2, threshold={names[0]: 0.8})


def test_the_thresholds_of_the_plan(tmp_path):
    planned = plan()
    exits = tuple(point.model_copy(update={"threshold": 0.25}) for point in planned.exits)
    chosen = planned.model_copy(update={"exits": exits, "strategy": "confidence"})
    assert plan_thresholds(chosen) == {"early": 0.25}
    with pytest.raises(MeasurementError, match="has no thresholds"):
        plan_thresholds(planned)
    with pytest.raises(MeasurementError, match="those of the strategy 'entropy'"):
        plan_thresholds(chosen.model_copy(update={"strategy": "entropy"}))


def test_nested_every_part_is_run_alone_and_the_whole_path_goes_straight_to_the_top(tmp_path):
    path = bundle(tmp_path, "nested", certain=0.7)
    found = measure_bundle(path, runs=3, shaped=True)
    spent = np.cumsum(list(SLEEPS.values())).tolist()
    for part, seconds in zip(found.parts, spent, strict=True):
        assert near(part.compute_s, seconds)
        assert near(part.alone_s, seconds)
        assert part.compute_s.measured.runs == part.alone_s.measured.runs == 3
    assert near(found.latency_s, spent[-1] + 2 * LINK.transfer_s(SENT_BYTES))
    # unsure on the first tier, the sample starts afresh on the next one, and so on
    cascade = measure_bundle(path, runs=2, threshold=0.8)
    hops_s = sum(hop.transfer_s.predicted for hop in cascade.hops)
    assert cascade.latency_s.predicted == pytest.approx(sum(spent) + hops_s)
    assert cascade.latency_s.measured.median > sum(spent)
    assert [x.samples for x in cascade.exits] == [0, 0, 2]


def test_a_profile_of_this_machine_counts_before_the_plan(tmp_path):
    path = bundle(tmp_path, device=example_device("phone"))
    unknown = measure_bundle(path, runs=1)
    assert [part.basis for part in unknown.parts] == ["none"] * 3
    assert [part.compute_s.predicted for part in unknown.parts] == [None] * 3
    assert unknown.latency_s.predicted is None
    assert "the plan puts mobile on phone, edge on phone, cloud on phone" in unknown.remarks[0]
    known = measure_bundle(path, runs=1, profiles=[profile(0.5), profile(3.0, runtime="other")])
    for part, seconds in zip(known.parts, SLEEPS.values(), strict=True):
        assert part.compute_s.predicted == pytest.approx(0.5 * seconds)
        assert part.compute_s.error < -0.3
        assert part.basis == "profile of sleepy, measured"
    other = measure_bundle(path, runs=1, profiles=[profile(runtime="other")], threads=2)
    assert "mobile runs on sleepy and is predicted for other: give a --profile of other" not in other.remarks
    assert "mobile runs on sleepy and is predicted for other: give a --profile of sleepy" in other.remarks
    assert "mobile runs with 2 threads and is predicted for 1" in other.remarks


def test_a_plan_that_predicts_parts_is_taken_at_that(tmp_path):
    planned = plan()
    known = {"runtime": "sleepy", "wake_up_s": 0.001}
    tiers = [tier.model_copy(update={"part_s": 2 * tier.compute_s, **known}) for tier in planned.tiers]
    exits = [point.model_copy(update={"part_s": 1.5 * point.compute_s}) for point in planned.exits]
    knowing = planned.model_copy(update={"tiers": tuple(tiers), "exits": tuple(exits)})
    made = open_bundle(write_bundle(tmp_path / "bundle", knowing))
    # a profile of another runtime says less of these parts than the plan does
    for profiles in ([], [profile(3.0, runtime="other")]):
        found, remarks = predict(made, profiles, 1)
        assert [found[tier].basis for tier in TIERS.values()] == ["plan"] * 3
        factors = [1.5, 2, 2]  # the first part ends at its exit
        assert [found[tier].compute_s for tier in TIERS.values()] == pytest.approx(
            [factor * seconds for factor, seconds in zip(factors, SLEEPS.values(), strict=True)]
        )
        assert [found[tier].compute_s - found[tier].alone_s for tier in TIERS.values()] == pytest.approx([0.001] * 3)
        assert remarks == []
    found, _ = predict(made, [profile(3.0)], 1)
    assert [found[tier].compute_s for tier in TIERS.values()] == pytest.approx([3 * x for x in SLEEPS.values()])


def test_a_part_wakes_up_in_a_chain_and_not_where_it_runs_over_and_over(tmp_path):
    woken = profile(1.0).model_copy(update={"wake_up": Measurement(median_s=0.5, spread_s=0.0, runs=3)})
    found, _ = predict(open_bundle(bundle(tmp_path)), [woken], 1)
    for tier, seconds in zip(TIERS.values(), SLEEPS.values(), strict=True):
        assert found[tier].compute_s == pytest.approx(seconds + 0.5)
        assert found[tier].alone_s == pytest.approx(seconds)
        assert found[tier].stage_s[0] >= 0.5


class Rows:
    """A sample is the number that fills its row."""

    def __call__(self, samples):
        return {"x": np.stack([np.full(fake_bundle.WIDTH, value, np.float32) for value in samples])}


def test_samples_come_from_a_data_set(tmp_path):
    path = bundle(tmp_path)
    dataset = Dataset([1.0, 2.0, 3.0], np.array([0, 1, 0]), fake_bundle.CLASSES, Rows(), "three rows")
    assert measure_bundle(path, dataset, runs=4).samples == "three rows"
    with pytest.raises(EdgepartError, match="three rows holds no samples"):
        measure_bundle(path, dataset.subset([]), runs=4)


KILLED = "the process of '{}' was killed, probably because memory ran out"
RAISED = "the process of '{}' failed: ValueError: the operator 'frobnicate' is not implemented"
CRASHED = "the process of '{}' crashed (SIGABRT); is its runtime sound?"
MISTAKEN = "the part of '{}' cannot be run: the input 'y' is missing"


@pytest.mark.parametrize(
    ("tier", "behaviour", "message"),
    [
        ("mobile", "killed", KILLED),
        ("edge", "killed", KILLED),
        ("cloud", "raise", RAISED),
        ("edge", "abort", CRASHED),
        ("mobile", "mistake", MISTAKEN),
        ("cloud", "mistake", MISTAKEN),
    ],
)
def test_a_part_that_fails_is_one_sentence(tmp_path, tier, behaviour, message):
    path = bundle(tmp_path, behaviour={tier: behaviour})
    with pytest.raises(MeasurementError) as caught:
        measure_bundle(path, runs=1)
    assert message.format(tier) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert children() == []


def test_a_process_that_fails_while_memory_is_measured(tmp_path, memory):
    path = bundle(tmp_path, behaviour={"edge": "killed"})
    with pytest.raises(MeasurementError, match="the process that measured the memory of 'edge' was killed"):
        measure_bundle(path, runs=1)


def test_an_interrupt_leaves_no_process(tmp_path, monkeypatch):
    def interrupted(self, sample, order):
        assert len(children()) == 3
        raise KeyboardInterrupt

    monkeypatch.setattr(processes.Processes, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_bundle(bundle(tmp_path), runs=1)
    assert children() == []


def test_a_sample_that_never_comes_back_is_given_up(tmp_path):
    path = bundle(tmp_path, behaviour={"edge": "hang"})
    tiers = [processes.TierProcess(tier, path / "parts" / tier) for tier in TIERS.values()]
    sample = {"x": np.zeros((1, fake_bundle.WIDTH), np.float32)}
    with processes.Processes(tiers, [sample], split=True, threads=1, timeout_s=3) as running:
        start = time.monotonic()
        with pytest.raises(MeasurementError, match="says nothing for 3 s"):
            running.run(0, {"run": list(TIERS.values()), "answer": "cloud", "thresholds": None})
        assert time.monotonic() - start < 30
    assert children() == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"runs": 0}, MeasurementError, "0 runs"),
        ({"threshold": 1.5}, MeasurementError, "between 0 and 1"),
        ({"links": {"mobile:cloud": "wifi"}}, UnknownName, "unknown hop 'mobile:cloud'"),
        ({"links": {"mobile:edge": "wfi"}}, UnknownName, "did you mean wifi"),
        ({"pin_cores": {"mobil": [0]}}, UnknownName, "did you mean mobile"),
        ({"pin_cores": {"mobile": [4096]}}, MeasurementError, "cannot be pinned to core 4096"),
        ({"pin_cores": {"mobile": []}}, MeasurementError, "cannot be pinned"),
        ({"profiles": [profile(processor="Model T")]}, MeasurementError, "was measured on 'Model T', this machine is"),
        ({"profiles": [profile(), profile()]}, MeasurementError, "two profiles of the runtime sleepy"),
    ],
)
def test_what_cannot_be_measured_is_told_before_anything_is_started(tmp_path, monkeypatch, options, error, message):
    monkeypatch.setattr(processes.Processes, "__enter__", lambda self: pytest.fail("something was started"))
    with pytest.raises(error, match=message):
        measure_bundle(bundle(tmp_path), **options)


def test_a_profile_of_another_network(tmp_path):
    own = profile()
    layers = tuple(layer.model_copy(update={"ops": ("other",)}) for layer in own.graph.layers)
    other = own.model_copy(update={"graph": own.graph.model_copy(update={"layers": layers})})
    with pytest.raises(PlanError, match="the plan was made for the network 'sleeper'"):
        measure_bundle(bundle(tmp_path), profiles=[other])


def test_a_comparison_without_values_or_prediction():
    assert Comparison.of(1.0, []) is None
    assert Comparison.of(None, [1.0]).error is None
    assert Comparison.of(1.0, [0.0]).error is None
    assert Comparison.of(3.0, [2.0, 2.0]).error == 0.5
