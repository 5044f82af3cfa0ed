"""Other people's weights: state dicts of torchvision, timm and transformers, placed by name and shape.

Reading one executes nothing.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from etbac.errors import EtbacError, InputError, MissingPackageError, UnsafeFileError, one_line
from etbac.models.foreign_names import AS_IT_IS, FORMS, Form

State: TypeAlias = "dict[str, Tensor]"
Shape: TypeAlias = "tuple[int, ...]"

INSIDE = ("state_dict", "model_state_dict", "model")
"""Under these keys training programs keep a state dict among other things."""
PREFIXES = ("", "module.", "model.", "trunk.", "backbone.")
"""What wrappers put before every name of the network inside them."""
DERIVED = ("num_batches_tracked", "relative_position_index", "attn_mask", "position_ids")
"""Ends of the names of tensors that a network makes itself."""
SHOWN = 8


@dataclass(frozen=True)
class Report:
    """What became of a file's tensors. `placed` and `missing`: names in the network; `left_over`: names in the file;
    `other_shape`: (name in the network, its shape, the file's). `form`: whose names the file has."""

    form: str
    placed: tuple[str, ...]
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    other_shape: tuple[tuple[str, Shape, Shape], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the network has nothing left that was not in the file."""
        return not self.missing and not self.other_shape

    def lines(self) -> list[str]:
        """The report for people."""
        shapes = [
            f"{name} ({_sides(found)} in the file, {_sides(wanted)} here)" for name, wanted, found in self.other_shape
        ]
        parts = (
            ("not in the file, drawn at random", self.missing),
            ("of another shape, drawn at random", shapes),
            ("in the file alone", self.left_over),
        )
        placed = f"{len(self.placed)} tensors placed ({self.form})"
        return [placed, *(f"{len(names)} {what}: {_some(names)}" for what, names in parts if names)]


def load_weights(module: nn.Module, path: Path) -> Report:
    """Load what fits of the file or folder at `path` into `module`; the rest of the module stays as it is.

    `path`: a `.safetensors` file, a `.pth`, `.pt` or `.bin` file that torch saved, or a folder of transformers. Names
    are the module's own, or those of torchvision, timm or transformers. Raises InputError where there is no such file
    or it is damaged, UnsafeFileError where reading it would execute code, EtbacError where none of it fits.
    """
    state = read_state(path)
    form, renamed = _best(module, state)
    report = _placed(module, form, renamed, set(state))
    if not report.complete and _is_of_transformers(module):
        report = _by_transformers(module, form, {name: tensor for name, (_, tensor) in renamed.items()})
    if not report.placed:
        raise EtbacError(
            f"none of the {len(state)} tensors of {path} fits {type(module).__name__}: it has {_some(state)}; the "
            f"network has {_some(module.state_dict())}; name weights of the same architecture"
        )
    return report


def read_state(path: Path) -> State:
    """The tensors of a file or folder by name."""
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; name weights, or a folder of transformers")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_folder(folder: Path) -> State:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise InputError(f"{index} is damaged ({one_line(error)}); copy the folder again") from error
        outside = [name for name in names if not isinstance(name, str) or Path(name).name != name]
        if outside:
            raise UnsafeFileError(f"{index} names {outside[0]!r}, which is outside its folder")
        return {key: value for name in names for key, value in _read_safetensors(folder / name).items()}
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).exists():
            return read_state(folder / name)
    raise InputError(
        f"{folder} has neither model.safetensors nor pytorch_model.bin; name a folder that transformers' "
        "save_pretrained wrote, or a file of weights"
    )


def _read_safetensors(path: Path) -> State:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise MissingPackageError("safetensors is not installed; install it with: pip install safetensors") from None
    try:
        return load_file(path)
    except Exception as error:
        raise InputError(f"{path} is not a whole safetensors file ({one_line(error)}); copy it again") from error


def _read_torch(path: Path) -> State:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(
            f"{path} holds more than tensors: reading it could execute code. Save its state_dict() alone"
        ) from error
    except Exception as error:
        raise InputError(f"{path} is not a whole PyTorch file ({one_line(error)[:200]}); copy it again") from error
    for key in INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError(f"{path} is no state dict; save network.state_dict() alone")
    return {str(name): value for name, value in found.items()}


def _best(module: nn.Module, state: State) -> tuple[Form, dict[str, tuple[str, Tensor]]]:
    """The form and names by which most tensors fit, the network's own before others."""
    own = {name: tensor.shape for name, tensor in module.state_dict().items()}
    best: tuple[int, Form, dict[str, tuple[str, Tensor]]] = (-1, AS_IT_IS, {})
    for form, renamed in _candidates(module, state):
        count = sum(own.get(name) == tensor.shape for name, (_, tensor) in renamed.items())
        if count > best[0]:
            best = (count, form, renamed)
    return best[1], best[2]


def _candidates(module: nn.Module, state: State) -> Iterator[tuple[Form, dict[str, tuple[str, Tensor]]]]:
    """Every form, with wrappers' prefixes taken away, for the module or for a child of it."""
    inner = ["", *(f"{name}." for name, child in module.named_children() if next(child.children(), None) is not None)]
    for prefix in PREFIXES:
        if not any(name.startswith(prefix) for name in state):
            continue
        short = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        originals = {name.removeprefix(prefix): name for name in state}
        for form in FORMS:
            renamed = {new: (originals[name], tensor) for new, (name, tensor) in form.renamed(short).items()}
            for child in inner:
                yield form, {f"{child}{name}": found for name, found in renamed.items()}


def _placed(module: nn.Module, form: Form, renamed: Mapping[str, tuple[str, Tensor]], names: set[str]) -> Report:
    """Copy what fits; the report."""
    own = module.state_dict()
    fits = {name: tensor for name, (_, tensor) in renamed.items() if name in own and own[name].shape == tensor.shape}
    other = {name: tensor for name, (_, tensor) in renamed.items() if name in own and name not in fits}
    module.load_state_dict(fits, strict=False)
    used = {renamed[name][0] for name in (*fits, *other)}
    return Report(
        form.name,
        tuple(fits),
        _not_derived(name for name in own if name not in fits and name not in other),
        _not_derived(sorted(names - used)),
        tuple((name, tuple(own[name].shape), tuple(tensor.shape)) for name, tensor in other.items()),
    )


def _by_transformers(module: nn.Module, form: Form, state: State) -> Report:
    """Let transformers place the tensors: it knows the names that its own older checkpoints have."""
    kind: Any = type(module)
    with _silent():
        loaded, info = kind.from_pretrained(
            None, config=module.config, state_dict=state, ignore_mismatched_sizes=True, output_loading_info=True
        )
    other = {name: (tuple(wanted), tuple(found)) for name, found, wanted in info["mismatched_keys"]}
    drawn = {*info["missing_keys"], *other}
    fits = {name: tensor for name, tensor in loaded.state_dict().items() if name not in drawn}
    module.load_state_dict(fits, strict=False)
    return Report(
        form.name if form is not AS_IT_IS else "transformers' names",
        tuple(fits),
        _not_derived(sorted(info["missing_keys"])),
        _not_derived(sorted(info["unexpected_keys"])),
        tuple((name, *shapes) for name, shapes in sorted(other.items())),
    )


def _is_of_transformers(module: nn.Module) -> bool:
    return type(module).__module__.startswith("transformers.")


@contextmanager
def _silent() -> Iterator[None]:
    """Without transformers' own report of the same things."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _not_derived(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not name.endswith(DERIVED))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def _sides(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "a number"
