"""Bandwidth traces as they are published, plain ones, and what is not one."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from edgepart.errors import FileError, UnknownName
from edgepart.hardware.bandwidth_trace import load_trace, read_traces


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_a_plain_trace(tmp_path: Path) -> None:
    found = load_trace(str(written(tmp_path, "time,bandwidth\n0,8e6\n0.5,1000000\n2,0\n")))
    assert found.bits_per_s.tolist() == [8e6, 1e6, 0.0]
    # the last rate lasts as long as those before it in the middle
    assert found.duration_s.tolist() == [0.5, 1.5, 1.0]
    assert (found.name, found.source, found.total_s) == ("trace", "trace.csv, column bandwidth", 3.0)


@pytest.mark.parametrize(
    ("column", "factor"), [("bw_bps", 1.0), ("up_kbps", 1e3), ("Down_Mbps", 1e6), ("x_gbps", 1e9), ("a_bits_per_s", 1)]
)
def test_the_unit_is_the_end_of_the_name(tmp_path: Path, column: str, factor: float) -> None:
    found = load_trace(str(written(tmp_path, f"t_s,{column}\n0,2.5\n")))
    assert found.bits_per_s.tolist() == [2.5 * factor]
    assert found.duration_s.tolist() == [1.0]


def test_many_traces_in_a_packed_file(tmp_path: Path) -> None:
    path = written(tmp_path, "trace,radio,t_s,down_mbps\na,4G,0,45\na,4G,2,44\nb,5G,0,1\n", "many.csv.gz")
    found = read_traces(path)
    assert list(found) == ["a", "b"]
    assert found["a"].duration_s.tolist() == [2.0, 2.0]
    assert load_trace(f"{path}#b").bits_per_s.tolist() == [1e6]
    with pytest.raises(FileError, match=r"holds 2 traces: name one, as .*many\.csv\.gz#a"):
        load_trace(str(path))
    with pytest.raises(UnknownName, match="unknown trace 'c'"):
        load_trace(f"{path}#c")


def test_the_way_up_comes_before_the_way_down(tmp_path: Path) -> None:
    path = written(tmp_path, "date,down_mbps,up_mbps,rtt_ms\nx,9,1,7\ny,8,2,7\n")
    found = load_trace(str(path))
    assert (found.bits_per_s.tolist(), found.source) == ([1e6, 2e6], "trace.csv, column up_mbps")
    # tests without a time count alike
    assert found.duration_s.tolist() == [1.0, 1.0]
    other = written(tmp_path, "down_mbps,rate_mbps\n9,1\n", "other.csv")
    assert load_trace(str(other)).source == "other.csv, column rate_mbps"
    assert read_traces(path, "down_mbps")["trace"].bits_per_s.tolist() == [9e6, 8e6]


def test_what_is_too_slow_may_count_as_an_outage(tmp_path: Path) -> None:
    found = load_trace(str(written(tmp_path, "time,bandwidth\n0,5\n1,10\n2,20\n"))).with_outages_below(10)
    assert found.bits_per_s.tolist() == [0.0, 10.0, 20.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("time,bandwidth\n", "holds no rates"),
        ("0,5\n1,6\n", "no column of bandwidths among 0, 5"),
        ("interval,RTT1\n0,69\n", "no column of bandwidths among interval, RTT1"),
        ("time,bandwidth\n0,5\n1,-6\n", "line 3: bandwidth '-6' is not a number of 0 or more"),
        ("time,bandwidth\n0,nan\n", "line 2: bandwidth 'nan'"),
        ("time,bandwidth\n0,\n", "line 2: bandwidth ''"),
        ("time,bandwidth\nnoon,5\n", "line 2: time 'noon'"),
        ("time,bandwidth\n1,5\n0,5\n", "line 3: time 0 lies before the one above"),
        ("time,bandwidth\n1,5,6\n", "line 2: 3 cells, expected the 2"),
    ],
)
def test_what_is_no_trace_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FileError, match=message) as raised:
        read_traces(path)
    assert str(path) in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        read_traces(tmp_path / "none.csv")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"time,bandwidth\n0,5\n")[:-9])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "plain.csv.gz").write_bytes(b"time,bandwidth\n")
    for name in ("cut.csv.gz", "binary.csv", "plain.csv.gz"):
        with pytest.raises(FileError, match=name):
            read_traces(tmp_path / name)
    with pytest.raises(FileError, match="no column 'other' of bandwidths"):
        read_traces(written(tmp_path, "time,bandwidth\n0,5\n"), "other")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "count", "mbps"),
    [("lumos5g_down.csv.gz", 296, 2100), ("norway3g_fcc_down.csv.gz", 269, 80), ("speedtest_5g_us.csv", 1, 450)],
)
def test_the_recorded_ones(file: str, count: int, mbps: float) -> None:
    found = read_traces(Path(os.environ["EDGEPART_DATA"]) / "traces" / "network" / file)
    assert len(found) == count
    for trace in found.values():
        assert (trace.duration_s >= 0).all()
        assert trace.total_s > 0
        assert np.isfinite(trace.bits_per_s).all()
        assert trace.bits_per_s.max() < mbps * 1e6
