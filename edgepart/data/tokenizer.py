"""Tokenizers from ``tokenizer.json`` or ``vocab.txt``, through the package ``tokenizers`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepart.errors import FileError, MissingExtra
from edgepart.files import read_json

#: tried in turn where neither the user nor the tokenizer says which token fills short texts
PAD_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>", "</s>")

_FILES = ("tokenizer.json", "vocab.txt")


def read_tokenizer(path: Path, pad_token: str | None = None) -> Any:
    """A ``tokenizers.Tokenizer`` that pads to the longest of a batch and does not cut.

    Args:
        path: a ``tokenizer.json``, a ``vocab.txt`` (WordPiece, one token a line), or a folder with one of them
        pad_token: fills short texts; None: the tokenizer's own, or one of the usual ones

    Raises:
        FileError: no tokenizer there, or one without its vocabulary or its padding token.
        MissingExtra: the package ``tokenizers`` is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra("tokenizers", "text") from None
    file = _find(path)
    try:
        tokenizer = _from_vocabulary(file) if file.suffix == ".txt" else Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise FileError(f"{file} is no tokenizer that can be read: {error}") from error
    tokenizer.no_truncation()
    _enable_padding(tokenizer, pad_token, file)
    try:
        tokenizer.encode("a text with words that are not in the vocabulary: qxzj")
    except Exception as error:
        raise FileError(f"the tokenizer {file} lacks tokens it needs ({error}): save it with its vocabulary") from error
    return tokenizer


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileError(f"the tokenizer {path} does not exist: give a tokenizer.json, a vocab.txt or a folder with one")
    found = [path / name for name in _FILES if (path / name).is_file()]
    if not found:
        raise FileError(
            f"{path} holds no tokenizer with its vocabulary: expected {' or '.join(_FILES)} (save the tokenizer there)"
        )
    return found[0]


def _from_vocabulary(file: Path) -> Any:
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    config_file = file.parent / "tokenizer_config.json"
    config = read_json(config_file) if config_file.is_file() else {}
    wordpiece = BertWordPieceTokenizer(str(file), lowercase=bool(config.get("do_lower_case", True)))
    return Tokenizer.from_str(wordpiece.to_str())


def _enable_padding(tokenizer: Any, pad_token: str | None, file: Path) -> None:
    if tokenizer.get_vocab_size(with_added_tokens=False) == 0:
        raise FileError(f"the tokenizer {file} has no vocabulary: save it again together with its vocabulary")
    own = tokenizer.padding or {}
    candidates = (pad_token,) if pad_token else (*((own["pad_token"],) if own else ()), *PAD_TOKENS)
    token = next((token for token in candidates if tokenizer.token_to_id(token) is not None), None)
    if token is None:
        raise FileError(
            f"the tokenizer {file} has no token {' or '.join(candidates)} to fill short texts with: "
            "name one of its tokens as 'pad_token' in the preprocessing"
        )
    tokenizer.enable_padding(
        pad_id=tokenizer.token_to_id(token),
        pad_token=token,
        pad_type_id=own.get("pad_type_id", 0),
        direction=own.get("direction", "right"),
    )
