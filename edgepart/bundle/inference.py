"""Batches through a bundle: who is sure leaves at an exit, the others go on together as a smaller batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepart.bundle.answers import require_fits
from edgepart.bundle.bundle import Bundle
from edgepart.bundle.part import BundlePart
from edgepart.data.dataset import Dataset
from edgepart.dispatch.base import CostTable, Decisions, Outcome, Policy, State
from edgepart.dispatch.temperature import ScaledPolicy
from edgepart.dispatch.trace import Floats, log_softmax, not_finite
from edgepart.errors import DataError
from edgepart.frameworks import rows
from edgepart.frameworks.base import Arrays
from edgepart.progress import progress
from edgepart.training.order import by_length, lengths

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """What a bundle answers to N samples, each at its own position.

    Attributes:
        logits: (N, C) float32, of the exit where each sample left, as it gives them
        entry, exit: (N,) the tier it entered at and the exit it left at, indices into the plan's
        computed: tier → how many samples each of its stages was run on
        temperatures: (K,) of the exits, where the policy has them
    """

    logits: NDArray[np.float32]
    entry: Indices
    exit: Indices
    computed: Mapping[str, tuple[int, ...]]
    temperatures: NDArray[np.float64] | None = None

    @property
    def labels(self) -> Indices:
        """(N,) the class answered."""
        found: Indices = self.logits.argmax(axis=1)
        return found

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, C) at the exit where each sample left, as the policy saw them: by temperatures where it has them."""
        seen: Floats = self.logits
        if self.temperatures is not None:
            seen = seen.astype(np.float64) / self.temperatures[self.exit, None]
        return np.exp(log_softmax(seen)).astype(np.float64)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(N,) the largest probability: that of the class answered."""
        found: NDArray[np.float64] = self.probabilities.max(axis=1)
        return found

    @property
    def decisions(self) -> Decisions:
        return Decisions(self.entry, self.exit)


def infer(bundle: Bundle, arrays: Arrays, policy: Policy | None = None, *, costs: CostTable | None = None) -> Answers:
    """Answer a batch: the policy decides where each sample enters and leaves, and only those that go on are computed.

    A tensor out of which single samples cannot be taken (one with a dimension such as ``2*batch``) keeps the batch
    together until no stage reads it any more; the answers are the same. Under ``split`` a sample that enters above the
    first tier passes the exits below without being asked; under ``nested`` every tier starts from the network's inputs.
    A policy that adapts is told how the samples fared, in order, when the batch is done; with one sample at a time it
    decides as in :func:`edgepart.dispatch.layout.walk`.

    Args:
        arrays: the network's inputs by name, batch first where the network has it so
        policy: by default the one that the bundle keeps (:attr:`Bundle.policy`)
        costs: (T, K) told to a policy that adapts; nan without, but for the bundle's own, which has them

    Raises:
        BundleError: no policy is given, and the bundle keeps none.
        GraphError: an input is missing, or has another dtype or shape than the network takes.
        TrainingError: a logit is NaN or infinite; names exit and sample.
        DispatchError: the policy cannot decide without labels.
    """
    policy, costs = _chosen(bundle, policy, costs)
    return _Batch(bundle, arrays, policy).run(costs)


def _chosen(bundle: Bundle, policy: Policy | None, costs: CostTable | None) -> tuple[Policy, CostTable | None]:
    """What was given, or what the bundle keeps."""
    if policy is not None:
        return policy, costs
    return bundle.policy, bundle.chosen.table(bundle) if costs is None else costs


def infer_all(
    bundle: Bundle,
    dataset: Dataset,
    policy: Policy | None = None,
    *,
    batch_size: int = 32,
    costs: CostTable | None = None,
) -> Answers:
    """:func:`infer` over a data set, batch by batch; answers keep its order.

    Raises:
        BundleError: as :func:`infer`.
        DataError: the data set is empty or has other classes than the bundle, or the batch size is below 1.
        TrainingError, DispatchError: as :func:`infer`.
    """
    require_fits(bundle, dataset)
    policy, costs = _chosen(bundle, policy, costs)
    batches, found = batches_for(policy, dataset, batch_size), []
    with progress(f"answering {dataset.source}", len(dataset)) as advance:
        for indices in batches:
            found.append(_Batch(bundle, dataset.batch(indices), policy, indices).run(costs))
            advance(len(indices))
    return joined(found, batches)


def batches_for(policy: Policy, dataset: Dataset, batch_size: int) -> list[Indices]:
    """Batches of all samples: of about one length, or in order for a policy to which the order matters.

    Raises:
        DataError: the batch size is below 1.
    """
    if batch_size < 1:
        raise DataError(f"the batch size is {batch_size}, expected at least one sample")
    size = lengths(dataset.samples) if policy.order_free else np.zeros(len(dataset), np.int64)
    return by_length(size, batch_size)


def joined(found: Sequence[Answers], batches: Sequence[Indices]) -> Answers:
    """The answers to all samples from those to batches of them; the batches hold every index once."""
    back = np.argsort(np.concatenate(batches))
    return Answers(
        logits=np.concatenate([one.logits for one in found])[back],
        entry=np.concatenate([one.entry for one in found])[back],
        exit=np.concatenate([one.exit for one in found])[back],
        computed={
            tier: tuple(sum(counts) for counts in zip(*(one.computed[tier] for one in found), strict=True))
            for tier in found[0].computed
        },
        temperatures=found[0].temperatures,
    )


class _Batch:
    """Samples on their way, by their positions in the batch.

    Args:
        numbers: what the samples are called in messages; their positions without
    """

    def __init__(self, bundle: Bundle, arrays: Arrays, policy: Policy, numbers: Indices | None = None) -> None:
        self._bundle, self._temperatures = bundle, None
        if isinstance(policy, ScaledPolicy):
            # the logits are at hand: nothing is lost of them
            self._temperatures, policy = policy.temperatures, policy.policy
        self._policy, self._learns = policy, type(policy).observe is not Policy.observe
        self._reads = self._learns and policy.uses_probabilities
        self._inputs = dict(zip(bundle.signature.input_names, bundle.signature.checked(arrays), strict=True))
        self._layout = bundle.layout
        count = rows.count(bundle.signature.inputs, self._inputs)
        self._everyone = np.arange(count)
        self._numbers = self._everyone if numbers is None else numbers
        self._embeddings = np.empty((count, 0), dtype=np.float32)
        if policy.uses_embedding:
            self._embeddings = bundle.embed(self._inputs)
        self._entry = policy.admit_batch(self._embeddings, State())
        firsts = {tier: self._layout.first_exit(tier) for tier in set(self._entry.tolist())}
        self._groups = sorted(set(firsts.values()))
        #: the exit that each sample meets first, and the one where it left; -1 as long as it goes on
        self._first = np.array([firsts[tier] for tier in self._entry.tolist()])
        self._left = np.full(count, -1)
        self._logits = np.empty((count, len(bundle.classes)), dtype=np.float32)
        self._probabilities = np.empty((count, len(bundle.exits), len(bundle.classes)))

    def run(self, costs: CostTable | None) -> Answers:
        """All parts in turn, until everybody has left."""
        computed = {tier: [0] * len(part.manifest.stages) for tier, part in self._bundle.parts.items()}
        held, known = self._everyone, self._inputs
        for tier, part in self._bundle.parts.items():
            if self._bundle.plan.deployment == "nested":
                held, known = self._everyone, self._inputs
            reach = self._reach(part)
            for number, stage in enumerate(part.manifest.stages):
                going_on = ((self._left < 0) & (self._first <= reach)).nonzero()[0]
                if not len(going_on):
                    break
                held, known = self._narrowed(part.needed(number), held, known, going_on)
                computed[tier][number] = len(held)
                known = known | part.step(number, known)
                if stage.exit is not None:
                    self._ask(self._bundle.exits.index(stage.exit), held, known[stage.exit], len(going_on))
        self._tell(costs)
        counts = {tier: tuple(each) for tier, each in computed.items()}
        return Answers(self._logits, self._entry, self._left, counts, self._temperatures)

    def _reach(self, part: BundlePart) -> int:
        """The exit by which a sample has to have entered, if the part is to run on it."""
        if self._bundle.plan.deployment == "split":
            return self._layout.final
        return self._bundle.exits.index(part.exits[-1])

    def _narrowed(
        self, names: set[str], held: Indices, known: Mapping[str, NDArray[np.generic]], wanted: Indices
    ) -> tuple[Indices, dict[str, NDArray[np.generic]]]:
        """The samples that the arrays hold, and the arrays: those of the names, of the wanted samples if possible."""
        kept = {name: known[name] for name in names if name in known}
        if len(wanted) == len(held):
            return held, kept
        specs = {name: self._bundle.graph.tensor(name) for name in kept}
        if not all(map(rows.selectable, specs.values())):
            return held, kept
        places = np.searchsorted(held, wanted)
        return wanted, {name: rows.select(specs[name], array, places) for name, array in kept.items()}

    def _ask(self, exit_index: int, held: Indices, logits: NDArray[np.generic], going_on: int) -> None:
        """Let the samples that meet an exit leave there, if the policy says so; so many of those held are going on.

        Numpy is called as little as may be: with few samples that is what deciding takes.
        """
        asked, said = held, logits.astype(np.float32, copy=False)
        if going_on < len(held) or exit_index < self._groups[-1]:
            meets = (self._left[held] < 0) & (self._first[held] <= exit_index)
            asked, said = held[meets], said[meets]
            if not len(asked):
                return
        finite = np.isfinite(said)
        if not finite.all():
            wrong = asked[~finite.all(axis=1)][0]
            raise not_finite(self._bundle.exits[exit_index], int(self._numbers[wrong]))
        leaves = self._asked(exit_index, asked, self._seen(exit_index, said))
        self._left[asked[leaves]] = exit_index
        self._logits[asked[leaves]] = said[leaves]

    def _asked(self, exit_index: int, asked: Indices, seen: Floats) -> NDArray[np.bool_]:
        """Who leaves. Keeps what the exit says where it is looked at again, at later exits or to learn from it."""
        alone, final = len(asked) == 1, exit_index == self._layout.final
        if final:
            leaves = np.ones(len(asked), dtype=np.bool_)
        elif alone:
            met = self._probabilities[asked[0], self._first[asked[0]] : exit_index]
            leaves = np.array([self._policy.leaves(exit_index, seen[0], State(earlier=tuple(met)))])
        if not (final or alone) or self._reads or not leaves.all():
            self._probabilities[asked, exit_index] = np.exp(log_softmax(seen))
        return leaves if final or alone else self._leaving(exit_index, asked)

    def _seen(self, exit_index: int, said: NDArray[np.float32]) -> Floats:
        """The logits as the policy sees them, in the precision that :meth:`Trace.scaled` gives them."""
        return said if self._temperatures is None else said.astype(np.float64) / self._temperatures[exit_index]

    def _leaving(self, exit_index: int, asked: Indices) -> NDArray[np.bool_]:
        """Who of the samples asked leaves at an exit but the last; those that have met the same are asked together."""
        if len(self._groups) == 1:
            met = self._probabilities[asked, self._groups[0] : exit_index + 1]
            return self._policy.at_exit_batch(exit_index, met, State())
        leaves = np.empty(len(asked), dtype=np.bool_)
        for first in self._groups:
            group = self._first[asked] == first
            if group.any():
                met = self._probabilities[asked[group], first : exit_index + 1]
                leaves[group] = self._policy.at_exit_batch(exit_index, met, State())
        return leaves

    def _tell(self, costs: CostTable | None) -> None:
        """Tell a policy that adapts what became of the samples, in order."""
        if not self._learns:
            return
        for sample, (tier, left) in enumerate(zip(self._entry.tolist(), self._left.tolist(), strict=True)):
            met = self._probabilities[sample, self._first[sample] : left + 1] if self._reads else np.empty((1, 0))
            cost = float("nan") if costs is None else float(costs[tier, left])
            self._policy.observe(Outcome(self._embeddings[sample], tier, left, met[-1], cost, tuple(met[:-1])))
