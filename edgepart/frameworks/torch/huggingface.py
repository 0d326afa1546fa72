"""Checkpoint folders of Hugging Face's transformers: text classifiers with their tokenizers."""

from __future__ import annotations

import atexit
import inspect
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from edgepart.errors import MissingExtra, ModelError
from edgepart.files import read_json
from edgepart.frameworks.model import LoadedModel
from edgepart.silence import quiet, silence

#: of texts, where the tokenizer's configuration names none
_MAX_LENGTH = 128
_SENTENCES = ("A short sentence that stands for the texts to come,", "and a second one for pairs of them.")


def load_checkpoint(folder: Path) -> LoadedModel:
    """Load a text classifier, ready to be captured; no code from the folder is run.

    The example is one text padded to ``max_length``: what the tokenizer's configuration says, 128 where it says
    nothing, at most what the network has positions for.

    Raises:
        ModelError: the folder lacks its configuration, weights, or the tokenizer's vocabulary.
        FileError: config.json is not readable.
        MissingExtra: transformers is not installed.
    """
    _require_folder(folder)
    # Progress bars and load reports would mix with edgepart's own words, and so would torchao, which transformers
    # imports where executorch has brought it.
    with silence(), quiet():
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra("transformers", "text") from error
        model, notes = _load_classifier(transformers, folder)
        tokenizer = _load_tokenizer(transformers, folder, model.config)
    length = _max_length(tokenizer, model.config)
    encoded = tokenizer(_SENTENCES[0], padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    names = [name for name in inspect.signature(model.forward).parameters if name in encoded]
    preprocessing = {
        "kind": "text",
        "tokenizer": str(_saved(tokenizer)),
        "max_length": length,
        "inputs": names,
        "pad_token": tokenizer.pad_token,
    }
    example = {name: encoded[name] for name in names}
    return LoadedModel(folder.name, model, example, preprocessing, _classes(model.config), notes)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(
            f"the folder {folder} of hf:{folder} does not exist: give a checkpoint written by save_pretrained"
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is not a Hugging Face checkpoint: it has no config.json")
    if "model_type" not in read_json(folder / "config.json"):
        raise ModelError(f"{folder / 'config.json'} names no model_type: write the checkpoint with save_pretrained")


def _load_classifier(transformers: Any, folder: Path) -> tuple[Any, tuple[str, ...]]:
    kind = transformers.AutoModelForSequenceClassification
    # What the checkpoint lacks is drawn at random: the same each time, so that a plan fits the network it was made for.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model, info = kind.from_pretrained(str(folder), local_files_only=True, output_loading_info=True)
        except Exception as error:
            raise ModelError(f"{folder} does not load as a text classifier: {_first_line(error)}") from error
    if model.config.num_labels < 2:
        raise ModelError(f"{folder} holds a network with one output (a regression), expected a classifier")
    model.config.return_dict = False
    model.config.use_cache = False
    missing = sorted(info["missing_keys"])
    note = f"{folder} lacks the weights {', '.join(missing[:3])}: they are random until the network is trained"
    return model.eval(), (note,) if missing else ()


def _load_tokenizer(transformers: Any, folder: Path, config: Any) -> Any:
    lacking = (
        f"{folder} has no tokenizer with its vocabulary (tokenizer.json, or vocab.txt and the like): save it there "
    )
    lacking += "with AutoTokenizer.save_pretrained"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:
        raise ModelError(f"{lacking} ({_first_line(error)})") from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    # Without its files transformers makes a tokenizer of nothing but special tokens, and does not say so.
    if backend is None or not _has_vocabulary(tokenizer, folder) or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(lacking)
    if len(tokenizer) > config.vocab_size:
        raise ModelError(
            f"the tokenizer of {folder} has {len(tokenizer)} tokens, its network only {config.vocab_size}: "
            "they do not belong together"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = tokenizer.pad_token_id
    return tokenizer


def _has_vocabulary(tokenizer: Any, folder: Path) -> bool:
    names = dict(tokenizer.vocab_files_names)
    whole = names.pop("tokenizer_file", "tokenizer.json")
    apart = [folder / name for name in names.values()]
    return (folder / whole).is_file() or (bool(apart) and all(path.is_file() for path in apart))


def _max_length(tokenizer: Any, config: Any) -> int:
    wanted = tokenizer.init_kwargs.get("max_length") or _MAX_LENGTH
    positions = getattr(config, "max_position_embeddings", wanted)
    return int(min(wanted, tokenizer.model_max_length, positions))


def _saved(tokenizer: Any) -> Path:
    """The tokenizer as one tokenizer.json, whatever files the folder holds; lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="edgepart-tokenizer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def _classes(config: Any) -> tuple[str, ...]:
    """Names in the order of the logits; numbers where the checkpoint only has transformers' LABEL_0, LABEL_1 …"""
    names = [str(config.id2label[index]) for index in range(config.num_labels)]
    unnamed = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return tuple(str(index) for index in range(len(names))) if unnamed else tuple(names)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
