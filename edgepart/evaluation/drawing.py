"""The plan drawn over the network, as SVG: tiers as bands, blocks of layers, exits as branches, hops with bytes."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Literal
from xml.etree.ElementTree import Element, SubElement

from edgepart.evaluation.drawing_layout import Block, Layout, lay_out
from edgepart.evaluation.drawing_routes import BLOCK, Box, branch, detour, lanes, step_down
from edgepart.evaluation.report_style import INK, LINE, MUTED, PAPER, tier_colour
from edgepart.graph import Graph
from edgepart.partitioning.plan import FINAL, Hop, Plan, PlannedExit, TierPlan
from edgepart.units import percent, seconds, size

# All lengths in SVG user units, one pixel at full size.
WIDTH = 560
#: blocks lie between these; connections that skip rows run to the left, exits branch off to the right
LEFT, RIGHT = 62, 408
EXIT_LEFT, EXIT_WIDTH = 432, 116
PITCH, HEADER, HOP, EDGE = 42.0, 34.0, 58.0, 14.0
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def draw_plan(graph: Graph, plan: Plan, accuracies: Mapping[str, float] | None = None, limit: int = 24) -> str:
    """An SVG file of the network with the plan's tiers, hops and exits.

    Args:
        graph: the network that was planned for
        plan: tiers, hops and exits to show
        accuracies: exit name → accuracy (0 … 1) to write beside it
        limit: about how many blocks the layers are grouped into

    Raises:
        PlanError: the plan is for another network.
    """
    plan.require(graph)
    layout = lay_out(graph, plan, limit)
    bands, height = _bands(plan, layout)
    boxes = _boxes(layout, bands)
    inputs = _inputs(layout)
    svg = _canvas(plan, height)
    for index, tier in enumerate(plan.tiers):
        _band(svg, tier, tier_colour(index), *bands[index])
    _edges(svg, layout, boxes, inputs)
    for name, box in inputs.items():
        _pill(svg, box, name, f"input {name}: {', '.join(map(str, graph.tensor(name).shape))}")
    for block, box in zip(layout.blocks, boxes, strict=True):
        _block(svg, graph, block, box)
    _exits(svg, graph, plan, layout, boxes, accuracies or {})
    for index, tier in enumerate(plan.tiers):
        _heading(svg, plan, tier, bands[index][0])
    for index, hop in enumerate(plan.hops):
        _hop(svg, plan, hop, sum(bands[index]))
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(svg, encoding="unicode") + "\n"


def _bands(plan: Plan, layout: Layout) -> tuple[list[tuple[float, float]], float]:
    """(top, height) of every tier's band, and the height of the whole."""
    top, bands = EDGE + BLOCK + 28.0, []
    for index in range(len(plan.tiers)):
        rows = layout.rows(index)
        height = HEADER + (rows * PITCH if rows else EDGE)
        bands.append((top, height))
        top += height + HOP
    return bands, top - HOP + EDGE


def _boxes(layout: Layout, bands: Sequence[tuple[float, float]]) -> list[Box]:
    before = list(itertools.accumulate((layout.rows(tier) for tier in range(len(bands))), initial=1))
    boxes = []
    for block in layout.blocks:
        left, width = _column(block.column, block.columns)
        top = bands[block.tier][0] + HEADER + block.row * PITCH
        boxes.append(Box(left, top, width, before[block.tier] + block.row, block.column == 0))
    return boxes


def _inputs(layout: Layout) -> dict[str, Box]:
    names = [name for name, readers in layout.readers.items() if readers]
    places = [_column(index, len(names)) for index in range(len(names))]
    return {
        name: Box(left, EDGE, width, 0, index == 0)
        for index, (name, (left, width)) in enumerate(zip(names, places, strict=True))
    }


def _column(index: int, columns: int) -> tuple[float, float]:
    """Left edge and width of a box among its neighbours; a single one is not drawn wider than it needs to be."""
    gap = 8
    width = min((RIGHT - LEFT - gap * (columns - 1)) / columns, 236)
    start = LEFT + (RIGHT - LEFT - columns * width - gap * (columns - 1)) / 2
    return start + index * (width + gap), width


def _canvas(plan: Plan, height: float) -> Element:
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height:g}",
            "width": str(WIDTH),
            "height": f"{height:g}",
            "role": "img",
            "aria-labelledby": "plan-title plan-description",
            "style": f"font-family: {FONT}; font-size: 12px",
        },
    )
    SubElement(svg, "title", {"id": "plan-title"}).text = _clean(f"Plan of the network {plan.network}")
    SubElement(svg, "desc", {"id": "plan-description"}).text = _clean(describe(plan))
    marker = SubElement(
        SubElement(svg, "defs"),
        "marker",
        {"id": "arrow", "viewBox": "0 0 8 8", "refX": "7", "refY": "4", "markerWidth": "6", "markerHeight": "6"}
        | {"orient": "auto-start-reverse"},
    )
    SubElement(marker, "path", {"d": "M0 0 L8 4 L0 8 z", "style": f"fill: {MUTED}"})
    return svg


def describe(plan: Plan) -> str:
    """The plan in words, for those who do not see the picture."""
    sentences = []
    for tier in plan.tiers:
        exits = ", ".join(
            name for name, place in zip(plan.exit_names, plan.exit_tiers, strict=True) if place == tier.name
        )
        sentences.append(
            f"{tier.name} ({tier.device.title}) runs {_count(len(tier.layers), 'layer')} in {_compute(tier)}"
            + (f", with exits {exits}" if exits else "")
        )
    sentences += [
        f"{size(hop.bytes)} travel from {hop.source} to {hop.target} in {seconds(hop.transfer_s)}" for hop in plan.hops
    ]
    sentences += [f"{tier.name} ({tier.device.title}) is left out" for tier in plan.left_out]
    return "; ".join(sentences) + "."


def _band(svg: Element, tier: TierPlan, colour: str, top: float, height: float) -> None:
    group = SubElement(svg, "g")
    SubElement(group, "title").text = _clean(f"{tier.name}: {tier.device.title}")
    frame = {"x": "4", "y": f"{top:g}", "width": str(WIDTH - 8), "height": f"{height:g}", "rx": "8"}
    SubElement(group, "rect", frame | {"style": f"fill: {colour}; fill-opacity: .13; stroke: {colour}"})


def _heading(svg: Element, plan: Plan, tier: TierPlan, top: float) -> None:
    facts = f"{_compute(tier)} · {size(plan.memory_bytes(tier))}" if tier.layers else "no layers of its own"
    if plan.deployment == "nested" and tier is not plan.tiers[0] and tier.layers:
        facts = f"starts afresh · {facts}"
    label = f"{tier.name} · {tier.device.title}"
    shown = _fit(label, WIDTH - 7 * len(facts) - 60, 7.2)
    # A chip, since connections may run behind it.
    chip = {"x": "4", "y": f"{top:g}", "width": f"{7.2 * len(shown) + 16:g}", "height": "24", "rx": "8"}
    colour = tier_colour(plan.tiers.index(tier))
    SubElement(svg, "rect", chip | {"style": f"fill: {PAPER}; stroke: {colour}"})
    _text(svg, 12, top + 16, shown, weight="600", title=label)
    _text(svg, WIDTH - EDGE, top + 17, facts, anchor="end")


def _hop(svg: Element, plan: Plan, hop: Hop, top: float) -> None:
    what = "the raw input, " if plan.deployment == "nested" and hop.bytes else ""
    label = f"{what}{size(hop.bytes)} in {seconds(hop.transfer_s)} · {hop.link.title}"
    if not hop.bytes:
        label = f"nothing travels · {hop.link.title}"
    passed = " and ".join(plan.passed_by(hop))
    if passed:
        label += f", past {passed}"
    title = f"{hop.source} to {hop.target}{f', past {passed}' * bool(passed)}: {', '.join(hop.tensors) or 'nothing'}"
    label = _fit(label, 330, 6.3)
    width = 6.3 * len(label) + 24
    group = SubElement(svg, "g")
    SubElement(group, "title").text = _clean(title)
    middle = (LEFT + RIGHT) / 2
    frame = {"x": f"{middle - width / 2:g}", "y": f"{top + 17:g}", "width": f"{width:g}", "height": "24", "rx": "12"}
    SubElement(group, "rect", frame | {"style": f"fill: {PAPER}; stroke: {MUTED}; stroke-dasharray: 4 3"})
    _text(group, middle, top + 33, label, anchor="middle")


def _edges(svg: Element, layout: Layout, boxes: list[Box], inputs: Mapping[str, Box]) -> None:
    """A line to the next row; a lane at the left, one per source, to rows further down."""
    sources = [(inputs[name], [boxes[i] for i in readers]) for name, readers in layout.readers.items() if readers]
    read_by: dict[int, list[Box]] = {}
    for start, stop in layout.edges:
        read_by.setdefault(start, []).append(boxes[stop])
    sources += [(boxes[start], targets) for start, targets in read_by.items()]
    far = [max((t.row for t in targets if t.row > source.row + 1), default=None) for source, targets in sources]
    taken = lanes([None if row is None else (source.row, row) for (source, _), row in zip(sources, far, strict=True)])
    step = min(8.0, 40 / max(1, *(lane or 0 for lane in taken)))
    group = SubElement(svg, "g", {"style": f"fill: none; stroke: {MUTED}; stroke-width: 1.2"})
    for (source, targets), lane in zip(sources, taken, strict=True):
        for target in targets:
            if target.row == source.row + 1:
                _line(group, step_down(source, target))
            else:
                _line(group, detour(source, target, LEFT - 10 - step * (lane or 0)))


def _line(group: Element, path: str) -> None:
    SubElement(group, "path", {"d": path, "marker-end": "url(#arrow)"})


def _block(svg: Element, graph: Graph, block: Block, box: Box) -> None:
    macs = sum(graph.layer(name).macs for name in block.layers)
    title = f"{block.label}: {_count(len(block.layers), 'layer')}, {macs / 1e6:.3g} M multiply-accumulates, "
    title += f"{size(graph.parameter_bytes(block.layers))} of parameters"
    group = SubElement(svg, "g")
    SubElement(group, "title").text = _clean(title)
    _frame(group, box, 5, f"fill: {PAPER}; stroke: {tier_colour(block.tier)}; stroke-width: 1.4")
    wide = box.width > 150
    count = f"×{len(block.layers)}" if len(block.layers) > 1 and wide else ""
    label = _fit(block.label, box.width - 16 - (30 if count else 0), 7)
    _text(group, box.left + 9 if wide else box.centre, box.middle + 4, label, anchor="start" if wide else "middle")
    if count:
        _text(group, box.left + box.width - 9, box.middle + 4, count, anchor="end", colour=MUTED)


def _pill(svg: Element, box: Box, label: str, title: str) -> None:
    group = SubElement(svg, "g")
    SubElement(group, "title").text = _clean(title)
    _frame(group, box, BLOCK / 2, f"fill: {PAPER}; stroke: {LINE}; stroke-width: 1.4")
    _text(group, box.centre, box.middle + 4, _fit(label, box.width - 18, 6.6), anchor="middle", colour=MUTED)


def _frame(group: Element, box: Box, radius: float, style: str) -> None:
    place = {"x": f"{box.left:g}", "y": f"{box.top:g}", "width": f"{box.width:g}", "height": str(BLOCK)}
    SubElement(group, "rect", place | {"rx": f"{radius:g}", "style": style})


def _exits(
    svg: Element, graph: Graph, plan: Plan, layout: Layout, boxes: list[Box], accuracies: Mapping[str, float]
) -> None:
    """A branch to the right from the block that makes the tensor which the exit's head reads."""
    shown: dict[int, int] = {}
    final = graph.tensor(graph.outputs[0]).producer or graph.layers[-1].name
    places = [(point.name, point, graph.tensor(point.tensor).producer) for point in plan.exits]
    for name, point, producer in [*places, (FINAL, None, final)]:
        index = layout.block_of(producer or graph.layers[0].name)
        box = boxes[index]
        top = box.top - 3 + 34 * shown.get(index, 0)
        shown[index] = shown.get(index, 0) + 1
        colour = tier_colour(plan.tier_names.index(point.tier if point else plan.final_tier))
        blocked = any(other.row == box.row and other.left > box.left for other in boxes)
        _exit(svg, box, blocked, top, name, point, colour, accuracies.get(name))


def _exit(
    svg: Element,
    box: Box,
    blocked: bool,
    top: float,
    name: str,
    point: PlannedExit | None,
    colour: str,
    accuracy: float | None,
) -> None:
    head = (point.head or "head not chosen yet") if point else "classifier"
    facts = [head, *([percent(accuracy)] if accuracy is not None else [])]
    group = SubElement(svg, "g")
    SubElement(group, "title").text = _clean(f"exit {name}: {', '.join(facts)}")
    path = branch(box, (EXIT_LEFT, top + 16), blocked)
    SubElement(group, "path", {"d": path, "style": f"fill: none; stroke: {colour}; stroke-width: 2"})
    place = {"x": str(EXIT_LEFT), "y": f"{top:g}", "width": str(EXIT_WIDTH), "height": "32", "rx": "16"}
    SubElement(group, "rect", place | {"style": f"fill: {PAPER}; stroke: {colour}; stroke-width: 2"})
    middle = EXIT_LEFT + EXIT_WIDTH / 2
    _text(group, middle, top + 14, _fit(name, EXIT_WIDTH - 20, 6.8), anchor="middle", weight="600", small=True)
    _text(
        group,
        middle,
        top + 26,
        _fit(" · ".join(facts), EXIT_WIDTH - 14, 5.1),
        anchor="middle",
        colour=MUTED,
        small=True,
    )


def _text(
    group: Element,
    x: float,
    y: float,
    text: str,
    *,
    anchor: Literal["start", "middle", "end"] = "start",
    weight: str = "400",
    colour: str = INK,
    small: bool = False,
    title: str = "",
) -> None:
    style = f"fill: {colour}; text-anchor: {anchor}; font-weight: {weight}" + ("; font-size: 10.5px" if small else "")
    element = SubElement(group, "text", {"x": f"{x:g}", "y": f"{y:g}", "style": style})
    element.text = _clean(text)
    if title and title != text:
        SubElement(element, "title").text = _clean(title)


def _fit(text: str, width: float, letter: float) -> str:
    """The text, its middle left out if letters of that mean width would not fit."""
    room = max(1, int(width / letter))
    if len(text) <= room:
        return text
    head = (room - 1) // 2
    return f"{text[:head]}…{text[len(text) - (room - 1 - head) :]}"


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _compute(tier: TierPlan) -> str:
    return seconds(tier.compute_s) + (" (estimate)" if tier.estimated else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
