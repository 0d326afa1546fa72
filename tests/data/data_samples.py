"""Graphs of networks' inputs, and a small tokenizer, for tests of data."""

from edgepart.graph import Graph, Layer, Tensor


def graph(**inputs):
    """A graph whose inputs have the given (dtype, shape without batch)."""
    tensors = tuple(
        Tensor(name=name, shape=("batch", *shape), dtype=dtype, bytes=4, consumers=("net",))
        for name, (dtype, shape) in inputs.items()
    )
    logits = Tensor(name="logits", shape=("batch", 2), dtype="float32", bytes=8, producer="net", feature=True)
    layer = Layer(name="net", module="", kind="net", ops=("net",), inputs=tuple(inputs), outputs=("logits",))
    return Graph(
        name="net",
        framework="torch",
        symbols={"batch": 1, "sequence": 8},
        layers=(layer,),
        tensors=(*tensors, logits),
        inputs=tuple(inputs),
        outputs=("logits",),
        parameters={},
    )


def token_graph(*names, length="sequence"):
    return graph(**dict.fromkeys(names, ("int64", (length,))))


WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "very", "##s", "!")


def vocabulary(folder):
    """A WordPiece vocabulary as BERT's ``vocab.txt``."""
    path = folder / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path
