"""The answer and the headline of ``docs/results/dispatch.md``: over all tasks and costs."""

from collections.abc import Iterator, Sequence

from dispatch_cases import GOAL, OURS, PAPERS, SEEDS, Case, Tally, goal, kept, recommended, strategies
from dispatch_format import between, capital, marked, mean, points_of, share, signed, spanned, table

from edgepart.evaluation.runs_report import Outcome
from edgepart.units import percent


def short_answer(every: Sequence[Case]) -> Iterator[str]:
    """What to use, and the counts that say so."""
    reference = every[0].record.reference
    tallies = sorted((Tally.of(name, every) for name in strategies(every)), key=Tally.rank)
    rivals = [tally for tally in tallies if tally.name != reference]
    own = Tally.of(reference, every)
    best = recommended(tallies, reference, every[0].drop)
    simple = (
        f"saves {percent(mean(own.savings))} on average ({between([percent(x, 0) for x in own.savings])}), accuracy "
        f"{signed(mean(own.changes))} points ({between([signed(x) for x in own.changes])})"
    )
    if best == own:
        yield (
            f"- **In short: `{reference}`**, the simple threshold: over {count(every)} it {simple}. No strategy that "
            "is nowhere shown worse at equal cost saves more with the accuracy kept."
        )
    else:
        yield (
            f"- **In short: `{best.name}`.** Of the strategies that are nowhere shown worse than a `{reference}` "
            f"cascade at equal cost, it saves most with the accuracy kept: {percent(mean(best.savings))} on average "
            f"over {count(every)}, accuracy {signed(mean(best.changes))} points."
        )
        yield f"- **The simple threshold**, `{reference}`, {simple}."
    yield from one_tier(every)
    better = [tally for tally in rivals if tally.better and not tally.worse]
    if better:
        named = "; ".join(f"`{x.name}` ({x.better} of {x.compared}, {signed(x.mean_gap)} points)" for x in better)
        yield f"- **Better at equal cost somewhere, shown worse nowhere**: {named}."
    else:
        yield f"- **No strategy is better than `{reference}` somewhere and worse nowhere**, at equal cost."
    worse = [tally for tally in rivals if tally.worse > tally.better]
    if worse:
        named = "; ".join(f"`{x.name}` ({x.worse} of {x.compared}, {signed(x.mean_gap)} points)" for x in worse)
        yield f"- **Worse more often than better**: {named}."
    yield from versus(every, OURS, PAPERS)
    yield from versus(every, OURS, reference)
    yield from versus(every, SEEDS, reference)
    yield from promise(every)
    yield f"- **The goal**, more than {percent(GOAL, 0)} saved: {goal_sentence(every)}\n"
    yield (
        f"Against a `{reference}` cascade that costs the same, over {count(every)} (best first; saved and change: "
        f"means at ≤ {points_of(every[0].drop)} points lost on validation):\n"
    )
    rows = [
        (
            f"`{x.name}`{'' if len(x.savings) == len(every) else f' ({len(x.savings)} cases)'}",
            *((str(x.better), str(x.compared - x.better - x.worse), str(x.worse)) if x.compared else ("", "", "")),
            signed(x.mean_gap) if x.compared else "",
            percent(mean(x.savings)),
            signed(mean(x.changes)),
        )
        for x in tallies
    ]
    yield from table(("strategy", "better", "no difference shown", "worse", "points", "saved", "change, points"), rows)


def one_tier(every: Sequence[Case]) -> Iterator[str]:
    """Where sending all samples to one tier saves as much as the reference with the accuracy kept."""
    reference = every[0].record.reference
    found = [(one, case) for case in every if (one := case.outcome("fixed-tier")) is not None]
    enough = [case for one, case in found if one.saving.mean > 0 and one.against[reference].saving.verdict != "worse"]
    if enough:
        yield (
            "- **Ask first whether one tier will do**: with the accuracy kept on validation, all samples on the same "
            f"tier save no less than `{reference}` in {len(enough)} of {len(found)} cases ({places(enough)})."
        )


def versus(every: Sequence[Case], first: str, second: str) -> Iterator[str]:
    """How often one saves more than another at the settings chosen on validation, and what of the accuracy."""
    found = [
        (against, case)
        for case in every
        if (one := case.outcome(first)) and (against := one.against.get(second)) is not None
    ]
    if not found:
        return
    verdicts = [against.saving.verdict for against, _ in found]
    gap = [against.saving.mean for against, _ in found]
    right = [against.accuracy.verdict for against, _ in found]
    yield (
        f"- **{capital(named(first))} against {named(second)}**: saves more in {verdicts.count('better')} of "
        f"{len(found)}, less in {verdicts.count('worse')} ({signed(mean(gap))} points of cost on average); its "
        f"accuracy is higher in {right.count('better')}, lower in {right.count('worse')}."
    )


def promise(every: Sequence[Case]) -> Iterator[str]:
    """What the strategies that promise an accuracy kept and saved, and how much settings that were only tried did."""
    drop, reference = every[0].drop, every[0].record.reference
    for name in [name for name in strategies(every) if name.startswith("controlled")]:
        outcomes = [one for case in every if (one := case.outcome(name)) is not None]
        yield (
            f"- **An accuracy that is promised** (`{name}`, ≤ {points_of(drop)} points): could be promised and saved "
            f"something in {kept_in(every, name)}; saves {percent(mean([one.saving.mean for one in outcomes]))} on "
            f"average. With thresholds of `{reference}` that were only tried on validation it could be had in "
            f"{kept_in(every, reference)}."
        )


def kept_in(every: Sequence[Case], name: str) -> str:
    """In how many runs a setting saved on validation, and in how many of these it lost no more on test than allowed."""
    runs: dict[str, list[tuple[bool, bool]]] = {case.task.task: [] for case in every}
    for case in every:
        one = case.outcome(name)
        if one is not None:
            # a setting that sends all samples to the full model promises, but saves nothing
            found = zip(one.settings, one.validation_saving.seeds, one.change.seeds, strict=True)
            runs[case.task.task] += [
                (setting is not None and saved > 1e-9, change >= -case.drop - 1e-9) for setting, saved, change in found
            ]
    chosen = {task: [kept for some, kept in found if some] for task, found in runs.items()}
    total, all_kept = sum(map(len, chosen.values())), sum(map(sum, chosen.values()))
    text = f"{total} of {sum(map(len, runs.values()))} runs, and was kept on test in {all_kept} of these"
    broken = [f"{task} {sum(kept)} of {len(kept)}" for task, kept in chosen.items() if not all(kept)]
    return f"{text} ({', '.join(broken)})" if broken else text


def headline(every: Sequence[Case]) -> Iterator[str]:
    """Cost saved by ours, the papers', the reference and the oracle, and whether the goal is reached."""
    drop, reference = every[0].drop, every[0].record.reference
    columns = (OURS, PAPERS, SEEDS, reference, "oracle")
    yield f"## Cost saved at ≤ {points_of(drop)} points lost\n"
    yield (
        "Saved (interval), and below it the change of accuracy on test in points. Bold: the most that is saved with "
        "the accuracy kept on test, too, the oracle apart.\n"
    )
    rows = []
    for case in every:
        outcomes = [case.outcome(name) for name in columns]
        best = max((one.saving.mean for one in outcomes[:-1] if one and kept(case, one)), default=None)
        cells = [
            headline_cell(one, bold=name != "oracle" and kept(case, one) and one.saving.mean == best > 0) if one else ""
            for name, one in zip(columns, outcomes, strict=True)
        ]
        against = outcomes[0].against.get(PAPERS) if outcomes[0] else None
        paired = marked(against.saving) if against else ""
        rows.append((case.task.task, case.cost.label, *cells, paired, goal(case)))
    head = ("task", "cost", *map(named, columns), "ours less the papers', points", f"> {percent(GOAL, 0)}")
    yield from table(head, rows)
    yield f"More than {percent(GOAL, 0)} saved: {goal_sentence(every)}\n"


def headline_cell(one: Outcome, bold: bool) -> str:
    saved = percent(one.saving.mean)
    return f"{f'**{saved}**' if bold else saved} ({spanned(one.saving, share)})<br>{signed(one.change.mean)}"


def goal_sentence(every: Sequence[Case]) -> str:
    found = [(goal(case), case) for case in every]
    possible = [(verdict, case) for verdict, case in found if verdict and verdict != "out of reach"]
    if not possible:
        return "the oracle itself does not save as much in any case."
    reached = [case for verdict, case in possible if verdict.startswith("reached")]
    lines = [f"reached by ours in {len(reached)} of the {len(possible)} cases where the oracle saves as much"]
    for verdict, text in (
        ("saved, accuracy in doubt", "saved with more accuracy lost on test than allowed, by chance perhaps,"),
        ("saved, accuracy lost", "saved with more accuracy lost on test than allowed"),
        ("missed", "missed"),
    ):
        missing = [case for found_verdict, case in possible if found_verdict == verdict]
        if missing:
            lines.append(f"{text} in {len(missing)} ({places(missing)})")
    return ", ".join(lines) + "."


def named(name: str) -> str:
    """A group as it is called in the text, a strategy as code."""
    return name if " " in name or name == SEEDS or name == "oracle" else f"`{name}`"


def count(every: Sequence[Case]) -> str:
    names = {(id(case.record), case.task.task) for case in every}
    # "SST-2 (phrases)": the networks of SST-2 on other samples
    again = sorted(name for record, name in names if (record, name.split(" (")[0]) in names and " (" in name)
    tasks = len(names) - len(again)
    twice = "".join(f", {name.split(' (')[0]} on two sets of test samples" for name in again)
    return f"{len(every)} case{'s' if len(every) > 1 else ''} ({tasks} task{'s' if tasks > 1 else ''} × costs{twice})"


def places(every: Sequence[Case]) -> str:
    """Cases by their tasks."""
    by_task: dict[str, list[str]] = {}
    for case in every:
        by_task.setdefault(case.task.task, []).append(case.cost.label)
    return "; ".join(f"{task}: {', '.join(labels)}" for task, labels in by_task.items())
