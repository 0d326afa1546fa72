"""DIMEC-DC's costs as methods and paper state them."""

import numpy as np
import pytest

from edgepart.errors import DispatchError, EdgepartError
from edgepart.evaluation.costs import CostModel, Facts, cost_model, cost_models, tabulate
from edgepart.evaluation.costs.dimec import Dimec, tier_roles
from edgepart.evaluation.costs.latency import Latency
from edgepart.evaluation.costs.layers import counted
from edgepart.graph import Graph, Layer, Tensor
from edgepart.partitioning.plan import Plan
from edgepart.testing.cost_models import CostModelContract, example_plan

INF = np.inf
GAMMA = 14.14


def at_tier_ends(plan: Plan) -> Plan:
    ends = [point for point in plan.exits if point.depth == 2]
    return plan.model_copy(update={"exits": tuple(ends)})


class TestDimec(CostModelContract):
    def cost_model(self) -> CostModel:
        return Dimec(GAMMA, layers=(4, 6, 12))

    def plans(self) -> list[Plan]:
        # m/n/l say nothing about an exit inside a tier
        return [at_tier_ends(plan) for plan in super().plans()]


def test_nested_costs_of_bert_base() -> None:
    """Mobile 6λ, edge 8.5λ, cloud 3λ + γ; a cascade adds them up."""
    costs = tabulate(Dimec(GAMMA, layers=(4, 6, 12)), example_plan("nested"))
    expected = [[6, 14.5, 14.5 + 17.14], [INF, 8.5, 8.5 + 17.14], [INF, INF, 17.14]]
    assert costs.table == pytest.approx(np.array(expected))
    assert costs.full_model == pytest.approx(17.14)
    assert (costs.unit, costs.router) == ("λ", 0.0)


def test_nested_costs_of_minilm() -> None:
    costs = tabulate(Dimec(GAMMA, layers=(2, 4, 6)), example_plan("nested"), Facts(router_s=1.0))
    assert np.diag(costs.table) == pytest.approx([3, 6.5, 17.14])
    assert costs.router == 0.0, "the paper charges nothing for the embedding"


def test_random_routing_costs_what_methods_say() -> None:
    table = Dimec(GAMMA, layers=(4, 6, 12)).table(example_plan("nested"), Facts())
    assert np.diag(table).mean() == pytest.approx((17.5 + GAMMA) / 3)


def test_split_charges_the_edge_for_its_own_layers() -> None:
    costs = tabulate(Dimec(GAMMA, layers=(4, 6, 12)), at_tier_ends(example_plan("split")))
    edge, cloud = 6 + 2.5 + 2, 6 + 2.5 + 2 + 3 + GAMMA
    assert costs.table == pytest.approx(np.array([[6, edge, cloud], [INF, edge, cloud], [INF, INF, cloud]]))
    assert costs.full_model == pytest.approx(17.14)


def test_baselines() -> None:
    plan = example_plan("nested")
    assert tabulate(Dimec(GAMMA, layers=(4, 6, 12), baseline="all-mobile"), plan).full_model == pytest.approx(18)
    assert tabulate(Dimec(0.0, layers=(4, 6, 12)), plan).full_model == 3


def test_lambda_scales_every_cost() -> None:
    plan = example_plan("nested")
    one, small = (tabulate(Dimec(GAMMA, scale, layers=(4, 6, 12)), plan) for scale in (1.0, 0.01))
    assert small.table == pytest.approx(one.table * 0.01)
    assert small.full_model == pytest.approx(0.1714)


def test_gamma_is_required() -> None:
    with pytest.raises(DispatchError, match="needs γ"):
        cost_model("dimec")
    for wrong in ("-1", "nan", "inf"):
        with pytest.raises(DispatchError, match="gamma"):
            cost_model(f"dimec={wrong}")


def encoder(blocks: int) -> Graph:
    """Embeddings, blocks of two layers, a pooler with a numbered module of its own, in a chain."""
    names = ["embeddings"]
    names += [f"encoder.layer.{n}.{part}" for n in range(blocks) for part in ("attention", "output")]
    names += ["head.0", "head.1"]
    tensors = [Tensor(name="x", shape=(1,), dtype="float32", bytes=4, consumers=(names[0],))]
    layers = []
    for index, name in enumerate(names):
        before = "x" if index == 0 else names[index - 1]
        after = names[index + 1 : index + 2]
        layers.append(Layer(name=name, module=name, kind="Linear", ops=("linear",), inputs=(before,), outputs=(name,)))
        tensors.append(Tensor(name=name, shape=(1,), dtype="float32", bytes=4, producer=name, consumers=tuple(after)))
    return Graph(
        name="encoder",
        framework="torch",
        symbols={"batch": 1},
        layers=tuple(layers),
        tensors=tuple(tensors),
        inputs=("x",),
        outputs=("head.1",),
        parameters={},
    )


def placed(plan: Plan, graph: Graph, ends: tuple[int, int], inner: int) -> Plan:
    """Tiers end after so many blocks; exit2 stands ``inner`` layers into the edge's part."""
    order = [layer.name for layer in graph.layers]
    first, second = (1 + 2 * end for end in ends)
    parts = (order[:first], order[first:second], order[second:])
    tiers = [tier.model_copy(update={"layers": tuple(part)}) for tier, part in zip(plan.tiers, parts, strict=True)]
    depths = {"exit1": len(parts[0]), "exit2": inner, "exit3": len(parts[1])}
    exits = [point.model_copy(update={"depth": depths[point.name]}) for point in plan.exits]
    return plan.model_copy(update={"tiers": tuple(tiers), "exits": tuple(exits)})


def test_layers_are_counted_in_the_network() -> None:
    graph = encoder(12)
    nested = placed(example_plan("nested"), graph, (4, 6), 0)
    found = counted(nested, graph)
    assert (found.exits, found.tiers) == ((4, 6, 12), (4, 6, 12))
    by_hand, inferred = (
        tabulate(model, nested, Facts(graph)) for model in (Dimec(GAMMA, layers=(4, 6, 12)), Dimec(GAMMA))
    )
    assert np.array_equal(by_hand.table, inferred.table)


@pytest.mark.parametrize(("inner", "blocks"), [(1, 4), (2, 5), (3, 5)])
def test_a_block_counts_once_all_of_it_has_run(inner: int, blocks: int) -> None:
    graph = encoder(12)
    plan = placed(example_plan("split"), graph, (4, 6), inner)
    assert counted(plan, graph).exits == (4, blocks, 6, 12)
    table = tabulate(Dimec(GAMMA), plan, Facts(graph)).table
    assert table[0, 1] == pytest.approx(6 + 2.5 + blocks - 4)


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ((4, 6), "expected 3 numbers that do not fall"),
        ((6, 4, 12), "expected 3 numbers that do not fall"),
        ((4, 6, 12), "the exit 'exit2' lies inside tier 'edge'"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(DispatchError, match=sentence):
        tabulate(Dimec(GAMMA, layers=layers), example_plan("split"))


def test_without_layers_or_network_it_says_what_to_give() -> None:
    with pytest.raises(DispatchError, match="layers=4/6/12"):
        tabulate(Dimec(GAMMA), example_plan())
    graph = encoder(2)
    unnumbered = graph.model_copy(
        update={"layers": tuple(x.model_copy(update={"module": "body"}) for x in graph.layers)}
    )
    with pytest.raises(DispatchError, match="has no numbered blocks"):
        tabulate(Dimec(GAMMA), example_plan(), Facts(unnumbered))


def renamed(names: tuple[str, ...]) -> Plan:
    plan = example_plan("nested")
    tiers = [plan.tiers[0].model_copy(update={"name": name}) for name in names]
    return plan.model_copy(update={"tiers": tuple(tiers), "hops": (), "exits": ()})


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (("mobile", "edge", "cloud"), ("mobile", "edge", "cloud")),
        (("edge", "cloud"), ("edge", "cloud")),
        (("mobile", "edge"), ("mobile", "edge")),
        (("phone", "server"), ("mobile", "cloud")),
        (("a", "b", "c"), ("mobile", "edge", "cloud")),
        (("cloud", "edge"), ("mobile", "cloud")),
        (("here",), ("cloud",)),
    ],
)
def test_roles_come_from_names_or_else_from_places(names: tuple[str, ...], roles: tuple[str, ...]) -> None:
    assert tier_roles(renamed(names)) == roles


def test_more_than_three_tiers_are_refused() -> None:
    with pytest.raises(DispatchError, match="the plan has 4 tiers"):
        tier_roles(renamed(("a", "b", "c", "d")))


def test_what_a_user_types_becomes_a_cost_model() -> None:
    model = cost_model("dimec", gamma=14.14, layers="4/6/12")
    assert isinstance(model, Dimec)
    assert (model.gamma, model.scale, model.layers, model.baseline) == (14.14, 1.0, (4, 6, 12), "all-cloud")
    typed = cost_model("dimec:gamma=18,lambda=0.01,baseline=all-mobile")
    assert isinstance(typed, Dimec)
    assert (typed.gamma, typed.scale, typed.baseline) == (18.0, 0.01, "all-mobile")
    assert cost_model("price=google-cloud-functions").unit == "USD"
    assert cost_model("latency", gamma=None).unit == "s"


def test_shared_options_reach_the_models_that_know_them() -> None:
    latency, dimec = cost_models(["latency", "dimec"], {"gamma": 18.0, "lambda": None})
    assert isinstance(latency, Latency)
    assert isinstance(dimec, Dimec)
    assert dimec.gamma == 18.0


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("latncy", {}, "unknown cost model 'latncy'; did you mean latency"),
        ("latency", {"gamma": 3.0}, "the option 'gamma' is not known to the cost model latency: leave it out"),
        ("price=gogle-cloud-functions", {}, "did you mean google-cloud-functions"),
        ("dimec:gama=3", {}, "did you mean gamma"),
        ("dimec=x", {}, "gamma is 'x', expected a number"),
        ("dimec=3:layers=4/six", {}, "layers is 'six', expected a whole number"),
        ("dimec=3:baseline=all-clouds", {}, "did you mean all-cloud"),
        ("dimec=3", {"gamma": 4.0}, "gives the option 'gamma' a second value"),
        ("dimec=3:price=aws-lambda", {}, "use the cost model 'price'"),
    ],
)
def test_what_cannot_be_is_one_sentence(text: str, options: dict[str, float], sentence: str) -> None:
    with pytest.raises(EdgepartError) as caught:
        cost_model(text, **options)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
