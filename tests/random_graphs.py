"""Random graphs for property tests: shared tensors, several outputs a layer, several inputs, constants, masks."""

from __future__ import annotations

from hypothesis import strategies as st

from edgepart.graph import Graph
from edgepart.testing.graphs import make_graph


@st.composite
def graphs(draw: st.DrawFn, most_layers: int = 7, odd: bool = True) -> Graph:
    """A DAG of up to ``most_layers`` layers with one or two inputs.

    ``odd`` ones may have layers that read nothing and tensors of no bytes.
    """
    inputs = {f"x{i}": draw(st.integers(1, 9)) for i in range(draw(st.integers(1, 2)))}
    known, layers = list(inputs), []
    for index in range(draw(st.integers(1, most_layers))):
        name = f"l{index}"
        # mostly recent tensors, so that chains and residual blocks occur as well as wide networks
        reads = draw(st.lists(st.sampled_from(known[-4:]), max_size=3, unique=True))
        if not reads and not odd:
            reads = [known[-1]]
        made = {f"{name}:{i}": draw(st.integers(1 - odd, 9)) for i in range(draw(st.sampled_from([1, 1, 1, 2])))}
        known += made
        layers.append((name, reads, made))
    names = [name for name, _, _ in layers]
    pool = {"p0": draw(st.integers(1, 9)), "p1": draw(st.integers(1, 9))}
    parameters = {
        name: {p: pool[p] for p in draw(st.lists(st.sampled_from(["p0", "p1"]), max_size=1))}
        | {f"{name}.weight": draw(st.integers(0, 9))}
        for name in names
    }
    unread = [t for _, _, made in layers for t in made if all(t not in reads for _, reads, _ in layers)]
    also = draw(st.lists(st.sampled_from([t for _, _, made in layers for t in made]), max_size=1))
    return make_graph(
        layers,
        inputs,
        parameters=parameters,
        workspace={name: draw(st.integers(0, 4)) for name in names},
        outputs=list(dict.fromkeys([*unread, *also])),
        masks=frozenset(draw(st.lists(st.sampled_from([t for _, _, made in layers for t in made]), max_size=1))),
    )
