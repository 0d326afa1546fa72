"""What leaving early saves in batches: measured where a stage takes time by its samples, it is what replay predicts."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_networks import EXAMPLE, captured, image_plan, images, network

from edgepart.bundle import Bundle, BundlePart, build, open_bundle
from edgepart.cli.main import main
from edgepart.dispatch.fixed_tier import FixedTier
from edgepart.dispatch.options import strategy
from edgepart.dispatch.temperature import temperatures
from edgepart.errors import DataError, DispatchError
from edgepart.evaluation import selection
from edgepart.evaluation.batches import Batches, time_batches
from edgepart.evaluation.choosing import chosen_setting
from edgepart.evaluation.costs import tabulate
from edgepart.evaluation.evaluate_traces import THRESHOLDS, question
from edgepart.evaluation.record import record
from edgepart.evaluation.report_assembly import temperature_reports
from edgepart.training import TrainingSettings
from edgepart.units import percent, seconds

#: seconds a sample that each stage is made to take
SLEEPS = {("mobile", 0): 0.002, ("mobile", 1): 0.001, ("edge", 0): 0.003, ("cloud", 0): 0.004}
ROUTER_S = 0.0005
DATA = images(24, seed=5)


@pytest.fixture(scope="module", params=["split", "nested"])
def bundle(request, tmp_path_factory):
    model = network()
    plan = image_plan(captured(model), request.param)
    settings = TrainingSettings.for_mode("joint", epochs=2, learning_rate=0.01)
    output = tmp_path_factory.mktemp("timed") / "bundle"
    validation = images(30, seed=1)
    return build(model, plan, images(60), example=EXAMPLE, validation=validation, settings=settings, output=output)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only goes on while stages and the router run, by how many samples they are given."""
    now, step, embed = [0.0], BundlePart.step, Bundle.embed

    def slow_step(part, number, known):
        now[0] += SLEEPS[part.tier, number] * len(next(iter(known.values())))
        return step(part, number, known)

    def slow_embed(bundle, arrays):
        now[0] += ROUTER_S * len(arrays["image"])
        return embed(bundle, arrays)

    monkeypatch.setattr(BundlePart, "step", slow_step)
    monkeypatch.setattr(Bundle, "embed", slow_embed)
    monkeypatch.setattr("edgepart.evaluation.batches.time", SimpleNamespace(perf_counter=lambda: now[0]))


def costs_of(bundle):
    return tabulate(question().cost, bundle.plan)


def shares_by_hand(bundle, entry, left):
    """(tier, stage) → share of the samples that it has to run on."""
    found, before = {}, 0
    for tier, part in bundle.parts.items():
        for number, stage in enumerate(part.manifest.stages):
            there = left >= before
            if bundle.plan.deployment == "nested":
                there &= entry <= bundle.plan.tier_names.index(tier)
            found[tier, number] = float(there.mean())
            before = bundle.exits.index(stage.exit) + 1
    return found


@pytest.mark.parametrize(
    ("name", "hot"), [("confidence", False), ("router", False), ("adaee", False), ("confidence", True), ("adaee", True)]
)
def test_the_time_saved_is_that_of_the_samples_that_left(bundle, clock, name, hot):
    learnt = temperatures(bundle.validation) if hot else np.ones(4)
    validation = bundle.validation.scaled(learnt) if hot else bundle.validation
    middle = float(np.median(validation.confidence[:, 0]))
    grid = (middle,) if name == "confidence" else (0.3,)
    found = time_batches(
        bundle, DATA, name,
        costs=costs_of(bundle), grid=grid, sizes=(1, 5), passes=3, drop=1.0, threads=1, temperature=hot,
    )  # fmt: skip
    assert (found.samples, found.data, found.threads, found.strategy) == (24, "images", 1, name)
    assert found.deployment == bundle.plan.deployment
    made = strategy(name)
    setting = chosen_setting(made, validation, costs_of(bundle), grid, drop=1.0)
    assert found.setting == setting.label
    recorded = record(bundle, DATA)
    trace = recorded.scaled(learnt) if hot else recorded
    assert found.temperatures == (temperature_reports(bundle.validation, recorded, learnt) if hot else ())
    decided = made.policy(setting).decide(trace)
    right = trace.correct[np.arange(24), decided.exit].mean()
    shares = shares_by_hand(bundle, decided.entry, decided.exit)
    router_s = ROUTER_S if name == "router" else 0
    whole = sum(SLEEPS.values()) if found.deployment == "split" else SLEEPS["cloud", 0]
    saving = 1 - (sum(SLEEPS[stage] * share for stage, share in shares.items()) + router_s) / whole
    for one in found.sizes:
        assert one.full_s.median == pytest.approx(whole)
        assert one.predicted_saving == pytest.approx(saving)
        if name != "adaee" or one.batch_size == 1:
            assert one.accuracy == right
            assert [stage.share for stage in one.stages] == list(shares.values())
            assert one.policy_s.median == pytest.approx((1 - saving) * whole)
            assert one.saving.median == pytest.approx(saving)
        assert one.saving.lower <= one.saving.median <= one.saving.upper
        assert [stage.exit for stage in one.stages] == ["early", "late", "middle", "final"]
    assert any("learns of a batch" in remark for remark in found.remarks) == (name == "adaee")
    assert any("heads are inside" in remark for remark in found.remarks) == (found.deployment == "split")


def test_a_setting_is_chosen_as_in_a_report(bundle):
    costs = costs_of(bundle)
    made = strategy("confidence")
    curve = selection.evaluate_strategy(made, bundle.validation, bundle.validation, costs, THRESHOLDS, (0.005,))
    assert chosen_setting(made, bundle.validation, costs, THRESHOLDS) == curve.settings[curve.choices[0].index]
    assert chosen_setting(made, bundle.validation, costs, (0.42,)).label == "0.42"


def test_what_cannot_be_timed_is_refused(bundle):
    costs, trace = costs_of(bundle), bundle.validation
    with pytest.raises(
        DispatchError, match="'oracle' knows the labels of its samples, so that it can only be replayed"
    ):
        chosen_setting(strategy("oracle"), trace, costs, THRESHOLDS)
    # the full model is always right, the first exit, where all leave, is not
    logits = trace.logits.copy()
    logits[0, 0] = -logits[0, -1]
    unlike = replace(trace, logits=logits, labels=logits[:, -1].argmax(axis=1))
    with pytest.raises(DispatchError, match=r"no setting of 'confidence' loses at most 0 % of accuracy"):
        chosen_setting(strategy("confidence"), unlike, costs, (0.0, 0.1), drop=0.0)
    for wrong, message in (
        ({"sizes": (0, 1)}, "the batch size is 0"),
        ({"sizes": ()}, "the batch size is 0"),
        ({"passes": 0}, "the number of passes is 0"),
        ({"samples": 0}, "the number of samples is 0"),
    ):
        with pytest.raises(DispatchError, match=message):
            time_batches(bundle, DATA, FixedTier(), costs=costs, **wrong)
    with pytest.raises(DataError, match="read the data with the bundle's classes"):
        time_batches(bundle, images(12, classes=("a", "b", "c")), costs=costs)


@pytest.fixture
def work(bundle, tmp_path, monkeypatch):
    """A folder with dev.npz, which is the current one; the bundle lies in ``bundle``."""
    arrays = DATA.batch(range(len(DATA)))
    np.savez(tmp_path / "dev.npz", image=arrays["image"], label=np.array(bundle.classes)[DATA.labels])
    (tmp_path / "bundle").symlink_to(bundle.path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tables_and_a_file(work, capsys):
    options = ["--batches", "4,1", "--runs", "20", "--thresholds", ".5"]
    assert main(["evaluate", "bundle", "--data", "dev.npz", *options]) == 0
    printed = capsys.readouterr().out
    found = Batches.load("batched/batches.json")
    lines = [line.split() for line in printed.splitlines()]
    assert f"({found.deployment}), 20 samples of dev.npz, 1 thread" in printed
    assert "confidence at 0.5; the whole network is right on" in printed
    assert [line[0] for line in lines if line[:1] in (["1"], ["4"])] == ["1", "4"]
    assert [line[1] for line in lines if line[:1] in (["mobile"], ["edge"], ["cloud"])] == [
        *open_bundle("bundle").exits
    ]
    assert "written to batched/batches.json" in printed
    assert "temperatures" not in printed
    assert main(["evaluate", "bundle", "--data", "dev.npz", *options, "--temperature"]) == 0
    printed = capsys.readouterr().out
    shown = [one.exit for one in Batches.load("batched/batches.json").temperatures]
    lines = printed.splitlines()
    place = lines.index("temperatures learnt on validation, calibration error on these samples")
    assert [line.split()[0] for line in lines[place + 3 : place + 7]] == shown == list(open_bundle("bundle").exits)
    # an earlier result is replaced
    assert main(["evaluate", "bundle", "--data", "dev.npz", "--batches", "2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [one["batch_size"] for one in printed["sizes"]] == [2]
    assert printed["samples"] == 24
    assert Batches.load("batched/batches.json").sizes[0].batch_size == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batches", "0,1"], "--batches 0,1 does not name sizes of batches: expected numbers from 1, as 1,8,32"),
        (["--batches", "many"], "--batches many does not name sizes of batches"),
        (["--batches", ""], "does not name sizes of batches"),
        (["--batches", "1", "--measure"], "--measure has no part in --batches"),
        (["--batches", "1", "--batch-size", "4"], "--batch-size has no part in --batches"),
        (
            ["--batches", "1", "--temperature", "--strategy", "controlled"],
            "the promises of 'controlled' would not hold",
        ),
        (["--batches", "1", "--strategy", "oracle"], "'oracle' knows the labels of its samples"),
        (["--batches", "1", "--strategy", "margin", "--strategy", "entropy"], "--batches times one strategy, not 2"),
        (["--batches", "1", "--drop", "1", "--drop", "2"], "not one for each of 2 drops: give --drop once"),
        (["--batches", "1", "--thresholds", "plan"], "--thresholds plan is not a list of numbers"),
        (["--batches", "1", "-o", "bundle"], "bundle holds files that are no measurement"),
    ],
)
def test_mistakes_in_sizes_and_options_are_one_sentence(work, options, message, capsys):
    assert main(["evaluate", "bundle", "--data", "dev.npz", *options]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_the_setting_is_that_for_the_drop_given(work, monkeypatch):
    asked = []

    def timed(*_, drop, **__):
        asked.append(drop)
        raise DispatchError("enough")

    monkeypatch.setattr("edgepart.evaluation.batches.time_batches", timed)
    for more in ([], ["--drop", "0.7"]):
        assert main(["evaluate", "bundle", "--data", "dev.npz", "--batches", "8", *more]) == 2
    assert asked == [0.005, 0.007]


def test_batches_need_data(work, capsys):
    assert main(["evaluate", "bundle", "--batches", "1"]) == 2
    assert "--batches needs labelled data: give --data" in capsys.readouterr().err


def test_the_guide_shows_what_was_measured():
    root = Path(__file__).resolve().parents[2]
    result = json.loads((root / "benchmarks" / "results" / "batched.json").read_text(encoding="utf-8"))
    guide = (root / "docs" / "measuring.md").read_text(encoding="utf-8")
    expected = []
    for cell in result["cells"]:
        for whole, one in zip(cell["one_piece"], cell["timed"]["sizes"], strict=True):
            assert whole["batch_size"] == one["batch_size"]
            taken = [part["median"] for part in (whole["seconds"], one["full_s"], one["policy_s"])]
            shares = (one["saving"]["median"], one["predicted_saving"], 1 - taken[2] / taken[0])
            cells = [
                cell["title"],
                cell["runtime"],
                str(one["batch_size"]),
                *map(seconds, taken),
                *map(percent, shares),
            ]
            expected.append(f"| {' | '.join(cells)} |")
        timed, sizes = cell["timed"], cell["timed"]["sizes"]
        assert f"{percent(timed['full_accuracy'])} to {percent(sizes[0]['accuracy'])}" in guide
    assert [line for line in guide.splitlines() if re.match(r"\|.*\| \d+ \|", line)] == expected
    load = max(cell["timed"]["machine_load"]["mean_cores"] for cell in result["cells"])
    assert f"the first {result['settings']['timed']} test samples" in guide
    assert f"other processes kept {load:.1f} of its {result['machine']['cpus']} cores busy" in guide
