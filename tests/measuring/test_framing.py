"""What travels on a connection: arrays arrive as they were sent, and nonsense is one sentence."""

import json
import socket
import struct
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from edgepart.errors import MeasurementError
from edgepart.measuring import framing

NUMBERS = st.sampled_from(["float32", "float16", "int64", "uint8", "bool", "uint16", "float64", "int32"])
ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    NUMBERS.flatmap(lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4))),
    max_size=3,
)


@pytest.fixture
def ends():
    """Both ends of a connection, with short timeouts."""
    pair = socket.socketpair()
    for each in pair:
        each.settimeout(0.3)
    yield pair
    for each in pair:
        each.close()


@given(ARRAYS)
def test_arrays_arrive_as_they_were_sent(given_arrays):
    described, payload = framing.packed(given_arrays)
    back = framing.unpacked(json.loads(json.dumps(described)), bytearray(b"".join(payload)))
    assert list(back) == list(given_arrays)
    for name, array in given_arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_an_array_with_strides_arrives_in_order(ends):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2].T
    described, payload = framing.packed({"x": array})
    sent = framing.send(ends[0], {"arrays": described}, payload)
    header, received = framing.receive(ends[1])
    np.testing.assert_array_equal(framing.unpacked(header["arrays"], received)["x"], array)
    assert sent > array.nbytes


@pytest.mark.parametrize(
    ("described", "length", "message"),
    [
        ([{"name": "x", "dtype": "<f4", "shape": [3]}], 8, "does not hold"),
        ([{"name": "x", "dtype": "<f4", "shape": [2]}], 12, "12 bytes describes arrays of 8"),
        ([{"name": "x", "dtype": "O", "shape": [1]}], 8, "does not hold"),
        ([{"name": "x", "dtype": "<f4", "shape": [-1]}], 8, "does not hold"),
        ([{"name": "x"}], 8, "does not hold"),
        (["x"], 8, "does not hold"),
    ],
)
def test_a_header_that_lies_is_refused(described, length, message):
    with pytest.raises(MeasurementError, match=message):
        framing.unpacked(described, bytearray(length))


@pytest.mark.parametrize(
    ("bytes_sent", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n", "no endpoint of edgepart: its answer begins with b'HTTP'"),
        (struct.pack("!4sIQ", framing.MAGIC, 2, 1000) + b"{}", "announces a frame of 1002 bytes, at most 100"),
        (struct.pack("!4sIQ", framing.MAGIC, 1 << 30, 0), "announces a frame"),
        (struct.pack("!4sIQ", framing.MAGIC, 2, 0) + b"[]", "not a JSON object"),
        (struct.pack("!4sIQ", framing.MAGIC, 2, 0) + b"\xff\xff", "not a JSON object"),
        (struct.pack("!4sIQ", framing.MAGIC, 5, 0) + b"{}", "says nothing for 0.3 s"),
        (b"", "says nothing for 0.3 s"),
    ],
)
def test_nonsense_on_a_connection_is_one_sentence(ends, bytes_sent, message):
    ends[0].sendall(bytes_sent)
    with pytest.raises(MeasurementError, match=message) as caught:
        framing.receive(ends[1], most_payload_bytes=100)
    assert "\n" not in str(caught.value)


def test_an_end_between_frames_is_told_from_one_inside(ends):
    framing.send(ends[0], {"a": 1}, [b"123"])
    ends[0].sendall(struct.pack("!4sIQ", framing.MAGIC, 4, 0) + b"{}")
    ends[0].close()
    assert framing.receive(ends[1]) == ({"a": 1}, bytearray(b"123"))
    with pytest.raises(MeasurementError, match="in the middle of a frame"):
        framing.receive(ends[1])
    other, closed = socket.socketpair()
    closed.close()
    with other, pytest.raises(framing.Closed):
        framing.receive(other)


def test_a_payload_that_is_discarded_leaves_the_next_frame(ends):
    sender = threading.Thread(target=framing.send, args=(ends[0], {"n": 1}, [bytes(300_000)]))
    sender.start()
    frame = framing.announced(ends[1])
    framing.discard(ends[1], frame.payload_bytes)
    sender.join()
    framing.send(ends[0], {"n": 2})
    assert framing.receive(ends[1])[0] == {"n": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("edge:7000", ("edge", 7000)), ("10.0.0.1:1", ("10.0.0.1", 1)), ("[::1]:80", ("::1", 80)), ("edge", ("edge", 9))],
)
def test_addresses(text, expected):
    assert framing.address(text, 9) == expected


@pytest.mark.parametrize("text", ["", "edge", "edge:", "edge:70000", "edge:x", "::1:80", "a b:1", "http://edge:80/"])
def test_what_is_no_address(text):
    with pytest.raises(MeasurementError, match="HOST:PORT"):
        framing.address(text)
