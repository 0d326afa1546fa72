"""Write ``docs/results/dispatch.md`` and its figures from the records of runs in ``docs/results/dispatch``.

``python docs/generate_dispatch.py``; a test fails when the page is stale. The records are what
``edgepart.evaluation.runs.compare_runs`` gives; every sentence is computed from them by the rules that the page states.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dispatch_answer import headline, named, short_answer
from dispatch_cases import GOAL, OURS, PAPERS, SEEDS, Case, cases, kept, of_group, standing, strategies
from dispatch_figure import draw
from dispatch_format import (
    between,
    folded,
    hundredths,
    marked,
    points_of,
    share,
    signed,
    slug,
    spanned,
    spread,
    table,
)
from dispatch_shift import shift

from edgepart.evaluation.runs_report import RunsReport, TaskReport
from edgepart.files import read_json
from edgepart.units import percent

DOCS = Path(__file__).resolve().parent
RECORDS = DOCS / "results" / "dispatch"
PAGE = DOCS / "results" / "dispatch.md"
SHIFT = DOCS.parent / "benchmarks" / "results" / "shift.json"
#: start of a task's name → what it is reported with besides the accuracy
MEASURES = {"CoLA": ("matthews", "MCC"), "MRPC": ("f1", "F1"), "QQP": ("f1", "F1")}
HEAD = """\
<!-- Written by docs/generate_dispatch.py from the records in docs/results/dispatch; do not edit. -->
# Which strategy to use

Computed from the runs below by fixed rules, nothing is written by hand. All settings are chosen on validation data.
"""

RULES = """\
## How to read this

- **Saved**: cost of a sample less than in the full model, as a share of it. **Change**: accuracy less the full model's.
  Both are of test samples, at the cheapest setting whose accuracy on the *validation* samples is at most {drop} points
  below the full model's. On test it may have lost more: that is what *change* shows.
- **At equal cost**: accuracy less that of a `{reference}` cascade which costs the same, mean over the operating points
  of the strategy. It does not hang on one chosen setting. Both may mix settings by lot, the full model among them.
- A strategy **beats a simple threshold** (`{reference}`) if it is better at equal cost, or saves more and its accuracy
  is not shown to be lower; without being worse in the other.
- **±** is the standard deviation over seeds, the figure before it their mean. A seed without a setting that keeps the
  accuracy, at no more than the full model's cost, is left to the full model and counts as nothing saved (*none* tells
  how many). A *run* is a seed under one cost.
- **Intervals** hold 95 % ({resamples:,} resamples). Every resample draws the test samples again, the same ones for all
  strategies and seeds, and the seeds too (the pigeonhole bootstrap, Owen 2007). With three seeds the part of the seeds
  is a rough one: an interval reaches to about the worst and the best of them. *better* and *worse*: the interval does
  not hold 0; else *no difference shown*. There is no correction for the number of comparisons: of twenty without any
  difference, one is shown on average. The costs of one task share its samples.
- **{ours}** and **{papers}**: in every run the member that saved most on that run's *validation* samples, so that being
  the best of several is no advantage on test. (Who saved most in a table, or is named first above, is read off the test
  samples, and a little of that is luck.) Ours are {own}; the papers' are {others}, all with any options that stand in
  the tables. **{seeds}** is the better of {cartography} on validation.
- `fixed-tier` sends every sample to one tier, `random` draws it; drawing between fixed tiers **by lot** is what any
  router must beat. The `oracle` sees the labels: a ceiling.
"""


def load() -> list[RunsReport]:
    """The records, by the names of their files."""
    found = [path for path in sorted(RECORDS.glob("*.json")) if read_json(path).get("kind") == "edgepart.runs"]
    return [RunsReport.load(path) for path in found]


def page(records: Sequence[RunsReport] | None = None) -> str:
    """The page as Markdown."""
    found = load() if records is None else records
    every = cases(found)
    lines = [HEAD]
    if every:
        lines += [*short_answer(every), *headline(every), rules(found)]
    lines += [line for record in found for task in record.tasks for line in section(record, task)]
    if SHIFT.exists():
        lines += shift(read_json(SHIFT))
    return "\n".join([*lines, *made(found)])


def rules(records: Sequence[RunsReport]) -> str:
    first = records[0]
    groups = {name: ", ".join(f"`{member}`" for member in members) for name, members in first.groups.items()}
    return RULES.format(
        drop=points_of(first.drops[0]),
        reference=first.reference,
        resamples=first.resamples,
        ours=named(OURS),
        papers=named(PAPERS),
        seeds=SEEDS,
        own=groups.get(OURS, "none"),
        others=groups.get(PAPERS, "none"),
        cartography=groups.get(SEEDS, "none"),
    )


def section(record: RunsReport, task: TaskReport) -> Iterator[str]:
    """One task: who wins, the plain statements, the figure, and a table a cost."""
    own = [Case(record, task, cost) for cost in task.costs]
    yield f"## {task.task}\n"
    validation = " / ".join(f"{size:,}" for size in dict.fromkeys(task.validation_samples))
    yield (
        f"{task.network}, {task.deployment}; {len(task.seeds)} seed{'s' if len(task.seeds) > 1 else ''} "
        f"({', '.join(map(str, task.seeds))}); {task.samples:,} test samples, settings chosen on {validation}. "
        f"Accuracy if all leave there: {', '.join(f'{x.name} {spread(x.accuracy)}' for x in task.exits)}.\n"
    )
    for case in own:
        yield f"- {winner(case)}"
    yield from plain_statements(own)
    yield from (f"- {warning}." for warning in task.warnings)
    yield ""
    yield f"![saved by strategy on {task.task}](dispatch/{slug(task.task)}.svg)\n"
    yield (
        f"Means over seeds and 95 % intervals at ≤ {points_of(record.drops[0])} points lost on validation; hollow "
        f"where more was lost on test. The solid line is `{record.reference}`, the dashed one {percent(GOAL, 0)}.\n"
    )
    for number, case in enumerate(own):
        yield from folded(f"{case.cost.label}: {case.cost.description}", strategy_table(case), number == 0)


def winner(case: Case) -> str:
    """Who saves most on test among the strategies that kept the accuracy there, beside the reference."""
    names = strategies([case])
    own = [one for one in case.outcomes() if one.strategy in names and kept(case, one)]
    text = f"**{case.cost.label}**: "
    if not own:
        return text + f"no strategy kept the accuracy on test within {points_of(case.drop)} points."
    best = max(own, key=lambda one: (round(one.saving.mean, 3), one.strategy == case.record.reference))
    if best.saving.mean <= 0:
        return f"{text}no strategy saves anything with the accuracy kept on test."
    text += (
        f"most saved with the accuracy kept on test, too: `{best.strategy}`, {percent(best.saving.mean)} "
        f"({spanned(best.saving, share)})"
    )
    against = best.against.get(case.record.reference)
    if against is None:
        return text + "."
    saved, reference = against.saving, case.record.reference
    detail = f"{spanned(saved, signed)}; {saved.verdict}"
    return f"{text}, {signed(saved.mean)} points of cost against `{reference}` ({detail})."


def plain_statements(own: Sequence[Case]) -> Iterator[str]:
    """Where DIMEC-DC's method and the other papers' do not beat a simple threshold, or a lot."""
    record = own[0].record
    names = [name for name in strategies(own) if any(of_group(record, name, group) for group in (SEEDS, PAPERS))]
    found = {name: [standing(case, name) for case in own] for name in names}
    losing = [name for name in names if not {"better", "mixed"} & set(found[name])]
    seeds = [name for name in losing if of_group(record, name, SEEDS)]
    for name in seeds:
        gaps = [gap for case in own if (gap := case.equal(name)) is not None]
        detail = f" (at equal cost {between([signed(gap.mean) for gap in gaps])} points)" if gaps else ""
        yield f"- **`{name}` does not beat a simple threshold here**, under any of the costs{detail}."
    rest = [name for name in losing if name not in seeds]
    if rest:
        start = "Neither do" if seeds else "A simple threshold is not beaten by"
        yield f"- {start} {', '.join(f'`{name}`' for name in rest)}."
    for verdict, start in (
        ("better", "A simple threshold is beaten by"),
        ("mixed", "Better in one way, worse in another"),
    ):
        where = [(name, labels) for name in names if (labels := under(own, found[name], verdict))]
        if where:
            yield f"- {start}: {'; '.join(f'`{name}` ({labels})' for name, labels in where)}."
    for name in [name for name in names if of_group(record, name, SEEDS)]:
        drawn = [gap for case in own if (gap := case.equal(name, "fixed-tier")) is not None]
        if drawn and not any(gap.verdict == "better" for gap in drawn):
            detail = between([signed(gap.mean) for gap in drawn])
            yield f"- **`{name}` is no better than tiers drawn by lot** at equal cost ({detail} points)."


def under(own: Sequence[Case], found: Sequence[str], verdict: str) -> str:
    """The costs with that verdict."""
    return ", ".join(case.cost.label for case, one in zip(own, found, strict=True) if one == verdict)


def strategy_table(case: Case) -> Iterator[str]:
    """All strategies under one cost."""
    full = case.cost.full_model
    measure = next((found for start, found in MEASURES.items() if case.task.task.startswith(start)), None)
    yield (
        f"Full model: {spread(full.accuracy)}, {case.cost_text(full.cost.mean)} a sample"
        + (f", {measure[1]} {hundredths(full.measures[measure[0]])}" if measure else "")
        + ".\n"
    )
    reference = case.record.reference
    head = ["strategy", "accuracy", *([measure[1]] if measure else []), "change, points", "cost", "saved"]
    head += [f"saved against `{reference}`, points", f"at equal cost against `{reference}`, points"]
    head += ["at equal cost against tiers by lot, points", "none"]
    rows = []
    for one in sorted(case.outcomes(), key=lambda each: -each.saving.mean):
        against = one.against.get(reference)
        gap, drawn = case.equal(one.strategy), case.equal(one.strategy, "fixed-tier")
        rows.append(
            (
                f"`{one.strategy}`",
                spread(one.accuracy),
                *([hundredths(one.measures[measure[0]])] if measure else []),
                f"{signed(one.change.mean)} ({spanned(one.change, signed)})",
                case.cost_text(one.cost.mean),
                f"{spread(one.saving)} ({spanned(one.saving, share)})",
                marked(against.saving) if against else "",
                marked(gap) if gap else "",
                marked(drawn) if drawn else "",
                f"{one.fallbacks} of {len(one.settings)}" if one.fallbacks else "",
            )
        )
    yield from table(head, rows)


def made(records: Sequence[RunsReport]) -> Iterator[str]:
    """Commands, machines, dates and versions."""
    yield "## How it was made\n"
    yield "`python docs/generate_dispatch.py` writes this page from the records in `docs/results/dispatch`.\n"
    for record in records:
        from_ = record.provenance
        machine = ", ".join(f"{key} {value}" for key, value in from_.machine.items())
        packages = ", ".join(f"{key} {value}" for key, value in from_.packages.items())
        tasks = ", ".join(f"{task.task} (seeds: {', '.join(map(str, task.seeds))})" for task in record.tasks)
        yield f"- {tasks}: `{from_.command}`; {from_.date}, edgepart {from_.edgepart}, {machine}; {packages}"
    yield ""


if __name__ == "__main__":
    for record in load():
        for task in record.tasks:
            (RECORDS / f"{slug(task.task)}.svg").write_text(draw(record, task), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
