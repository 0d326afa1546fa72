"""Parts of ONNX networks, node by node: what many slices compute alike is computed once.

Sessions of all parts at every boundary of a graph of a thousand nodes take ONNX Runtime longer than all the rest. Here
a session runs one node, and its results are kept for the same operation on the same arrays and weights: not equal ones,
the very ones. What a slice wires or holds otherwise than those before it is computed anew, and then differs from what
the network itself answers in one session.
"""

import numpy as np
import onnx_ir as ir

from edgepart.frameworks.onnx.session import open_session

#: what control flow holds; no network of the zoo has any
GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
#: bytes of results that are kept; then all are forgotten
KEPT_BYTES = 1 << 30


class NodeByNode:
    """Runs the nodes of slices one after another."""

    def __init__(self):
        #: operation and identities of what it reads → results, and all that was identified, which must live as long
        self._made = {}
        self._bytes = 0

    def run(self, part, arrays):
        """What a part's model makes of arrays, by the names of its outputs.

        Raises:
            AssertionError: the model has other inputs or outputs than the part says, takes other types, or gives a
                name twice.
            KeyError: a node reads what is neither given nor held nor made before it.
        """
        graph = part.model.graph
        assert [value.name for value in graph.inputs] == list(part.inputs), "the model has other inputs than the part"
        assert [value.name for value in graph.outputs] == list(part.outputs), "the model makes other tensors"
        known = {value: value.const_value for value in graph.initializers.values()}
        for value in graph.inputs:
            array = arrays[value.name]
            assert value.dtype == ir.DataType.from_numpy(array.dtype), f"'{value.name}' is {array.dtype}"
            known[value] = array
        for node in graph:
            read = [None if value is None else known[value] for value in node.inputs]
            known |= zip(node.outputs, self._results(node, read, graph.opset_imports), strict=True)
        names = [value.name for value in known if value.name]
        assert len(set(names)) == len(names), "two values of the model have one name, so a file would confuse them"
        return {value.name: known[value] for value in graph.outputs}

    def _results(self, node, read, opsets):
        attributes = list(node.attributes.values())
        operation = (node.domain, node.op_type, node.overload, opsets[node.domain])
        named = tuple([bool(value.name) for value in node.outputs])
        key = (operation, named, *map(id, attributes), None, *map(id, read))
        if key not in self._made:
            results = computed(node, read, opsets)
            self._bytes += sum(array.nbytes for array in results if array is not None)
            if self._bytes > KEPT_BYTES:
                self._made.clear()
                self._bytes = 0
            self._made[key] = results, attributes, read
        return self._made[key][0]


def computed(node, read, opsets):
    """What ONNX Runtime makes of one node; None for results that it does not name.

    Args:
        read: for each input an array, a tensor of onnx_ir (a weight, which ONNX Runtime may lay out anew as it does in
            a whole network) or None
    """
    assert not any(attribute.type in GRAPHS for attribute in node.attributes.values()), f"'{node.name}' holds a graph"
    entries, weights, given = {}, [], {}
    for value in read:
        if value is None or id(value) in entries:
            continue
        entry = entries[id(value)] = ir.Value(name=f"input{len(entries)}")
        if isinstance(value, np.ndarray):
            entry.type = ir.TensorType(ir.DataType.from_numpy(value.dtype))
            given[entry.name] = value
        else:
            entry.const_value = value
            weights.append(entry)
    alone = ir.Node(
        node.domain,
        node.op_type,
        [None if value is None else entries[id(value)] for value in read],
        list(node.attributes.values()),
        overload=node.overload,
        num_outputs=len(node.outputs),
    )
    for value, made in zip(node.outputs, alone.outputs, strict=True):
        made.name = value.name
    named = [made for made in alone.outputs if made.name]
    fed = [entry for entry in entries.values() if entry.name in given]
    graph = ir.Graph(fed, named, nodes=[alone], initializers=weights, opset_imports=dict(opsets), name="alone")
    results = iter(open_session(ir.Model(graph, ir_version=10), fuse=False).run(None, given))
    return [next(results) if value.name else None for value in node.outputs]
