"""Placement under memory limits, as a mixed-integer linear program solved by HiGHS through SciPy.

``y[v, k]`` is 1 when layer v lies on tier k or above; ``z[t, k]`` is 1 when tensor t crosses hop k. Latency is linear
in both, as in the minimum cut. Memory is exact too: in the topological order, what is alive on tier k while layer v
runs (:func:`edgepart.graph.peak_activation_bytes`) is, tensor by tensor, a maximum of such variables:

- made before v: alive while a reader at or after v is on tier k, and to the end if it crosses the hop out of k (or,
  made on k, leaves the network);
- made at or after v by a layer below k: alive if it crosses the hop into k.

If v is not on tier k, its row states what is alive between two layers of tier k, which never exceeds what is alive
during the next one, so that no row needs switching off. Tensors past their last reader enter through running sums,
which keeps the program linear in the size of the graph.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from edgepart.errors import InfeasiblePlan, PlanError
from edgepart.graph import Tensor
from edgepart.partitioning.pins import Windows
from edgepart.partitioning.placement_cost import describe_excess, evaluate, excess, uniform
from edgepart.partitioning.plan import Proof
from edgepart.partitioning.problem import Placement, Problem

METHOD = "minimum-cut with memory limits (MILP)"
#: HiGHS may overstep a row by a millionth of the limit. A placement that does is excluded by a row of its own (which
#: leaves the bound valid), and after so many of them all others below this share of the limit are looked for
MOST_EXCLUDED = 10
MARGIN = 1e-5
#: relative gap below which a solution is called optimal: the tolerance of the solver
OPTIMAL_GAP = 1e-6

#: a linear expression: variable → coefficient
Expression = dict[int, float]


def solve_within_limits(problem: Problem, window: Windows, time_limit_s: float) -> Placement:
    """The best placement that fits, with the solver's lower bound as proof.

    Raises:
        InfeasiblePlan: none fits; names the tiers that fall short in the placement that falls short least.
        PlanError: none was found in time, and none was excluded.
    """
    program = _Program(problem, window)
    answer = program.solve(time_limit_s)
    bound = answer.bound
    for _ in range(MOST_EXCLUDED):
        if answer.tier_of is None or not excess(problem, answer.tier_of):
            break
        program.exclude(answer.tier_of)
        answer = program.solve(time_limit_s)
        bound = max(bound, answer.bound)
    else:
        answer = _Program(problem, window, MARGIN).solve(time_limit_s)
    if answer.tier_of is not None and not excess(problem, answer.tier_of):
        return _proven(problem, answer.tier_of, bound)
    if answer.infeasible:
        return _least_excess(problem, window, bound, time_limit_s)
    return _any_that_fits(problem, window, bound, time_limit_s)


def _proven(problem: Problem, tier_of: dict[str, int], bound: float) -> Placement:
    latency = evaluate(problem, tier_of).latency_s
    bound = min(bound, latency)
    gap = (latency - bound) / latency if latency else 0.0
    status = "optimal" if gap <= OPTIMAL_GAP else "bound"
    return Placement(tier_of, Proof(status=status, method=METHOD, bound_s=bound, gap=gap))


def _least_excess(problem: Problem, window: Windows, bound: float, time_limit_s: float) -> Placement:
    answer = _Program(problem, window, minimise_excess=True).solve(time_limit_s)
    if answer.tier_of is None:
        raise InfeasiblePlan("no placement fits the memory limits: raise a limit")
    over = excess(problem, answer.tier_of)
    if not over:
        return _proven(problem, answer.tier_of, bound)
    raise InfeasiblePlan(
        f"no placement fits the memory limits: even in the one that falls short least, "
        f"{describe_excess(problem, over)}; raise the limit, unpin layers or add a tier"
    )


def _any_that_fits(problem: Problem, window: Windows, bound: float, time_limit_s: float) -> Placement:
    candidates = [uniform(problem, tier, window.lowest, window.highest) for tier in range(len(problem.tiers))]
    fitting = [tier_of for tier_of in candidates if not excess(problem, tier_of)]
    if not fitting:
        raise PlanError(
            f"no placement within the memory limits was found in {time_limit_s:g} s, nor shown not to exist: "
            "raise a limit, or pin layers to narrow the search"
        )
    return _proven(problem, min(fitting, key=lambda tier_of: evaluate(problem, tier_of).latency_s), bound)


@dataclass(frozen=True)
class _Answer:
    tier_of: dict[str, int] | None
    #: lower bound on the objective, in seconds
    bound: float
    infeasible: bool


class _Program:
    """The variables and rows. Costs are scaled to about 1000, memory to its limit, for the solver's tolerances."""

    def __init__(self, problem: Problem, window: Windows, margin: float = 0.0, minimise_excess: bool = False) -> None:
        self.problem, self.graph = problem, problem.graph
        self.top = len(problem.tiers) - 1
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.integral: list[int] = []
        self.objective: dict[int, float] = defaultdict(float)
        self.rows: list[tuple[Expression, float, float]] = []
        self.one = self._variable(1.0, 1.0)
        self.above = {
            (index, hop): self._variable(float(window.lowest[index] >= hop), float(window.highest[index] >= hop), 1)
            for index in range(len(self.graph.layers))
            for hop in range(1, self.top + 1)
        }
        self.crosses = {(t.name, hop): self._variable() for t in self._sent() for hop in range(1, self.top + 1)}
        self._order()
        known = min(
            evaluate(problem, uniform(problem, tier, window.lowest, window.highest)).latency_s
            for tier in range(len(problem.tiers))
        )
        self.cost_scale = 1000 / known if known > 0 else 1.0
        if not minimise_excess:
            self._latency()
        for index, tier in enumerate(problem.tiers):
            if tier.memory_limit_bytes is not None:
                limit = tier.memory_limit_bytes * (1 - margin)
                slack = {self._variable(upper=np.inf): -1.0} if minimise_excess else {}
                self.objective.update(dict.fromkeys(slack, max(limit, 1.0) / 1000))
                _Memory(self, index, limit, slack).add()

    # --- building -------------------------------------------------------------------------------------------------

    def _variable(self, lower: float = 0.0, upper: float = 1.0, integral: int = 0) -> int:
        self.lower.append(lower)
        self.upper.append(upper)
        self.integral.append(integral)
        return len(self.lower) - 1

    def new(self, upper: float = np.inf) -> int:
        """A continuous variable from zero."""
        return self._variable(0.0, upper)

    def row(self, expression: Expression, lower: float = -np.inf, upper: float = np.inf) -> None:
        self.rows.append((expression, lower, upper))

    def on(self, layer: int, tier: int) -> Expression:
        """1 when the layer is on the tier."""
        start = self.above[layer, tier] if tier else self.one
        return {start: 1.0} if tier == self.top else {start: 1.0, self.above[layer, tier + 1]: -1.0}

    def at_least(self, variable: int, expression: Expression) -> None:
        self.row(combine([({variable: 1.0}, 1.0), (expression, -1.0)]), lower=0.0)

    def _sent(self) -> list[Tensor]:
        return [tensor for tensor in self.graph.tensors if tensor.consumers]

    def _order(self) -> None:
        """Tiers in order, tensors upwards only, and a tensor crosses between its producer and its readers."""
        for index, parents in enumerate(self.graph.parents):
            for hop in range(1, self.top + 1):
                if hop < self.top:
                    self.at_least(self.above[index, hop], {self.above[index, hop + 1]: 1.0})
                for parent in parents:
                    self.at_least(self.above[index, hop], {self.above[parent, hop]: 1.0})
        for (name, hop), crossing in self.crosses.items():
            tensor = self.graph.tensor(name)
            for consumer in set(tensor.consumers):
                made = {} if tensor.producer is None else {self.above[self.graph.position[tensor.producer], hop]: -1.0}
                self.at_least(crossing, {self.above[self.graph.position[consumer], hop]: 1.0, **made})

    def _latency(self) -> None:
        for index, layer in enumerate(self.graph.layers):
            for tier, where in enumerate(self.problem.tiers):
                self._charge(self.on(index, tier), where.latency_s[layer.name])
        for hop, link in enumerate(self.problem.links, start=1):
            used = self.new(1.0)
            self._charge({used: 1.0}, link.round_trip_s)
            for tensor in self._sent():
                if tensor.bytes:
                    self._charge({self.crosses[tensor.name, hop]: 1.0}, 8 * tensor.bytes / link.up_bits_per_s)
                    self.at_least(used, {self.crosses[tensor.name, hop]: 1.0})

    def _charge(self, expression: Expression, cost_s: float) -> None:
        for variable, factor in expression.items():
            self.objective[variable] += factor * cost_s * self.cost_scale

    def exclude(self, tier_of: dict[str, int]) -> None:
        """Forbid this very placement."""
        differs: Expression = {}
        same = 0
        for (index, hop), variable in self.above.items():
            lies_above = tier_of[self.graph.layers[index].name] >= hop
            differs[variable] = -1.0 if lies_above else 1.0
            same += lies_above
        self.row(differs, lower=1.0 - same)

    # --- solving --------------------------------------------------------------------------------------------------

    def solve(self, time_limit_s: float) -> _Answer:
        """Run HiGHS."""
        costs = np.zeros(len(self.lower))
        for variable, cost in self.objective.items():
            costs[variable] = cost
        answer = milp(
            costs,
            integrality=np.array(self.integral),
            bounds=Bounds(np.array(self.lower), np.array(self.upper)),
            constraints=self._constraints(),
            options={"time_limit": time_limit_s, "mip_rel_gap": 0.0},
        )
        bound = answer.mip_dual_bound
        bound_s = max(0.0, float(bound) / self.cost_scale) if bound is not None and np.isfinite(bound) else 0.0
        if answer.x is None:
            return _Answer(None, bound_s, infeasible=answer.status == 2)
        tier_of = {
            layer.name: sum(round(answer.x[self.above[index, hop]]) for hop in range(1, self.top + 1))
            for index, layer in enumerate(self.graph.layers)
        }
        return _Answer(tier_of, bound_s, infeasible=False)

    def _constraints(self) -> list[LinearConstraint]:
        if not self.rows:
            return []
        entries = [(number, v, c) for number, (terms, _, _) in enumerate(self.rows) for v, c in terms.items()]
        numbers, variables, factors = zip(*entries, strict=True)
        matrix = csr_array((factors, (numbers, variables)), shape=(len(self.rows), len(self.lower)))
        return [LinearConstraint(matrix, [row[1] for row in self.rows], [row[2] for row in self.rows])]


class _Memory:
    """The rows that keep one tier within its limit, all divided by it."""

    def __init__(self, program: _Program, tier: int, limit: float, slack: Expression) -> None:
        self.program, self.graph, self.tier = program, program.graph, tier
        #: what rows are divided by, and their right-hand side
        self.unit, self.most, self.slack = max(limit, 1.0), limit / max(limit, 1.0), slack
        position = self.graph.position
        self.made = {t.name: -1 if t.producer is None else position[t.producer] for t in self.graph.tensors}
        self.readers = {t.name: sorted({position[name] for name in t.consumers}) for t in self.graph.tensors}

    def add(self) -> None:
        """One row for every moment: during each layer, and at the end."""
        parameters = self._equal(self._parameters())
        alive = self._alive()
        gone, coming = self._gone(), self._coming()
        for index, layer in enumerate(self.graph.layers):
            running = {v: c * layer.activation_bytes / self.unit for v, c in self.program.on(index, self.tier).items()}
            self._limit([parameters, running, alive[index], gone[index], coming[index]])
        self._limit([parameters, gone[-1]])

    def _limit(self, parts: Iterable[Expression]) -> None:
        self.program.row(combine([*((part, 1.0) for part in parts), (self.slack, 1.0)]), upper=self.most)

    def _equal(self, expression: Expression) -> Expression:
        """A variable that equals the expression, to keep rows short."""
        variable = self.program.new()
        self.program.row(combine([({variable: 1.0}, 1.0), (expression, -1.0)]), 0.0, 0.0)
        return {variable: 1.0}

    def _parameters(self) -> Expression:
        users: dict[str, list[int]] = defaultdict(list)
        for index, layer in enumerate(self.graph.layers):
            for name in set(layer.parameters):
                users[name].append(index)
        terms: list[tuple[Expression, float]] = []
        for name, layers in users.items():
            held = self.program.on(layers[0], self.tier)
            if len(layers) > 1:
                shared = self.program.new()
                for index in layers:
                    self.program.at_least(shared, self.program.on(index, self.tier))
                held = {shared: 1.0}
            terms.append((held, self.graph.parameters[name] / self.unit))
        return combine(terms)

    def _crossing(self, tensor: Tensor, hop: int) -> Expression:
        return {self.program.crosses[tensor.name, hop]: 1.0} if (tensor.name, hop) in self.program.crosses else {}

    def _stays(self, tensor: Tensor) -> Expression:
        """1 when the tensor is kept to the end of the part: it travels on, or leaves the network here."""
        ways = [self._crossing(tensor, self.tier + 1)]
        if tensor.producer is not None and tensor.name in self.graph.outputs:
            ways.append(self.program.on(self.graph.position[tensor.producer], self.tier))
        return self._maximum(ways)

    def _maximum(self, ways: Iterable[Expression]) -> Expression:
        ways = [way for way in ways if way]
        if len(ways) < 2:
            return ways[0] if ways else {}
        variable = self.program.new()
        for way in ways:
            self.program.at_least(variable, way)
        return {variable: 1.0}

    def _alive(self) -> list[Expression]:
        """During each layer, the tensors made before it that a layer at or after it may read."""
        terms: list[list[tuple[Expression, float]]] = [[] for _ in self.graph.layers]
        self.stays = {tensor.name: self._stays(tensor) for tensor in self.graph.tensors}
        for tensor in self.graph.tensors:
            later = self.stays[tensor.name]
            for reader in reversed(self.readers[tensor.name]):
                later = self._maximum([later, self.program.on(reader, self.tier)])
                before = max((r for r in self.readers[tensor.name] if r < reader), default=self.made[tensor.name])
                for index in range(before + 1, reader + 1):
                    terms[index].append((later, tensor.bytes / self.unit))
        return [combine(each) for each in terms]

    def _last(self, tensor: Tensor) -> int:
        return max([*self.readers[tensor.name], self.made[tensor.name]])

    def _gone(self) -> list[Expression]:
        """Before each layer (and at the end), the tensors past their last reader that stay."""
        newly: list[list[tuple[Expression, float]]] = [[] for _ in range(len(self.graph.layers) + 1)]
        for tensor in self.graph.tensors:
            if self.stays[tensor.name]:
                newly[self._last(tensor) + 1].append((self.stays[tensor.name], tensor.bytes / self.unit))
        return list(self._running(newly))

    def _coming(self) -> list[Expression]:
        """During each layer, the tensors made at or after it on a lower tier that have arrived already."""
        newly: list[list[tuple[Expression, float]]] = [[] for _ in self.graph.layers]
        for tensor in self.graph.tensors:
            if self.tier and tensor.producer is not None and tensor.consumers:
                newly[self.made[tensor.name]].append((self._crossing(tensor, self.tier), tensor.bytes / self.unit))
        return list(self._running(reversed(newly)))[::-1]

    def _running(self, newly: Iterable[list[tuple[Expression, float]]]) -> Iterator[Expression]:
        """The sum so far, in a fresh variable wherever something is added."""
        total: Expression = {}
        for terms in newly:
            if terms:
                total = self._equal(combine([(total, 1.0), *terms]))
            yield total


def combine(terms: Iterable[tuple[Expression, float]]) -> Expression:
    """The sum of expressions, each times a factor."""
    total: Expression = defaultdict(float)
    for expression, factor in terms:
        for variable, coefficient in expression.items():
            total[variable] += factor * coefficient
    return dict(total)
