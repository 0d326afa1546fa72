"""Images: layouts, colours, sizes, normalisation, and files that are none."""

import io

import numpy as np
import pytest
from data_samples import graph
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgepart.data.images import ImagePreprocessing, channels_last
from edgepart.data.raw import RawData, Rows
from edgepart.errors import DataError, MissingExtra

SQUARE = graph(image=("float32", (3, 4, 4)))


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(samples, network=SQUARE, **settings):
    arrays = ImagePreprocessing(**settings).bind(network).encoder()(samples)
    assert list(arrays) == ["image"]
    return arrays["image"]


def test_normalisation_is_per_channel_after_scaling():
    image = pixels(2, 4, 4, 3)
    mean, std = [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]
    made = encode(list(image), mean=mean, std=std)
    expected = ((image / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert made.shape == (2, 3, 4, 4)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert np.allclose(made, expected, atol=1e-5)
    assert np.allclose(encode(list(image), scale=127.5, mean=1), image.transpose(0, 3, 1, 2) / 127.5 - 1, atol=1e-6)


def test_bgr_means_are_in_that_order():
    image = pixels(1, 4, 4, 3)
    made = encode(list(image), color="BGR", scale=1, mean=[104, 117, 123])
    assert np.array_equal(made, image[..., ::-1].transpose(0, 3, 1, 2) - np.float32([[[[104]], [[117]], [[123]]]]))


def test_layouts_and_grey():
    image = pixels(4, 4, 3)
    assert np.array_equal(encode([image]), encode([image.transpose(2, 0, 1)]))
    grey = pixels(4, 4)
    for sample in (grey, grey[..., None], grey[None]):
        assert np.array_equal(encode([sample]), encode([np.stack([grey] * 3, -1)]))
    network = graph(image=("float32", (4, 4, 3)))
    assert np.allclose(encode([image], network, layout="NHWC")[0], image / 255, atol=1e-6)
    network = graph(image=("float32", (1, 4, 4)))
    assert np.allclose(encode([grey], network, color="L")[0, 0], grey / 255, atol=1e-6)
    colour = encode([image], network, color="L")
    assert np.array_equal(colour[0, 0], np.asarray(Image.fromarray(image).convert("L")) / np.float32(255))


def test_arrays_files_and_bytes_are_the_same_image(tmp_path):
    image = pixels(4, 4, 3)
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    expected = encode([image])
    for sample in (path, str(path), path.read_bytes(), Image.open(path), {"image": image}):
        assert np.array_equal(encode([sample]), expected)
    Image.fromarray(np.dstack([image, np.full((4, 4), 9, np.uint8)])).save(path)
    assert np.array_equal(encode([path]), expected)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["crop", "stretch"]), st.sampled_from([None, 4, 9]))
def test_any_size_becomes_the_networks(height, width, fit, shorter_side):
    made = encode([pixels(height, width, 3), pixels(4, 4, 3)], fit=fit, shorter_side=shorter_side)
    assert made.shape == (2, 3, 4, 4)
    assert made.min() >= 0
    assert made.max() <= 1


def test_the_centre_is_cut_out():
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 4:12] = 255
    assert np.array_equal(encode([image[:, 4:12]]), np.ones((1, 3, 4, 4)))
    assert encode([image]).mean() > 0.9
    assert encode([image], fit="stretch").mean() < 0.6
    framed = np.zeros((16, 16, 3), np.uint8)
    framed[4:12, 4:12] = 255
    assert encode([framed], shorter_side=8).mean() > 0.8
    assert encode([framed]).mean() < 0.5


def test_size_is_the_networks_own():
    bound = ImagePreprocessing().bind(graph(image=("float32", (3, 5, 7))))
    assert (bound.input, bound.size, bound.input_names) == ("image", (5, 7), ("image",))
    assert ImagePreprocessing(size=9).bind(graph(image=("float32", (3, "h", "w")))).size == (9, 9)


@pytest.mark.parametrize(
    ("network", "settings", "expected"),
    [
        (
            SQUARE,
            {"size": 8},
            "takes image float32 (batch, 3, 4, 4), but the preprocessing of images gives float (batch, 3, 8, 8)",
        ),
        (SQUARE, {"color": "L"}, "gives float (batch, 1, 4, 4)"),
        (SQUARE, {"layout": "NHWC", "size": 4}, "gives float (batch, 4, 4, 3)"),
        (SQUARE, {"input": "x"}, "gives one image as 'x'"),
        (graph(a=("float32", (3, 4, 4)), b=("float32", (3, 4, 4))), {}, "gives one image as 'the only input'"),
        (graph(x=("float32", (64,))), {"size": 8}, "takes x float32 (batch, 64)"),
        (graph(x=("float32", (64,))), {}, "give 'size' in the preprocessing"),
        (graph(x=("float32", (3, "h", "w"))), {}, "takes images of any size"),
        (graph(x=("int64", (3, 4, 4))), {}, "takes x int64"),
    ],
)
def test_what_the_network_does_not_take(network, settings, expected):
    with pytest.raises(DataError) as raised:
        ImagePreprocessing(**settings).bind(network)
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (Rows({"image": np.zeros((2, 4, 4, 3), np.float32)}), "holds float32 (2, 4, 4, 3), but images are uint8"),
        (Rows({"image": np.zeros((2, 16), np.uint8)}), "but an image is (height, width)"),
        (Rows({"image": np.zeros((2, 5, 4, 6), np.uint8)}), "but an image is (height, width)"),
        (["good film", "bad film"], "sample 0 is the text 'good film', not an image file"),
        ([np.zeros((4, 4, 3)), pixels(4, 4)], "sample 0 is float64 (4, 4, 3), but images are uint8"),
        ([pixels(4, 4), ("a", "b")], "sample 1 is a pair of texts, but the network takes images"),
    ],
)
def test_samples_that_are_no_images(samples, expected):
    with pytest.raises(DataError) as raised:
        ImagePreprocessing().bind(SQUARE).check(RawData(samples, [0, 1], "data"))
    assert expected in str(raised.value)


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "photo.jpg"
    stream = io.BytesIO()
    Image.fromarray(pixels(64, 64, 3)).save(stream, "JPEG")
    for content in (b"", b"no image", stream.getvalue()[:400]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"photo\.jpg cannot be read as an image"):
            encode([path])
        with pytest.raises(DataError, match=f"an image of {len(content)} bytes cannot be read"):
            encode([content])


def test_pillow_is_needed_only_for_files_and_other_sizes(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert encode([pixels(4, 4, 3)]).shape == (1, 3, 4, 4)
    for sample in (b"x", pixels(5, 5, 3)):
        with pytest.raises(MissingExtra, match=r"edgepart\[images\]"):
            encode([sample])


def test_channels_last():
    assert channels_last(pixels(5, 6)).shape == (5, 6, 1)
    assert channels_last(pixels(5, 6, 3)).shape == (5, 6, 3)
    assert channels_last(pixels(3, 5, 6)).shape == (5, 6, 3)
    assert channels_last(pixels(1, 5, 6)).shape == (5, 6, 1)
