"""Images from a folder with one sub-folder a class."""

from __future__ import annotations

from pathlib import Path

from edgepart.data.labels import derive_classes
from edgepart.data.raw import RawData
from edgepart.errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})


def read_folder(path: Path) -> RawData:
    """Image files by class, sorted by name; hidden files and files of other kinds are passed over.

    Raises:
        DataError: no sub-folders, or no image in them.
    """
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not folders:
        raise DataError(f"{path} has no sub-folders: expected one a class, with that class's images inside")
    files = [
        (file, folder.name)
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{path} has no images in its {len(folders)} sub-folders (files such as .jpg or .png)")
    return RawData(
        [file for file, _ in files],
        [name for _, name in files],
        source=str(path),
        classes=derive_classes([folder.name for folder in folders]),
        where=lambda index: str(files[index][0].relative_to(path)),
    )
