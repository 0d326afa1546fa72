"""Record a bundle on labelled data: every exit's answer for every sample, whoever would have left earlier."""

from __future__ import annotations

from edgepart.bundle.answers import embed_all, record_logits, require_fits
from edgepart.bundle.bundle import Bundle
from edgepart.data.dataset import Dataset
from edgepart.dispatch.trace import Trace


def record(bundle: Bundle, dataset: Dataset, *, batch_size: int = 32) -> Trace:
    """Run the router and all parts of a bundle over a data set.

    Samples of about the same length share a batch; the trace keeps the order of the data set.

    Raises:
        DataError: the data set is empty or has other classes than the bundle.
        TrainingError: a logit is NaN or infinite; names exit and sample.
    """
    require_fits(bundle, dataset)
    logits = record_logits(bundle.parts, bundle.plan, dataset, batch_size)
    return Trace(
        logits=logits,
        labels=dataset.labels,
        embeddings=embed_all(bundle.embed, dataset, batch_size),
        exits=bundle.exits,
        exit_tiers=bundle.plan.exit_tiers,
        tiers=bundle.plan.tier_names,
        classes=bundle.classes,
    )
