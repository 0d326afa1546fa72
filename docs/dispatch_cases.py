"""What is said of runs in ``docs/results/dispatch.md``, and by which rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dispatch_format import mean

from edgepart.evaluation.runs_report import CostReport, Difference, Outcome, RunsReport, TaskReport
from edgepart.units import seconds, significant

#: a share of 1 that is to be saved wherever the oracle saves more
GOAL = 0.43
OURS, PAPERS, SEEDS = "best of ours", "best of the papers'", "DIMEC-DC"
YARDSTICKS = ("oracle", "fixed-tier", "random")


@dataclass(frozen=True)
class Case:
    """One task under one cost, and the record it stands in."""

    record: RunsReport
    task: TaskReport
    cost: CostReport

    @property
    def drop(self) -> float:
        return self.record.drops[0]

    def outcome(self, strategy: str) -> Outcome | None:
        return self.cost.outcome(strategy, self.drop)

    def outcomes(self) -> list[Outcome]:
        """Of strategies, without groups."""
        return [one for one in self.cost.outcomes if one.drop == self.drop and one.strategy not in self.record.groups]

    def equal(self, strategy: str, baseline: str | None = None) -> Difference | None:
        """Accuracy against another at equal cost."""
        pair = (strategy, baseline or self.record.reference)
        return next((x.difference for x in self.cost.at_equal_cost if (x.strategy, x.baseline) == pair), None)

    def cost_text(self, value: float) -> str:
        return seconds(value) if self.cost.unit == "s" else f"{significant(value)} {self.cost.unit}"


def cases(records: Sequence[RunsReport]) -> list[Case]:
    return [Case(record, task, cost) for record in records for task in record.tasks for cost in task.costs]


@dataclass(frozen=True)
class Tally:
    """A strategy over all cases that it was compared in."""

    name: str
    better: int
    worse: int
    gaps: tuple[float, ...]
    savings: tuple[float, ...]
    changes: tuple[float, ...]

    @classmethod
    def of(cls, name: str, every: Sequence[Case]) -> "Tally":
        equal = [found for case in every if (found := case.equal(name)) is not None]
        verdicts = [one.verdict for one in equal]
        outcomes = [found for case in every if (found := case.outcome(name)) is not None]
        return cls(
            name=name,
            better=verdicts.count("better"),
            worse=verdicts.count("worse"),
            gaps=tuple(one.mean for one in equal),
            savings=tuple(one.saving.mean for one in outcomes),
            changes=tuple(one.change.mean for one in outcomes),
        )

    @property
    def compared(self) -> int:
        return len(self.gaps)

    @property
    def mean_gap(self) -> float:
        return mean(self.gaps) if self.gaps else 0.0

    def rank(self) -> tuple[float, float]:
        """Best first: by how much more often better than worse, then by the mean difference."""
        return (-(self.better - self.worse) / max(self.compared, 1), -self.mean_gap)


def recommended(tallies: Sequence[Tally], reference: str, drop: float) -> Tally:
    """Of those tried in every case and nowhere shown worse than the reference, the one that saves most on average.

    Its accuracy must be kept on average; where none keeps it, the most accurate.
    """
    cases = max(len(tally.savings) for tally in tallies)
    fine = [x for x in tallies if len(x.savings) == cases and (not x.worse or x.name == reference)]
    kept = [tally for tally in fine if mean(tally.changes) >= -drop - 1e-9]
    # of equals, within a tenth of a point, the reference: it is the simplest
    figure = (lambda tally: tally.savings) if kept else (lambda tally: tally.changes)
    return max(kept or fine, key=lambda x: (round(mean(figure(x)), 3), x.name == reference))


def strategies(every: Sequence[Case]) -> list[str]:
    """All that could be deployed and are more than a fixed or drawn tier."""
    names = dict.fromkeys(one.strategy for case in every for one in case.outcomes())
    return [name for name in names if re.split("[:=]", name)[0] not in YARDSTICKS]


def goal(case: Case) -> str:
    """Whether ours save as much as is aimed at, with the accuracy that is to be kept."""
    own, ceiling = case.outcome(OURS), case.outcome("oracle")
    if own is None or ceiling is None:
        return ""
    if own.saving.mean > GOAL:
        if not kept(case, own):
            return "saved, accuracy in doubt" if own.change.interval[1] >= -case.drop else "saved, accuracy lost"
        return "reached" if own.saving.interval[0] > GOAL else "reached, not beyond chance"
    return "missed" if ceiling.saving.mean > GOAL else "out of reach"


def kept(case: Case, one: Outcome) -> bool:
    """Whether the accuracy on test lies no further below the full model's than was allowed on validation."""
    return one.change.mean >= -case.drop - 1e-9


def standing(case: Case, name: str) -> str:
    """Against the reference: ``better``, ``worse``, ``mixed`` or ``none`` shown.

    It may be better or worse at equal cost, and in what it saves: more counts with an accuracy not shown to be lower,
    less with one not shown to be higher.
    """
    gap, one = case.equal(name), case.outcome(name)
    verdicts = {gap.verdict} if gap else set()
    against = one.against.get(case.record.reference) if one else None
    if against and {against.saving.verdict, against.accuracy.verdict} != {"better", "worse"}:
        verdicts.add(against.saving.verdict)
    if {"better", "worse"} <= verdicts:
        return "mixed"
    return next((verdict for verdict in ("better", "worse") if verdict in verdicts), "none")


def of_group(record: RunsReport, name: str, group: str) -> bool:
    members = record.groups.get(group, ())
    return name in members or re.split("[:=]", name)[0] in members
