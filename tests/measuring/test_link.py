"""Measuring a link: the fit on made-up transfers, both endpoints through the shaped relay, and who else may answer."""

import contextlib
import json
import random
import socket
import struct
import subprocess
import sys
import threading

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgepart.cli.main import main
from edgepart.errors import MeasurementError
from edgepart.hardware import catalogue
from edgepart.measuring import LinkServer, Relay, Shape, framing, measure_link
from edgepart.measuring.link_fit import Estimate, bits_per_s, jitter_s, sending_s


@pytest.fixture
def server():
    with LinkServer(port=0) as running:
        yield running


@given(st.floats(1e5, 1e10), st.floats(0, 1), st.integers(2, 6))
def test_the_rate_behind_exact_transfers(rate, constant, rounds):
    sizes = [rate * share for share in (0.01, 0.02, 0.03, 0.04)]
    found = bits_per_s([[(int(size), constant + 8 * int(size) / rate) for size in sizes]] * rounds)
    assert found.median == pytest.approx(rate, rel=1e-3)
    assert found.lower <= found.median <= found.upper
    assert found.runs == rounds


def test_stalled_transfers_do_not_spoil_the_rate():
    noise = random.Random(0)
    rounds = [[(size, 0.05 + 8 * size / 1e7) for size in (25_000, 50_000, 75_000, 100_000)] for _ in range(6)]
    for chosen in noise.sample(range(24), 5):
        size, taken = rounds[chosen // 4][chosen % 4]
        rounds[chosen // 4][chosen % 4] = (size, taken + noise.uniform(0.2, 2))
    assert bits_per_s(rounds).median == pytest.approx(1e7, rel=0.05)


def test_no_rate_where_size_changes_nothing():
    assert bits_per_s([[(1000, 0.1), (2000, 0.1)]]) is None
    assert bits_per_s([[(1000, 0.1)]]) is None


def test_estimates_and_jitter():
    assert Estimate.of([3.0]) == Estimate(median=3, lower=3, upper=3, runs=1)
    assert Estimate.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Estimate(median=3, lower=2, upper=4, runs=5)
    assert jitter_s([0.1]) == 0
    assert jitter_s([0.1, 0.3, 0.1]) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("taken", "expected", "left"),
    [
        ([0.001, 0.5], 0.001, 1),  # too short already
        ([0.5, 0.001, 0.02], 0.001, 1),  # the first one stalled
        ([0.03, 0.5, 0.02, 0.01], 0.02, 1),
        ([13.0, 0.02], 13.0, 1),  # no machine stalls for that long
    ],
)
def test_a_transfer_that_stalled_is_not_taken_for_a_long_one(taken, expected, left):
    assert sending_s(lambda: taken.pop(0), 0.01) == expected
    assert len(taken) == left


@pytest.mark.parametrize(("rate", "delay"), [(10e6, 0.005), (100e6, 0.02)])
def test_a_shaped_link_is_measured_as_it_is(server, rate, delay):
    with Relay(server.address, Shape(rate, 2 * rate, delay)) as relay:
        found = measure_link(*relay.address, budget_s=1.2)
    assert 0.9 < found.up_bits_per_s.median / rate < 1.1
    assert 0.9 < found.down_bits_per_s.median / (2 * rate) < 1.1
    assert 0.95 < found.round_trip_s.median / (2 * delay) < 1.3
    assert found.round_trip_s.runs >= 5
    link = found.link("mine")
    assert (link.name, link.basis) == ("mine", "measured")
    assert link.up_bits_per_s == pytest.approx(found.up_bits_per_s.median, rel=1e-4)
    assert found.date[:10] in link.source
    assert found.host in link.source


def test_jitter_is_noticed(server):
    with Relay(server.address, Shape(1e9, 1e9, 0.01, jitter_s=0.005)) as relay:
        shaken = measure_link(*relay.address, budget_s=1.5)
    with Relay(server.address, Shape(1e9, 1e9, 0.01)) as relay:
        steady = measure_link(*relay.address, budget_s=1.0)
    # both ways together change by 2 x 5 ms x 7/15 on average: half of it is 2.3 ms
    assert shaken.jitter_s > 0.001
    assert shaken.jitter_s > 1.3 * steady.jitter_s


def test_a_second_client_is_told_to_come_back(server):
    with framing.connect(*server.address, 2.0) as first:
        framing.send(first, {"edgepart": "link"})
        framing.receive(first)
        with pytest.raises(MeasurementError, match="another client: try again"):
            measure_link(*server.address, budget_s=0.2)
    found = None
    for _ in range(50):
        with contextlib.suppress(MeasurementError):
            found = measure_link(*server.address, budget_s=0.2)
            break
    assert found is not None


@pytest.mark.parametrize("wanted", [-1, 1 << 40, "many"])
def test_the_server_sends_no_more_than_it_should(server, wanted):
    with framing.connect(*server.address, 2.0) as client:
        framing.send(client, {"edgepart": "link", "send_bytes": wanted})
        header, payload = framing.receive(client)
        assert "at most" in header["error"]
        assert not payload


def test_nonsense_costs_a_client_its_connection_and_nothing_else(server):
    with socket.create_connection(server.address, timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert client.recv(100) == b""
    assert measure_link(*server.address, budget_s=0.2).round_trip_s.median > 0


@contextlib.contextmanager
def answering(what):
    """A server that answers every connection with some bytes, or says nothing (None) and keeps it open."""
    held = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                held.append(client)
                if what is not None:
                    client.sendall(what)
                    client.shutdown(socket.SHUT_WR)

    threading.Thread(target=serve, daemon=True).start()
    with listening:
        yield listening.getsockname()[:2]
        listening.shutdown(socket.SHUT_RDWR)
    for client in held:
        client.close()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\nmore", "is no endpoint of edgepart"),
        (None, "keeps the connection open and says nothing"),
        (b"", "has closed the connection"),
        (framing.MAGIC, "in the middle of a frame"),
        (framing.MAGIC + struct.pack("!IQ", 2, 0) + b"{}", "but not 'edgepart profile --serve-link'"),
    ],
)
def test_who_answers_is_no_link_server(what, message):
    with answering(what) as address, pytest.raises(MeasurementError, match=message) as caught:
        measure_link(*address, timeout_s=0.3)
    assert "\n" not in str(caught.value)


def test_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()[:2]
    with pytest.raises(
        MeasurementError, match=f"refuses connections: start 'edgepart profile --serve-link {host}:{port}'"
    ):
        measure_link(host, port)
    with pytest.raises(MeasurementError, match=r"the host 'nowhere.invalid' is not known"):
        measure_link("nowhere.invalid", 1)


def test_a_port_in_use(server):
    with pytest.raises(MeasurementError, match="cannot listen on"):
        LinkServer(*server.address)


def test_the_command_writes_a_link_of_the_catalogue(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with Relay(server.address, Shape(20e6, 20e6, 0.005)) as relay:
        where = "{}:{}".format(*relay.address)
        assert main(["profile", "--link", where, "--quick", "-o", "lab.yaml"]) == 0
    printed = capsys.readouterr()
    assert "round trip" in printed.out
    assert "written to lab.yaml" in printed.out
    link = catalogue.link("lab.yaml")
    assert link.name == "lab"
    assert 0.9 < link.up_bits_per_s / 20e6 < 1.1
    assert 0.95 < link.round_trip_s / 0.01 < 1.3
    assert link.basis == "measured"
    assert next(iter(yaml.safe_load((tmp_path / "lab.yaml").read_text()))) == "title"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--link", "edge"], "'edge' is not an address"),
        (["--link", "edge:1", "-o", "link.json"], "a link is kept in a .yaml file, not in link.json"),
        (["--link", "edge:1", "-o", "nowhere/link.yaml"], "does not exist"),
        (["net.py:make", "--link", "edge:1"], "model has no part in measuring a link"),
        (["--link", "edge:1", "--threads", "2"], "--threads has no part in measuring a link"),
        (["--serve-link", "127.0.0.1:0", "--link", "edge:1"], "--link belongs to the other end"),
        (["--serve-link", "127.0.0.1:99999"], "is not an address"),
    ],
)
def test_mistakes_at_the_command_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_the_two_commands_find_each_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", "import sys; from edgepart.cli import main; sys.exit(main())"]
    with subprocess.Popen(
        [*command, "profile", "--serve-link", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True
    ) as serving:
        try:
            listening = "".join(iter(serving.stdout.readline, "}\n")) + "}"
            where = json.loads(listening)["listening"]
            assert main(["profile", "--link", where, "--quick", "--json"]) == 0
        finally:
            serving.kill()
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == "link.yaml"
    assert found["up_bits_per_s"]["median"] > 0
