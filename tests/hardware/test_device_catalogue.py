"""The shipped figures are those that the published measurements give."""

import importlib.util
import os
from pathlib import Path

import pytest

from edgepart.files import read_json

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    specification = importlib.util.spec_from_file_location("device_catalogue", BENCHMARKS / "device_catalogue.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_rate_is_the_geometric_mean_over_the_reference_networks(benchmark):
    latency = {name: macs * 1e6 / 2e9 for name, macs in benchmark.NCNN_MMACS.items()}
    assert benchmark.rate(latency) == pytest.approx(2e9)
    assert benchmark.rate(latency | {"vgg16": 1.0}) == pytest.approx(2e9)
    assert benchmark.rate(latency | {"resnet50": latency["resnet50"] / 8}) == pytest.approx(4e9)
    assert all(factor == pytest.approx(1) for factor in benchmark.rate_factors(latency).values())


def test_a_device_that_is_slower_by_one_factor_is_estimated_without_error(benchmark):
    fast = {name: 0.001 * place for place, name in enumerate(benchmark.NCNN_MMACS, start=1)}
    slow = {name: 7 * seconds for name, seconds in fast.items()}
    factors = benchmark.transfer_factors(fast, slow, benchmark.REFERENCES)
    assert factors == pytest.approx([1] * (len(fast) - len(benchmark.REFERENCES)))


def test_errors_are_factors_above_one_whichever_side_they_lie_on(benchmark):
    assert benchmark.summary([0.5, 2.0, 1.0]) == {
        "cases": 3,
        "median_factor": 2.0,
        "ninth_decile_factor": 2.0,
        "worst_factor": 2.0,
    }


def test_every_device_has_the_errors_of_what_is_carried_to_it(benchmark):
    even = {name: macs * 1e6 / 2e9 for name, macs in benchmark.NCNN_MMACS.items()}
    odd = even | {"vgg16": 3 * even["vgg16"]}
    found = benchmark.carried_errors({"phone": even, "cloud-cpu": odd, "cloud-gpu": even, "jetson-orin-nano": even})
    assert found["phone"]["from_gpus"] == benchmark.summary([1.0] * 24)
    assert found["phone"]["from_processors"] == {
        "cases": 12, "median_factor": 1.0, "ninth_decile_factor": 1.0, "worst_factor": 3.0
    }  # fmt: skip
    assert found["cloud-cpu"]["from_all"]["cases"] == 36
    assert found["cloud-gpu"]["median_factor_from"] == {"phone": 1.0, "cloud-cpu": 1.0, "jetson-orin-nano": 1.0}
    assert {one["networks"] for one in found.values()} == {12}


def test_a_figure_that_has_drifted_is_named(benchmark):
    shipped = {name: {"macs_per_s": benchmark.catalogue.device(name).macs_per_s} for name in benchmark.NCNN_DEVICES}
    assert benchmark.disagreements({"devices": shipped, "links": {}}) == []
    drifted = shipped | {"phone": {"macs_per_s": 1e9}}
    [line] = benchmark.disagreements({"devices": drifted, "links": {"4g": {"tests": 3, "round_trip_s": 0.0505}}})
    assert line.startswith("devices/phone.yaml macs_per_s is 1.488e+11, recomputed 1e+09")


@pytest.mark.slow
def test_the_shipped_figures_and_the_committed_result_follow_from_the_data(benchmark):
    result = benchmark.measure(Path(os.environ["EDGEPART_DATA"]))
    assert benchmark.disagreements(result) == []
    committed = read_json(BENCHMARKS / "results" / "device_catalogue.json")
    assert {*result, "date", "machine", "versions"} == committed.keys()
    for kind in result.keys() - {"links", "loopback_here"}:
        assert result[kind] == committed[kind], kind
