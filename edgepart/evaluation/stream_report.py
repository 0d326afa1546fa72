"""What strategies did before and after a stream changed domain, as a part of the report."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import FiniteFloat

from edgepart.dispatch.trace import Trace
from edgepart.evaluation.costs import Costs
from edgepart.evaluation.selection import StrategyCurve
from edgepart.evaluation.stream import Change, Course, Window, course, full_course
from edgepart.files import Record


class Stretch(Record):
    """Consecutive samples of a stream, start … stop - 1: share of right answers, mean cost, what it saves."""

    start: int
    stop: int
    accuracy: FiniteFloat
    cost: FiniteFloat
    #: 1 - cost / cost of the full model
    saving: FiniteFloat


class StreamCourse(Record):
    """One way to answer a stream: before the change, after it, right after it, and all along."""

    first: Stretch
    second: Stretch
    #: the first window after the change
    after: Stretch
    #: they begin anew at the change
    windows: tuple[Stretch, ...]


class StreamStrategy(StreamCourse):
    """A strategy on a stream, at a setting chosen on the validation data."""

    name: str
    setting: str
    allowed_drop: FiniteFloat
    deployable: bool = True
    #: samples of the stream up to each alarm of the drift detector; None where there is none
    alarms: tuple[int, ...] | None = None
    #: samples from the change to the first alarm after it; None where there was none
    delay: int | None = None

    def false_alarms(self, change: int) -> int:
        """Alarms before the change, where nothing had changed."""
        return sum(alarm <= change for alarm in self.alarms or ())


class StreamReport(Record):
    """A stream of two domains: every strategy at its chosen settings, the full model beside them."""

    #: what the data before and after the change are called
    sources: tuple[str, str]
    #: samples before the change, and of both
    change: int
    samples: int
    #: of a window
    window: int
    #: seed of the order within each domain; None for the order of the data
    shuffled: int | None = None
    full_model: StreamCourse
    strategies: tuple[StreamStrategy, ...]

    def chosen(self, allowed_drop: float) -> tuple[StreamStrategy, ...]:
        """The strategies at the settings chosen for that accuracy drop."""
        return tuple(entry for entry in self.strategies if entry.allowed_drop == allowed_drop)


def stream_report(curves: Sequence[StrategyCurve], stream: Trace, change: Change, costs: Costs) -> StreamReport:
    """The chosen settings of every strategy on a stream.

    Args:
        stream: as the curves were tested on
    """
    return StreamReport(
        sources=change.sources,
        change=change.at,
        samples=len(stream),
        window=change.window,
        shuffled=change.shuffled,
        full_model=StreamCourse(**_stretches(full_course(stream, costs), change, costs)),
        strategies=tuple(
            _strategy(curve, choice.index, choice.drop, stream, change, costs)
            for curve in curves
            for choice in curve.choices
            if choice.index is not None
        ),
    )


def _strategy(
    curve: StrategyCurve, index: int, allowed_drop: float, stream: Trace, change: Change, costs: Costs
) -> StreamStrategy:
    setting = curve.settings[index]
    taken = course(stream, curve.strategy.policy(setting), costs)
    after = [alarm - change.at for alarm in taken.alarms or () if alarm > change.at]
    return StreamStrategy(
        name=curve.name,
        setting=setting.label,
        allowed_drop=allowed_drop,
        deployable=curve.strategy.deployable,
        alarms=taken.alarms,
        delay=after[0] if after else None,
        **_stretches(taken, change, costs),
    )


def _stretches(taken: Course, change: Change, costs: Costs) -> dict[str, object]:
    """The fields of :class:`StreamCourse`."""
    return {
        "first": _stretch(taken.between(0, change.at), costs),
        "second": _stretch(taken.between(change.at, len(taken.right)), costs),
        "after": _stretch(taken.between(change.at, change.at + change.window), costs),
        "windows": tuple(_stretch(window, costs) for window in taken.windows(change.window, change.at)),
    }


def _stretch(window: Window, costs: Costs) -> Stretch:
    return Stretch(
        start=window.start,
        stop=window.stop,
        accuracy=window.accuracy,
        cost=window.cost,
        saving=1 - window.cost / costs.full_model if costs.full_model > 0 else 0.0,
    )
