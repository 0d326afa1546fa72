"""The shipped devices, links and prices, and the user's own beside them."""

import json

import pytest

from edgepart.cli.main import main
from edgepart.errors import FileError, UnknownName
from edgepart.hardware import DimecPrice, ServerlessPrice, catalogue

DEVICES = ["raspberry-pi-4", "raspberry-pi-5", "jetson-orin-nano", "phone", "x86-laptop", "cloud-cpu", "cloud-gpu"]
LINKS = ["3g", "4g", "5g", "wifi", "ethernet", "loopback"]
PRICES = ["google-cloud-functions", "aws-lambda", "dimec"]
FAMILIES = {
    "devices": (catalogue.devices, catalogue.device, DEVICES),
    "links": (catalogue.links, catalogue.link, LINKS),
    "prices": (catalogue.prices, catalogue.price, PRICES),
}
DEVICE = """
title: A box
tier: edge
memory_bytes: 1000
macs_per_s: 2.0e+9
cores: 1
basis: data-sheet
source: its maker
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty folder of the user's own, whatever the machine that runs the tests has."""
    monkeypatch.setenv("EDGEPART_HOME", str(tmp_path))
    return tmp_path


def own(home, family, name, text):
    folder = home / "profiles" / family
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_that_is_shipped_loads_and_says_where_it_comes_from(family):
    names, load, expected = FAMILIES[family]
    assert set(expected) == set(names())
    for name in names():
        one = load(name)
        assert one.name == name
        assert len(one.source) > 20, name
        assert one.note, name


def test_devices_are_plausible_and_in_order_of_speed():
    found = {name: catalogue.device(name) for name in DEVICES}
    assert all(10**9 <= one.memory_bytes <= 10**12 and 1e9 < one.macs_per_s < 1e13 for one in found.values())
    order = ("raspberry-pi-4", "raspberry-pi-5", "cloud-cpu", "cloud-gpu")
    rates = [found[name].macs_per_s for name in order]
    assert rates == sorted(rates)
    assert all({"runtime", "threads", "arithmetic"} <= one.facts.keys() for one in found.values())
    assert {one.tier for one in found.values()} == {"mobile", "edge", "cloud"}


def test_a_measured_rate_names_the_benchmark_that_recomputes_it():
    for name in DEVICES:
        one = catalogue.device(name)
        assert one.basis == "data-sheet" or "benchmarks/device_catalogue.py" in one.source, name


def test_links_are_in_order_of_speed():
    rates = [catalogue.link(name).up_bits_per_s for name in ("3g", "wifi", "4g", "5g", "ethernet", "loopback")]
    assert rates == sorted(rates)


def test_transfer_takes_a_round_trip_and_the_bytes_and_nothing_for_nothing():
    link = catalogue.link("ethernet")
    assert link.transfer_s(0) == 0
    assert link.transfer_s(1000) == pytest.approx(0.0005 + 8000 / 941e6)


def test_prices_are_the_published_ones():
    google, amazon, dimec = (catalogue.price(name) for name in PRICES)
    assert isinstance(google, ServerlessPrice)
    assert isinstance(amazon, ServerlessPrice)
    assert isinstance(dimec, DimecPrice)
    # the published price of 100 ms at every size, in dollars
    published = [2.31e-7, 4.63e-7, 9.25e-7, 1.65e-6, 2.9e-6, 5.8e-6, 6.8e-6]
    for (memory, ghz), price in zip(google.sizes, published, strict=True):
        computed = google.step_s * (google.usd_per_gb_s * memory / 2**30 + google.usd_per_ghz_s * ghz)
        assert computed == pytest.approx(price, rel=0.003)
    # the published price of 1 ms with 1024 MB
    assert amazon.step_s * amazon.usd_per_gb_s == pytest.approx(1.67e-8, rel=0.003)
    assert (dimec.mobile_layer, dimec.edge_layer, dimec.to_edge, dimec.to_cloud) == (1.5, 1, 2.5, 3)


def test_a_file_of_the_users_own_shadows_the_shipped_one_and_adds_to_the_list(home):
    own(home, "devices", "raspberry-pi-4", DEVICE)
    own(home, "devices", "box", DEVICE)
    assert catalogue.device("raspberry-pi-4").title == "A box"
    assert catalogue.device("box").name == "box"
    assert set(catalogue.devices()) == {*DEVICES, "box"}


def test_a_path_stands_for_a_name(tmp_path):
    path = tmp_path / "elsewhere.yaml"
    path.write_text(DEVICE)
    assert catalogue.device(str(path)).name == "elsewhere"


@pytest.mark.parametrize(
    ("family", "given", "near"),
    [("devices", "raspberypi4", "raspberry-pi-4"), ("links", "wi-fi", "wifi"), ("prices", "aws-lamda", "aws-lambda")],
)
def test_an_unknown_name_lists_the_nearest(family, given, near):
    with pytest.raises(UnknownName, match=f"unknown {family[:-1]} '{given}'; did you mean .*{near}"):
        FAMILIES[family][1](given)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("2.0e+9", "-1", "field 'macs_per_s' is -1, expected more than 0"),
        ("2.0e+9", "fast", "field 'macs_per_s'"),
        ("memory_bytes: 1000", "memory_bytes: 0", "field 'memory_bytes'"),
        ("source: its maker", "", "field 'source' is missing"),
        ("cores: 1", "cores: 1\ncolour: red", "field 'colour' is not known"),
        ("data-sheet", "hearsay", "field 'basis'"),
        ("title: A box", "title: [", "is not valid YAML"),
        (DEVICE, "- a list", "holds no fields"),
    ],
)
def test_a_damaged_file_is_one_sentence_with_the_file_and_the_field(home, old, new, reason):
    assert old in DEVICE
    own(home, "devices", "box", DEVICE.replace(old, new))
    with pytest.raises(FileError) as caught:
        catalogue.device("box")
    assert reason in str(caught.value)
    assert "box.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["barter", "[barter]", "{barter: 1}"])
def test_a_price_of_an_unknown_model_is_refused(home, model):
    own(home, "prices", "odd", f"title: Odd\nmodel: {model}\nsource: none\n")
    with pytest.raises(FileError, match=r"barter.*serverless"):
        catalogue.price("odd")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_command_line_lists_and_shows(family, capsys):
    expected = FAMILIES[family][2]
    assert main([family, "list"]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert shown == sorted(expected)
    assert main([family, "list", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == sorted(expected)
    for name in expected:
        assert main([family, "show", name]) == 0
        text = " ".join(capsys.readouterr().out.split())
        one = FAMILIES[family][1](name)
        assert all(word in text for word in one.source.split())
        assert main([family, "show", name, "--json"]) == 0
        assert type(one).model_validate(json.loads(capsys.readouterr().out)) == one


def test_the_command_line_names_the_nearest_and_stops_with_code_2(capsys):
    assert main(["devices", "show", "raspberypi4"]) == 2
    printed = capsys.readouterr()
    assert printed.err == "edgepart: unknown device 'raspberypi4'; did you mean raspberry-pi-4, raspberry-pi-5?\n"
    assert printed.out == ""
