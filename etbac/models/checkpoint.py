"""The checkpoint file: a network with exits, how it was made and trained. Reading one executes nothing."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from etbac.contract import TensorSpec
from etbac.errors import EtbacError, UnsafeFileError, UsageError, one_line
from etbac.models import registry, tasks
from etbac.models.attach import ExitNetwork, ExitSpec
from etbac.models.data.sets import DataSet, DataSource
from etbac.models.data.splits import Splits
from etbac.preprocessing import Preprocessing, from_json

FORMAT, VERSION = "etbac-checkpoint", 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and its record.

    `factory` names an entry point of `etbac.models` (or `module:function`), `kwargs` its arguments. `full_state`: the
    trunk's weights as they were before any exit was trained, None where they are so still. `record`: figures of the
    training, for people.
    """

    network: ExitNetwork
    factory: str
    kwargs: Mapping[str, Any]
    metric: str
    full_state: Mapping[str, Tensor] | None = None
    preprocessing: Preprocessing | None = None
    data: DataSource | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def full_sha256(self) -> str:
        """The hash of the full model's weights."""
        return state_sha256(self.network.trunk.state_dict() if self.full_state is None else self.full_state)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write the checkpoint; the file at `path` is replaced at once or not at all."""
    network = checkpoint.network
    content = {
        "format": FORMAT,
        "version": VERSION,
        "factory": checkpoint.factory,
        "kwargs": dict(checkpoint.kwargs),
        "exits": [
            {"id": spec.id, "module": spec.module, "head": spec.head, "options": dict(spec.options)}
            for spec in network.exits
        ],
        "inputs": [spec.to_json() for spec in network.inputs],
        "task": network.task,
        "metric": checkpoint.metric,
        "preprocessing": None if checkpoint.preprocessing is None else checkpoint.preprocessing.to_json(),
        "data": None if checkpoint.data is None else _data_to_file(checkpoint.data),
        "full_sha256": checkpoint.full_sha256,
        "record": dict(checkpoint.record),
        "state_dict": _plain(network.state_dict()),
        **({} if checkpoint.full_state is None else {"full_state_dict": _plain(checkpoint.full_state)}),
    }
    write_atomically(content, path)


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def write_atomically(content: Mapping[str, Any], path: Path) -> None:
    """torch.save through a temporary file beside `path`, fsync and rename; EtbacError where it could not be written."""
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except (OSError, RuntimeError) as error:  # torch's writer tells of a full disk by the latter
        os.unlink(name)
        free = shutil.disk_usage(path.absolute().parent).free
        raise EtbacError(
            f"{path} could not be written whole ({one_line(error)[:100]}), with {free:,} bytes free on its disk; make "
            "room, or name another place"
        ) from error
    except BaseException:
        os.unlink(name)
        raise


def load(path: Path, factory: str | None = None) -> Checkpoint:
    """Read a checkpoint and build its network, in evaluation mode.

    `factory` is what the user typed: a registered name, or `module:function`, which is imported and run. Without it
    only registered factories are used. Raises EtbacError (no such file, not a checkpoint, truncated, another version,
    damaged), UnsafeFileError (it would execute code), UsageError (a factory that is not registered).
    """
    content = _read(path)
    try:
        return _assemble(content, path, factory)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise EtbacError(
            f"{path} is a damaged checkpoint ({type(error).__name__}: {reason}); train it again"
        ) from error


def is_checkpoint(path: Path) -> bool:
    """Whether the file is one that `etbac train` wrote, as far as its list of contents tells; nothing is executed."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        content = torch.load(path, map_location="meta", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def load_set(checkpoint: Checkpoint, name: str, folder: Path | None = None) -> DataSet:
    """The set "train", "fit", "search", "certify" or "test" that the checkpoint recorded.

    The folder is looked for at `folder`, the recorded place, ETBAC_DATA, and under its name beside the checkpoint.
    """
    return _set(checkpoint.data, checkpoint.preprocessing, checkpoint.path, name, folder)


def read_sets(path: Path, names: Sequence[str], folder: Path | None = None) -> list[DataSet]:
    """The sets that the checkpoint file recorded, as `load_set` loads them, without making its network."""
    content = _read(path)
    data = _data_from_file(content["data"]) if content["data"] else None
    preprocessing = from_json(content["preprocessing"]) if content["preprocessing"] else None
    return [_set(data, preprocessing, path, name, folder) for name in names]


def _set(
    data: DataSource | None, preprocessing: Preprocessing | None, path: Path | None, name: str, folder: Path | None
) -> DataSet:
    if data is None or preprocessing is None:
        raise UsageError(f"{path or 'this checkpoint'} records no data; give inputs and labels as an .npz file")
    return data.load(name, preprocessing, folder, path)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        raise EtbacError(f"{path}: no such file; make a checkpoint with: etbac train")
    if path.is_dir():
        raise EtbacError(f"{path} is a folder; name a checkpoint file that etbac train wrote")
    start = path.read_bytes()[:2] if path.stat().st_size < 2 else path.open("rb").read(2)
    if start[:1] == b"\x80":
        raise UnsafeFileError(
            f"{path} is a Python pickle, which would execute code; only checkpoints of etbac train are read"
        )
    if start != b"PK":
        raise EtbacError(f"{path} is not a checkpoint that etbac train wrote")
    if not zipfile.is_zipfile(path):
        raise EtbacError(f"{path} is cut short ({path.stat().st_size} bytes); copy it again or train it again")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(
            f"{path} holds Python code, which would run while it is read; only checkpoints of etbac train are read"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, UnicodeDecodeError) as error:
        raise EtbacError(f"{path} is not a whole checkpoint; copy it again or train it again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise EtbacError(f"{path} is a PyTorch file, but not a checkpoint that etbac train wrote")
    if content.get("version") != VERSION:
        raise EtbacError(f"{path} has checkpoint version {content.get('version')}; this etbac reads version {VERSION}")
    return content


def _assemble(content: Mapping[str, Any], path: Path, factory: str | None) -> Checkpoint:
    if content["task"] not in tasks.names():
        raise UsageError(f"{path} is for the task {content['task']!r}; this etbac knows {', '.join(tasks.names())}")
    trunk = _create(content["factory"], content["kwargs"], path, factory)
    specs = [ExitSpec(item["id"], item["module"], item["head"], item["options"]) for item in content["exits"]]
    network = ExitNetwork(trunk, specs, [TensorSpec.from_json(item) for item in content["inputs"]], content["task"])
    network.load_state_dict(content["state_dict"])
    full_state = content.get("full_state_dict")
    if state_sha256(trunk.state_dict() if full_state is None else full_state) != content["full_sha256"]:
        raise EtbacError(
            f"{path}: the trunk's weights are not those that were recorded; copy it again or train it again"
        )
    return Checkpoint(
        network=network.eval(),
        factory=factory or content["factory"],
        kwargs=content["kwargs"],
        metric=content["metric"],
        full_state=full_state,
        preprocessing=from_json(content["preprocessing"]) if content["preprocessing"] else None,
        data=_data_from_file(content["data"]) if content["data"] else None,
        record=content["record"],
        path=path,
    )


def _create(recorded: str, kwargs: Mapping[str, Any], path: Path, typed: str | None) -> nn.Module:
    if typed is None and recorded not in registry.names():
        how = f"--factory {recorded}" if ":" in recorded else "--factory module:function"
        raise UsageError(
            f"{path} was made by the factory {recorded!r}, which is not registered; if you trust it, name it: {how}"
        )
    name = typed or recorded
    make = registry.user_factory(name) if ":" in name else registry.factory(name)
    return make(**kwargs)


def _data_to_file(data: DataSource) -> dict[str, Any]:
    indices = {name: torch.from_numpy(chosen) for name, chosen in data.splits.indices.items()}
    return {**data.to_json(), "indices": indices}


def _data_from_file(data: Mapping[str, Any]) -> DataSource:
    indices = {name: chosen.numpy() for name, chosen in data["indices"].items()}
    splits = Splits(data["seed"], indices, data.get("by_unit", False))
    return DataSource(data["loader"], data["folder"], splits, data.get("options", {}))
