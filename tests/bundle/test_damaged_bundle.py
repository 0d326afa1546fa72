"""Whatever is wrong with a bundle's files is found when it is opened, and the file is named."""

import json
import shutil

import pytest
from small_networks import contents

from edgepart.bundle import open_bundle, open_part
from edgepart.errors import BundleError

FILES = (
    "plan.json",
    "graph.json",
    "training.json",
    "preprocessing.json",
    "router/embed.pt2",
    "validation.trace.safetensors",
    "parts/mobile/part.json",
    "parts/mobile/stage_1.pt2",
    "heads/early.py",
    "parts/cloud/stage_0.pt2",
)


@pytest.fixture
def copied(bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found_with_both_hashes(copied, name):
    path = copied / name
    expected = json.loads((copied / "manifest.json").read_text())["files"][name]["sha256"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} is corrupt: its sha256 is [0-9a-f]{{64}}, expected {expected}"):
        open_bundle(copied)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_named_with_its_sizes(copied, name):
    path = copied / name
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    with pytest.raises(BundleError, match=f"{name} is cut short, {len(content) - 7} of {len(content)} bytes"):
        open_bundle(copied)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_its_hash(copied, name):
    (copied / name).unlink()
    with pytest.raises(BundleError, match=rf"lacks the file {name} \(sha256 [0-9a-f]{{64}}\): build the bundle again"):
        open_bundle(copied)


def change(path, edit):
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_a_changed_manifest_is_found_by_its_seal(copied):
    change(copied / "manifest.json", lambda value: value.update(classes=["other", "grey", "light"]))
    with pytest.raises(BundleError, match=r"manifest\.json was changed"):
        open_bundle(copied)


def test_a_manifest_cut_short_is_named(copied):
    text = (copied / "manifest.json").read_text()
    (copied / "manifest.json").write_text(text[: len(text) // 2])
    with pytest.raises(BundleError, match=r"manifest\.json is not valid JSON .* cut short"):
        open_bundle(copied)


def test_another_format_version_is_named(copied):
    change(copied / "manifest.json", lambda value: value.update(version=99))
    with pytest.raises(BundleError, match="has format version 99, this edgepart reads version 1"):
        open_bundle(copied)


def test_a_manifest_may_not_point_outside_its_folder(copied):
    def escape(value):
        value["files"]["../secret"] = value["files"]["plan.json"]

    change(copied / "manifest.json", escape)
    with pytest.raises(BundleError, match=r"the file '\.\./secret' lies outside the bundle"):
        open_bundle(copied)


def test_a_folder_that_is_no_bundle_and_none_at_all(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle: it has no manifest"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="does not exist; give the folder that 'edgepart build' wrote"):
        open_bundle(tmp_path / "gone")


def test_a_part_alone_checks_its_artefacts_too(copied):
    stage = copied / "parts" / "mobile" / "stage_0.pt2"
    stage.write_bytes(stage.read_bytes()[:100])
    with pytest.raises(BundleError, match=r"stage_0\.pt2 is cut short"):
        open_part(copied / "parts" / "mobile")
    with pytest.raises(BundleError, match=r"part\.json does not exist"):
        open_part(copied / "parts")


def test_files_that_the_manifest_does_not_know_do_no_harm(copied, bundle):
    (copied / "notes.txt").write_text("mine")
    assert open_bundle(copied).manifest == bundle.manifest
    assert set(contents(copied)) - set(contents(bundle.path)) == {"notes.txt"}
