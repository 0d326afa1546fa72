"""What EdgeLessPart reports: accuracy, inference time, memory and cloud cost over the confidence threshold c_thr."""

from collections.abc import Mapping
from typing import Any

from edgepart import Bundle, Profile, Trace, partition
from edgepart.dispatch.confidence import Confidence
from edgepart.evaluation.costs import Costs, cost_model, tabulate
from edgepart.evaluation.replay import full_model, sweep

#: section III of the paper
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PRICE = "price=google-cloud-functions"
#: the paper counts the memory of the model, without TensorFlow's
RUNTIME_MEMORY = {"edge": 0, "cloud": 0}
#: accuracy that c_thr may cost on the validation data
ALLOWED_DROP = 0.01


def sweep_thresholds(bundle: Bundle, test: Trace) -> dict[str, Any]:
    """Every c_thr on the test data, and the one that would be chosen on the bundle's validation data."""
    plan = bundle.plan
    latency, money = (tabulate(cost_model(name), plan) for name in ("latency", PRICE))
    edge, cloud = (plan.memory_bytes(tier) for tier in plan.tiers)
    points = []
    for timed, priced, validated in zip(
        _sweep(test, bundle.validation, latency),
        _sweep(test, bundle.validation, money),
        _sweep(bundle.validation, bundle.validation, latency),
        strict=True,
    ):
        on_cloud = timed.tier_share["cloud"]
        points.append(
            {
                "c_thr": float(timed.setting["threshold"]),
                "accuracy": timed.accuracy,
                "validation_accuracy": validated.accuracy,
                "latency_s": timed.cost,
                "usd": priced.cost,
                "on_cloud": on_cloud,
                "exit_share": timed.exit_share,
                "edge_bytes": edge,
                # a function holds memory while it is called
                "cloud_bytes": on_cloud * cloud,
            }
        )
    whole = full_model(bundle.validation, latency).accuracy
    kept = [point["c_thr"] for point in points if point["validation_accuracy"] >= whole - ALLOWED_DROP]
    return {
        "full_accuracy": full_model(test, latency).accuracy,
        "full_latency_s": latency.full_model,
        "full_usd": money.full_model,
        "edge_bytes": edge,
        "cloud_bytes": cloud,
        "crossing_bytes": plan.hops[0].bytes,
        "exits": [
            {"name": name, "tier": tier, "accuracy": float(right)}
            for name, tier, right in zip(test.exits, test.exit_tiers, test.correct.mean(axis=0), strict=True)
        ],
        "chosen": min(kept, default=None),
        "points": points,
    }


def _sweep(trace: Trace, validation: Trace, costs: Costs) -> list[Any]:
    strategy = Confidence()
    strategy.fit(validation, costs.table)
    return sweep(trace, strategy, costs, THRESHOLDS)


def cloud_only(profile: Profile, tiers: Mapping[str, str], links: Mapping[str, str]) -> dict[str, float]:
    """The yardstick: the image is sent to the cloud, which runs the whole network."""
    pins = {profile.graph.layers[0].name: "cloud"}
    plan = partition(profile, tiers, links, pins=pins, exits="none", runtime_memory=RUNTIME_MEMORY)
    latency, money = (tabulate(cost_model(name), plan).full_model for name in ("latency", PRICE))
    return {"latency_s": latency, "usd": money, "bytes": plan.memory_bytes(plan.tiers[-1])}
