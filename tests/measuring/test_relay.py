"""The shaped relay: its schedule exactly, on a clock that is made up; its sockets by ratios, generously."""

import contextlib
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.errors import MeasurementError
from edgepart.measuring import framing
from edgepart.measuring.relay import Bottleneck, Relay, Shape
from edgepart.testing.hardware import example_link


@contextlib.contextmanager
def echo(answer=True):
    """A server that sends back what it gets, or takes it and confirms the whole of it when the sender is done."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=handle, args=(client,), daemon=True).start()

    def handle(client):
        with client, contextlib.suppress(OSError):
            count = 0
            while chunk := client.recv(1 << 16):
                count += len(chunk)
                if answer:
                    client.sendall(chunk)
            if not answer:
                client.sendall(str(count).encode())

    threading.Thread(target=serve, daemon=True).start()
    with listening:
        yield listening.getsockname()[:2]
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def shape(rate=8e6, delay=0.0, **more):
    return Shape(rate, rate, delay, **more)


def test_a_piece_takes_its_bytes_and_the_delay():
    line = Bottleneck(8e6, shape(delay=0.1))
    # 1 MB/s: a second for a million bytes, the next one waits behind it, a later one does not
    assert line.arrival(1_000_000, 10.0, 0.0) == pytest.approx(11.1)
    assert line.arrival(500_000, 10.0, 11.1) == pytest.approx(11.6)
    assert line.arrival(1_000, 20.0, 11.6) == pytest.approx(20.101)


@given(st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 0.1)), min_size=1), st.floats(0, 0.05))
def test_nothing_overtakes_and_nothing_is_faster_than_the_link(pieces, jitter):
    line, now, arrival, sent = Bottleneck(8e6, shape(delay=0.02, jitter_s=jitter)), 0.0, 0.0, 0
    for size, pause in pieces:
        now += pause
        earlier, arrival = arrival, line.arrival(size, now, arrival)
        sent += size
        assert arrival >= earlier
        assert arrival >= sent / 1e6 + max(0.0, 0.02 - jitter) - 1e-9
        # at the latest when everything waits behind everything
        assert arrival <= now + sent / 1e6 + 0.02 + jitter + 1e-9


def test_a_full_queue_says_how_long_it_stays_so():
    line = Bottleneck(8e6, shape(queue_bytes=1000))
    assert line.full_s(0.0) == 0.0
    line.arrival(3000, 0.0, 0.0)
    assert line.full_s(0.0) == pytest.approx(0.002)
    assert line.full_s(0.0025) == 0.0


def test_pieces_are_short_in_time_but_hold_a_segment():
    assert Bottleneck(1e6, shape()).piece_bytes == 1448
    assert Bottleneck(200e6, shape()).piece_bytes == 12500


def exchange(address, size):
    """Seconds until so many bytes have come back."""
    with socket.create_connection(address) as connection:
        connection.settimeout(20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        connection.sendall(bytes(size))
        left = size
        while left:
            left -= len(connection.recv(left))
        return time.perf_counter() - start


def least_of(address, size, runs=5):
    """A relay is never faster than its link, and on a machine that is busy often slower."""
    return min(exchange(address, size) for _ in range(runs))


def test_delay_and_rate_are_those_asked_for():
    with echo() as target:
        with Relay(target, shape(1e9, 0.02)) as relay:
            assert 1.0 <= least_of(relay.address, 1) / 0.04 < 1.3
        # 100 kB up at 40 Mbit/s take 20 ms, and a piece later they begin to come back at 20 Mbit/s, which takes 40 ms
        with Relay(target, Shape(40e6, 20e6)) as relay:
            assert 0.95 < least_of(relay.address, 100_000) / 0.0405 < 1.3
        with Relay(target, shape(80e6)) as fast, Relay(target, shape(20e6)) as slow:
            assert 2.5 < least_of(slow.address, 200_000) / least_of(fast.address, 200_000) < 4.6


def test_a_queue_with_a_limit_makes_the_sender_wait():
    def is_taken_at_once(queue_bytes, patience_s):
        # more than the system's buffers hold, and minutes at the link's rate
        limited = shape(1e6, queue_bytes=queue_bytes)
        with (
            echo(answer=False) as target,
            Relay(target, limited) as relay,
            socket.create_connection(relay.address) as connection,
        ):
            connection.settimeout(patience_s)
            try:
                connection.sendall(bytes(64_000_000))
            except TimeoutError:
                return False
            return True

    assert is_taken_at_once(None, 100)
    assert not is_taken_at_once(1 << 14, 2)


def test_the_end_of_a_stream_arrives_after_its_last_byte_and_the_answer_comes_back():
    with (
        echo(answer=False) as target,
        Relay(target, shape(50e6, 0.01)) as relay,
        socket.create_connection(relay.address) as connection,
    ):
        connection.settimeout(20)
        connection.sendall(bytes(123_456))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"123456"
        assert connection.recv(100) == b""


def test_closing_a_relay_ends_its_connections_at_once():
    with echo() as target:
        relay = Relay(target, shape(1e6, 30.0)).__enter__()
        with socket.create_connection(relay.address) as connection:
            connection.settimeout(5)
            connection.sendall(bytes(100_000))
            time.sleep(0.05)
            start = time.perf_counter()
            relay.close()
            relay.close()
            assert time.perf_counter() - start < 5
            with contextlib.suppress(ConnectionError):
                assert connection.recv(1) == b""
        with pytest.raises(MeasurementError, match="refuses"):
            framing.connect(*relay.address, 1.0)


def test_a_target_that_is_gone_closes_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()[:2]
    with Relay(address, shape()) as relay, socket.create_connection(relay.address) as connection:
        connection.settimeout(5)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""


def test_a_link_becomes_its_rates_and_half_of_its_round_trip():
    link = example_link(1e6, 0.05, up_bits_per_s=2e6)
    assert Shape.of(link) == Shape(2e6, 1e6, 0.025)


@pytest.mark.parametrize("wrong", [{"up_bits_per_s": 0}, {"delay_s": -1}, {"jitter_s": -1}, {"queue_bytes": 0}])
def test_what_no_link_can_be(wrong):
    with pytest.raises(MeasurementError):
        Shape(**{"up_bits_per_s": 1e6, "down_bits_per_s": 1e6} | wrong)
