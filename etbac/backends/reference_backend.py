"""ONNX's own evaluator, in Python: slow, and what the others are checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from etbac.backends.interface import Availability, BuildOptions, Engine, RunsSources, Tensor
from etbac.errors import EtbacError, MissingPackageError, one_line

INSTALL = "pip install onnx"


class ReferenceBackend(RunsSources):
    """Backend `reference`, for the device `cpu` and every dtype."""

    name = "reference"

    def available(self) -> Availability:
        try:
            found = version("onnx")
            _evaluator()
        except PackageNotFoundError:
            return Availability(False, None, "cpu", "onnx is not installed", INSTALL)
        except Exception as error:  # whatever a broken library raises
            return Availability(False, None, "cpu", one_line(error), INSTALL)
        return Availability(True, found, "cpu", "slow; for checks", INSTALL)

    def device(self, dtype: str) -> str:
        return "cpu"

    def build(self, source: Path, options: BuildOptions, folder: Path) -> Engine:
        return Engine(self.name, "cpu", options.dtype, source)

    def load(self, engine: Engine) -> ReferenceRunner:
        try:
            return ReferenceRunner(engine.path.name, _evaluator()(str(engine.path)))
        except EtbacError:
            raise
        except Exception as error:
            raise EtbacError(f"onnx cannot load {engine.path}: {one_line(error)}") from error


class ReferenceRunner:
    """An evaluator that holds no state between runs."""

    def __init__(self, name: str, evaluator: Any) -> None:
        self._name, self._evaluator = name, evaluator

    def run(self, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> Sequence[Tensor]:
        if self._evaluator is None:
            raise EtbacError(f"{self._name} was closed; open the chain again")
        try:
            found = self._evaluator.run(list(outputs), {name: np.asarray(value) for name, value in inputs.items()})
        except Exception as error:
            raise EtbacError(f"onnx failed on {self._name}: {one_line(error)}") from error
        return [np.asarray(value) for value in found]

    def close(self) -> None:
        self._evaluator = None

    def __enter__(self) -> ReferenceRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _evaluator() -> Any:
    try:
        from onnx.reference import ReferenceEvaluator
    except ImportError as error:
        raise MissingPackageError(
            f"backend reference: onnx cannot be imported ({one_line(error)}). Install it: {INSTALL}"
        ) from None
    return ReferenceEvaluator
