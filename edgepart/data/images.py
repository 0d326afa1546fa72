"""Images, from files or as arrays of bytes, to float arrays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from edgepart.data.base import Preprocessing, kind_of, takes
from edgepart.data.dataset import Encoder
from edgepart.data.raw import Array, RawData, Rows
from edgepart.errors import DataError, MissingExtra
from edgepart.graph import Graph, Tensor

Bytes = NDArray[np.uint8]


class ImagePreprocessing(Preprocessing):
    """Images to (batch, channels, height, width): resized, divided by ``scale``, normalised per channel.

    Images are files, or uint8 arrays (height, width), (height, width, channels) or (channels, height, width). One
    that has the right size already is neither resized nor cropped.
    """

    kind: Literal["image"] = "image"
    #: the network's input; its only one by default
    input: str | None = None
    #: (height, width); one number for a square; the network's own by default
    size: tuple[int, int] | None = None
    #: ``crop`` scales until the shorter side fits and cuts the centre out, ``stretch`` ignores the aspect ratio
    fit: Literal["crop", "stretch"] = "crop"
    #: length the shorter side is scaled to before the centre is cut out, such as 256 before 224; the size by default
    shorter_side: int | None = Field(default=None, ge=1)
    scale: float = Field(default=255.0, gt=0)
    #: per channel, in the order of ``color``, after the division by ``scale``; one number for all
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    #: the network's own by default
    layout: Literal["NCHW", "NHWC"] | None = None
    color: Literal["RGB", "BGR", "L"] = "RGB"
    dtype: Literal["float32", "float64", "float16"] = "float32"

    @field_validator("size", mode="before")
    @classmethod
    def _square(cls, value: object) -> object:
        return (value, value) if isinstance(value, int) else value

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_for_all(cls, value: object) -> object:
        return (value,) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name} has {len(values)} numbers, expected {self.channels} for {self.color}")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if self.size and min(self.size) < 1:
            raise ValueError("size must be at least 1")
        return self

    @property
    def channels(self) -> int:
        return 1 if self.color == "L" else 3

    @property
    def input_names(self) -> tuple[str, ...]:
        return (self.input,) if self.input else ()

    def bind(self, graph: Graph) -> Self:
        tensors = [graph.tensor(name) for name in graph.inputs]
        if len(tensors) != 1 or self.input not in (None, tensors[0].name):
            raise DataError(
                f"the preprocessing gives one image as '{self.input or 'the only input'}', "
                f"but the network takes {takes(tensors)}"
            )
        tensor = tensors[0]
        layout = self.layout or self._network_layout(tensor, graph)
        size = self.size or self._network_size(tensor, layout)
        made = (self.channels, *size) if layout == "NCHW" else (*size, self.channels)
        fits = len(tensor.shape) == 4 and all(
            isinstance(w, str) or w == m for w, m in zip(tensor.shape[1:], made, strict=True)
        )
        if not fits or not tensor.dtype.startswith("float"):
            given = f"float (batch, {', '.join(map(str, made))})"
            raise DataError(f"the network takes {takes(tensors)}, but the preprocessing of images gives {given}")
        return self.model_copy(update={"input": tensor.name, "size": size, "dtype": tensor.dtype, "layout": layout})

    def _network_layout(self, tensor: Tensor, graph: Graph) -> Literal["NCHW", "NHWC"]:
        """By where the channels fit; a converted network may take its images otherwise than its framework does."""
        fits = [len(tensor.shape) == 4 and tensor.shape[place] == self.channels for place in (1, 3)]
        first = graph.layout == "channels_first" if fits[0] == fits[1] else fits[0]
        return "NCHW" if first else "NHWC"

    def _network_size(self, tensor: Tensor, layout: str) -> tuple[int, int]:
        sides = tensor.shape[2:4] if layout == "NCHW" else tensor.shape[1:3]
        if len(sides) != 2 or not (isinstance(sides[0], int) and isinstance(sides[1], int)):
            raise DataError(
                f"the network takes images of any size ({takes([tensor])}): give 'size' in the preprocessing"
            )
        return sides[0], sides[1]

    def check(self, raw: RawData) -> None:
        if isinstance(raw.samples, Rows):
            array = next(iter(raw.samples.arrays.values()))
            _check_bytes(array[0] if len(array) else array, f"{raw.source} holds {array.dtype} {array.shape}")
            return
        for index, sample in enumerate(raw.samples):
            if isinstance(sample, str) and not Path(sample).is_file():
                raise DataError(f"{raw.source}, {raw.where(index)} is the text '{sample[:40]}', not an image file")
            if isinstance(sample, np.ndarray):
                _check_bytes(sample, f"{raw.source}, {raw.where(index)} is {sample.dtype} {sample.shape}")
            elif not isinstance(sample, str | Path | bytes) and not hasattr(sample, "convert"):
                raise DataError(f"{raw.source}, {raw.where(index)} is {kind_of(sample)}, but the network takes images")

    def encoder(self) -> Encoder:
        return ImageEncoder(self)


class ImageEncoder:
    """Decodes, resizes and normalises a batch. Pillow is needed only for files and for other sizes."""

    def __init__(self, settings: ImagePreprocessing) -> None:
        if settings.input is None or settings.size is None:
            raise DataError("the preprocessing of images is not bound to a network: name its 'input' and 'size'")
        self.settings = settings
        self.name = settings.input
        self.height, self.width = settings.size
        self.mean = np.asarray(settings.mean, dtype=np.float32)
        self.std = np.asarray(settings.std, dtype=np.float32)

    def __call__(self, samples: Sequence[object]) -> dict[str, Array]:
        images = np.stack([self._image(sample) for sample in samples])
        if self.settings.color == "BGR":
            images = images[..., ::-1]
        values = (images.astype(np.float32) / np.float32(self.settings.scale) - self.mean) / self.std
        if self.settings.layout != "NHWC":
            values = values.transpose(0, 3, 1, 2)
        return {self.name: np.ascontiguousarray(values, dtype=self.settings.dtype)}

    def _image(self, sample: object) -> Bytes:
        """(height, width, channels) bytes, RGB or grey, of the size wanted."""
        if isinstance(sample, dict):
            sample = next(iter(sample.values()))
        if isinstance(sample, np.ndarray):
            array = channels_last(sample)
            if array.shape == (self.height, self.width, self.settings.channels):
                return array
            if array.shape == (self.height, self.width, 1):
                return np.repeat(array, self.settings.channels, axis=2)
            sample = _pillow().fromarray(array[..., 0] if array.shape[2] == 1 else array)
        elif not hasattr(sample, "convert"):
            sample = _open(sample)
        return self._resized(sample)

    def _resized(self, image: Any) -> Bytes:
        image = image.convert("L" if self.settings.channels == 1 else "RGB")
        if image.size != (self.width, self.height):
            image = self._stretched(image) if self.settings.fit == "stretch" else self._cropped(image)
        return np.asarray(image, dtype=np.uint8).reshape(self.height, self.width, self.settings.channels)

    def _stretched(self, image: Any) -> Any:
        return image.resize((self.width, self.height), _pillow().Resampling.BILINEAR)

    def _cropped(self, image: Any) -> Any:
        width, height = image.size
        ratio = max(self.width / width, self.height / height)
        if self.settings.shorter_side:
            ratio = max(ratio, self.settings.shorter_side / min(width, height))
        size = max(self.width, round(width * ratio)), max(self.height, round(height * ratio))
        left, top = (size[0] - self.width) // 2, (size[1] - self.height) // 2
        scaled = image.resize(size, _pillow().Resampling.BILINEAR)
        return scaled.crop((left, top, left + self.width, top + self.height))


def channels_last(image: Bytes) -> Bytes:
    """(height, width, channels) from (height, width), (height, width, channels) or (channels, height, width)."""
    if image.ndim == 2:
        return image[..., None]
    first, last = image.shape[0], image.shape[2]
    # Four channels (with transparency) are rare: (3, 4, 4) is a small image with its channels first.
    return image if last in (1, 3) or (last == 4 and first not in (1, 3)) else image.transpose(1, 2, 0)


def _check_bytes(image: Array, what: str) -> None:
    if image.dtype != np.uint8:
        raise DataError(
            f"{what}, but images are uint8 from 0 to 255: save them so, or declare a preprocessing of kind 'array' "
            "for a network whose inputs are prepared already"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and not {image.shape[0], image.shape[2]} & {1, 3, 4}):
        raise DataError(
            f"{what}, but an image is (height, width), (height, width, channels) or (channels, height, width)"
        )


def _open(sample: object) -> Any:
    pillow = _pillow()
    try:
        image = pillow.open(io.BytesIO(sample) if isinstance(sample, bytes) else sample)
        image.load()
        return image
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        what = f"an image of {len(sample)} bytes" if isinstance(sample, bytes) else str(sample)
        raise DataError(f"{what} cannot be read as an image ({error}): mend or remove it") from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "images") from None
    return Image
