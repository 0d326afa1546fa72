"""Parts as SavedModels: TensorFlow's own folders, which run without Keras."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from edgepart.errors import FileError
from edgepart.files import atomic_folder
from edgepart.frameworks.keras.traced import Exportable, Traced
from edgepart.frameworks.messages import first_line
from edgepart.silence import silence


def write_savedmodel(part: Exportable, path: Path) -> None:
    """Write a part as the one signature ``serving_default`` of a SavedModel.

    Raises:
        ExportError: TensorFlow cannot trace it.
        FileError: the folder is missing or the disk is full.
    """
    traced = Traced(part)
    with atomic_folder(path) as folder:
        try:
            with silence():
                tf.saved_model.save(traced.module, str(folder), signatures=traced.concrete)
        except tf.errors.OpError as error:  # its words for a full disk
            # "{{function_node …}} a temporary file's name; No space left on device [Op:SaveV2]"
            said = first_line(error).rpartition("; ")[2].partition(" [Op:")[0]
            raise FileError(f"cannot write {path}: {said}") from error
