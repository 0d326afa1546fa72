"""Random graphs for property tests: shared tensors, several outputs a layer, several inputs, constants, masks."""

from __future__ import annotations

from hypothesis import strategies as st

from edgepart.graph import Graph, Layer, Tensor


def make_graph(
    layers: list[tuple[str, list[str], dict[str, int]]],
    inputs: dict[str, int],
    *,
    parameters: dict[str, dict[str, int]] | None = None,
    workspace: dict[str, int] | None = None,
    outputs: list[str] | None = None,
    masks: frozenset[str] = frozenset(),
    modules: dict[str, str] | None = None,
) -> Graph:
    """A graph from (layer, tensors read, tensors made with their bytes).

    ``parameters``: layer → name → bytes. ``workspace``: bytes a layer needs beside its outputs. ``outputs``: by
    default the tensors that nobody reads. ``masks``: tensors that are no features although made by a layer.
    """
    parameters, workspace, modules = parameters or {}, workspace or {}, modules or {}
    readers: dict[str, list[str]] = {}
    for name, reads, _ in layers:
        for tensor in dict.fromkeys(reads):
            readers.setdefault(tensor, []).append(name)

    def tensor(name: str, size: int, producer: str | None) -> Tensor:
        feature = producer is not None and name not in masks
        return Tensor(
            name=name,
            shape=("batch", size),
            dtype="float32" if feature else "int64",
            bytes=size,
            producer=producer,
            consumers=tuple(readers.get(name, ())),
            feature=feature,
        )

    tensors = [tensor(name, size, None) for name, size in inputs.items()]
    tensors += [tensor(name, size, layer) for layer, _, made in layers for name, size in made.items()]
    made_names = [name for _, _, made in layers for name in made]
    return Graph(
        name="random",
        framework="torch",
        symbols={"batch": 1},
        layers=tuple(
            Layer(
                name=name,
                module=modules.get(name, name),
                kind="Test",
                ops=("op",),
                inputs=tuple(dict.fromkeys(reads)),
                outputs=tuple(made),
                parameters=tuple(parameters.get(name, {})),
                macs=1,
                activation_bytes=sum(made.values()) + workspace.get(name, 0),
            )
            for name, reads, made in layers
        ),
        tensors=tuple(tensors),
        inputs=tuple(inputs),
        outputs=tuple(outputs if outputs is not None else [name for name in made_names if name not in readers]),
        parameters={name: size for each in parameters.values() for name, size in each.items()},
    )


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
