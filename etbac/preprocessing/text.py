"""Texts as a model's inputs: a tokenizer whose content travels with the model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from etbac.errors import InputError, MissingPackageError, one_line
from etbac.preprocessing.counts import require_whole

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Text = str | tuple[str, str]

FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""Input's name -> what a tokenizer's encoding calls it."""

PADS = ("[PAD]", "<pad>", "<|endoftext|>")


@dataclass(frozen=True)
class TextPreprocessing:
    """A text, or two -> int64 [B, max_length] for each of `inputs`, cut or filled with the token `pad`.

    `tokenizer`: the content of a tokenizer.json of the package tokenizers. Names are of `input_ids`, `attention_mask`
    (1 where a token is, 0 where it is filled) and `token_type_ids` (1 in the second text).
    """

    kind: ClassVar[str] = "text"

    tokenizer: str
    max_length: int
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids")
    pad: str = "[PAD]"

    def __post_init__(self) -> None:
        require_whole(max_length=self.max_length)
        if unknown := [name for name in self.inputs if name not in FIELDS]:
            raise InputError(f"a tokenizer gives {', '.join(FIELDS)}; the model takes {', '.join(unknown)} too")

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self), "inputs": list(self.inputs)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> TextPreprocessing:
        values = {key: value for key, value in data.items() if key != "kind"}
        return TextPreprocessing(**{**values, "inputs": tuple(data["inputs"])})

    @staticmethod
    def from_files(
        path: Path, max_length: int = 128, inputs: Sequence[str] = tuple(FIELDS), lowercase: bool = True
    ) -> TextPreprocessing:
        """From a tokenizer.json or a vocab.txt (BERT's word pieces), or a folder that holds one or that transformers
        can read a fast tokenizer from. Nothing is downloaded and no code in the folder runs.

        `lowercase` is used with a vocab.txt alone, where no tokenizer_config.json beside it says.
        """
        content = _content(path, lowercase)
        return TextPreprocessing(content, max_length, tuple(inputs), _pad_of(content, _config(path)))

    @property
    def tokens(self) -> int:
        """How many the tokenizer knows."""
        return int(_parse(self.tokenizer).get_vocab_size())

    def apply(self, raws: Sequence[Text]) -> dict[str, npt.NDArray[Any]]:
        """Strings, or pairs of them. MissingPackageError without the package tokenizers."""
        encodings = _open(self.tokenizer, self.max_length, self.pad).encode_batch(list(raws))
        shape = (len(raws), self.max_length)
        return {
            name: np.array([getattr(each, FIELDS[name]) for each in encodings], np.int64).reshape(shape)
            for name in self.inputs
        }


@lru_cache(maxsize=8)
def _open(content: str, max_length: int, pad: str) -> Tokenizer:
    tokenizer = _parse(content)
    pad_id = tokenizer.token_to_id(pad)
    if pad_id is None:
        raise InputError(f"the tokenizer has no token {pad!r} to fill texts with; name one that it has")
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(length=max_length, pad_id=pad_id, pad_token=pad)
    return tokenizer


def _parse(content: str) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingPackageError("texts need the package tokenizers. Install it: pip install tokenizers") from None
    try:
        return Tokenizer.from_str(content)
    except Exception as error:  # the package raises Exception itself
        raise InputError(f"the tokenizer is not a whole tokenizer.json ({one_line(error)[:200]})") from None


def _content(path: Path, lowercase: bool) -> str:
    if path.is_file():
        return _of_vocabulary(path, lowercase) if path.suffix == ".txt" else _parse(_text(path)).to_str()
    if not path.is_dir():
        raise InputError(f"{path}: there is no such file or folder; name a tokenizer.json, a vocab.txt or their folder")
    if (path / "tokenizer.json").is_file():
        return _parse(_text(path / "tokenizer.json")).to_str()
    if (path / "vocab.txt").is_file():
        return _of_vocabulary(path / "vocab.txt", bool(_config(path).get("do_lower_case", lowercase)))
    return _of_transformers(path)


def _of_vocabulary(path: Path, lowercase: bool) -> str:
    """BERT's uncased or cased word pieces: Devlin et al. 2018."""
    try:
        from tokenizers import BertWordPieceTokenizer
    except ImportError:
        raise MissingPackageError("texts need the package tokenizers. Install it: pip install tokenizers") from None
    words = {word: place for place, word in enumerate(_text(path).splitlines())}
    if missing := [word for word in ("[UNK]", "[SEP]", "[CLS]") if word not in words]:
        raise InputError(f"{path} is no vocabulary of BERT's word pieces: it lacks {', '.join(missing)}")
    return str(BertWordPieceTokenizer(words, lowercase=lowercase).to_str())


def _of_transformers(folder: Path) -> str:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingPackageError(
            f"{folder} holds neither tokenizer.json nor vocab.txt; other tokenizers need transformers. Install it: "
            "pip install 'etbac[train]'"
        ) from None
    try:
        found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        return str(found.backend_tokenizer.to_str())
    except Exception as error:  # whatever transformers meets in the folder
        raise InputError(
            f"{folder} holds no tokenizer that can be used: a tokenizer.json, a vocab.txt, or files from which "
            f"transformers makes a fast one ({one_line(error)[:200]})"
        ) from None


def _pad_of(content: str, config: Mapping[str, Any]) -> str:
    tokenizer = _parse(content)
    padding = tokenizer.padding or {}
    told = config.get("pad_token")
    told = told.get("content") if isinstance(told, dict) else told
    for pad in (told, padding.get("pad_token"), *PADS):
        if isinstance(pad, str) and tokenizer.token_to_id(pad) is not None:
            return pad
    raise InputError(f"the tokenizer has no token to fill texts with: none of {', '.join(PADS)}")


def _config(path: Path) -> Mapping[str, Any]:
    """What tokenizer_config.json beside or in `path` says; nothing where it is not there."""
    file = (path if path.is_dir() else path.parent) / "tokenizer_config.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(_text(file))
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error})") from None
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None
