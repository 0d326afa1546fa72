"""Templates and profiles are found in the user's folder first, then among the shipped ones."""

import pytest

from edgepart import resources
from edgepart.errors import UnknownName
from edgepart.hardware import catalogue


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPART_HOME", str(tmp_path))
    links = tmp_path / "profiles" / "links"
    links.mkdir(parents=True)
    return links


def test_a_file_of_the_users_shadows_the_shipped_one(home):
    (home / "wifi.yaml").write_text("mine")
    assert resources.find("profiles/links", ".yaml", "wifi", "link") == home / "wifi.yaml"
    (home / "tin-can.yaml").write_text("mine")
    known = resources.listing("profiles/links", ".yaml")
    assert {"tin-can", "wifi", "4g"} <= known.keys()
    assert list(known) == sorted(known)


def test_a_path_serves_in_place_of_a_name(home, tmp_path):
    path = tmp_path / "string.yaml"
    path.write_text("")
    assert resources.find("profiles/links", ".yaml", str(path), "link") == path
    with pytest.raises(UnknownName, match=r"unknown link 'wfi'; did you mean .*wifi"):
        resources.find("profiles/links", ".yaml", "wfi", "link")
    with pytest.raises(UnknownName):
        resources.find("profiles/links", ".yaml", str(tmp_path / "none.yaml"), "link")


def test_an_installed_wheel_uses_its_own_copy(home, tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "edgepart"
    (package / "_data").mkdir(parents=True)
    monkeypatch.setattr(resources, "__file__", str(package / "resources.py"))
    assert resources.roots() == (tmp_path, package / "_data")


DEVICES = "raspberry-pi-4 raspberry-pi-5 jetson-orin-nano x86-laptop cloud-cpu cloud-gpu"
SHIPPED = [
    (catalogue.devices, catalogue.device, DEVICES),
    (catalogue.links, catalogue.link, "3g 4g 5g wifi ethernet loopback"),
    (catalogue.prices, catalogue.price, "google-cloud-functions aws-lambda dimec"),
]


@pytest.mark.parametrize(("listing", "load", "expected"), SHIPPED)
def test_every_shipped_profile_loads_and_names_its_source(listing, load, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPART_HOME", str(tmp_path))
    assert set(expected.split()) <= listing().keys()
    for name in listing():
        loaded = load(name)
        assert loaded.name == name
        assert loaded.source
