"""The policy that a bundle answers by: a strategy at one setting, as it was chosen on the bundle's validation data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from edgepart.dispatch import options
from edgepart.dispatch.base import CostTable, Policy, Setting, Strategy
from edgepart.dispatch.temperature import ScaledPolicy
from edgepart.errors import BundleError
from edgepart.files import Document

if TYPE_CHECKING:
    from edgepart.bundle.bundle import Bundle

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ChosenPolicy(Document):
    """``policy.json``: what was chosen, and what it was chosen with.

    What the strategy learns is not kept: it learns it again from the validation trace of the bundle, which gives the
    same, and nothing that a file holds is ever executed.
    """

    kind: ClassVar[str] = "policy"

    #: as ``--strategy`` takes it, with its options
    strategy: str
    #: name of the setting, and its values
    setting: str
    values: dict[str, float | int | str]
    #: exit → what its logits are divided by, learnt on validation; empty: they are taken as they are
    temperatures: dict[str, Positive] = Field(default_factory=dict)
    #: tier → exit → cost of a sample that enters and leaves there, which the strategy learns by
    costs: dict[str, dict[str, FiniteFloat]]
    #: sha256 of the validation trace that it was chosen on
    validation: str = Field(pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        strategy: Strategy,
        setting: Setting,
        costs: CostTable,
        temperatures: NDArray[np.float64] | None = None,
    ) -> Self:
        """What was chosen on the bundle's validation trace, scaled by the temperatures (K,) if there are any.

        Args:
            strategy: one that its name makes again
            costs: (T, K) that it was fitted with

        Raises:
            UnknownName: no strategy is registered by that name, so that no file could name it.
        """
        options.strategy(strategy.name)
        return cls(
            strategy=strategy.name,
            setting=setting.label,
            values=dict(setting.values),
            temperatures={} if temperatures is None else dict(zip(bundle.exits, temperatures.tolist(), strict=True)),
            costs={
                tier: {name: cost for name, cost in zip(bundle.exits, row, strict=True) if np.isfinite(cost)}
                for tier, row in zip(bundle.plan.tier_names, costs.tolist(), strict=True)
            },
            validation=bundle.validation_sha256,
        )

    def require_of(self, bundle: Bundle) -> None:
        """Check that it was chosen on that bundle.

        Raises:
            BundleError: it has other validation data, tiers or exits.
        """
        exits, tiers = list(bundle.exits), list(bundle.plan.tier_names)
        fits = list(self.temperatures) in ([], exits) and list(self.costs) == tiers
        fits &= all(set(row) <= set(exits) for row in self.costs.values())
        if not fits or self.validation != bundle.validation_sha256:
            raise BundleError(
                f"the policy ('{self.strategy}' at {self.setting}) was chosen on another bundle than {bundle.path}: "
                "choose one with 'edgepart choose'"
            )

    def table(self, bundle: Bundle) -> CostTable:
        """(T, K) costs, infinite where there is no way."""
        return np.array([[row.get(name, np.inf) for name in bundle.exits] for row in self.costs.values()], np.float64)

    def policy(self, bundle: Bundle) -> Policy:
        """A fresh policy: the strategy fitted again, at the setting, by the temperatures.

        Raises:
            BundleError: it was chosen on another bundle, or the strategy has no such setting.
            DispatchError: the strategy cannot learn from the bundle, or has another option now.
        """
        self.require_of(bundle)
        found = np.array(list(self.temperatures.values()), np.float64)
        made = options.strategy(self.strategy)
        made.fit(bundle.validation.scaled(found) if self.temperatures else bundle.validation, self.table(bundle))
        try:
            policy = made.policy(Setting(self.setting, tuple(self.values.items())))
        except (LookupError, TypeError, ValueError):
            raise BundleError(
                f"'{self.strategy}' has no setting with the values {self.values}: choose one with 'edgepart choose'"
            ) from None
        return ScaledPolicy(policy, found) if self.temperatures else policy
