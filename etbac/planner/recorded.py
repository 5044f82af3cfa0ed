"""Exit statistics of the search set, kept in the engine directory so that planning again takes seconds.

The certify set's are never kept: every certificate reads it anew, and the reading is counted.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from etbac.engine_dir import write_statistics
from etbac.errors import EngineDirError
from etbac.metrics import Metric
from etbac.planner.collect import Progress, collect, parts_of
from etbac.planner.samples import SampleSet
from etbac.planner.statistics import ExitStatistics
from etbac.runtime.certificate import made_with
from etbac.runtime.chain import Chain

FORMAT = 3
OPTIONAL = ("classes", "summaries")


def collect_once(
    chain: Chain, samples: SampleSet, metric: Metric, progress: Progress = lambda done: None
) -> ExitStatistics:
    """As `collect`, but read from the engine directory where it has been done before with these very engines.

    One set's statistics are kept for each backend, device and dtype. What is damaged is collected again.
    """
    key = _key(chain, samples, metric)
    found = _read(chain, key, metric, samples)
    if found is not None:
        return found
    collected = collect(chain, samples, metric, progress)
    write_statistics(chain.engine_dir, _name(chain), _to_bytes(collected, key))
    return collected


def _name(chain: Chain) -> str:
    return f"{chain.backend}-{chain.device}-{chain.dtype}"


def _key(chain: Chain, samples: SampleSet, metric: Metric) -> str:
    """Hash (hex) of all that the statistics depend on."""
    parts = {
        "format": FORMAT,
        **made_with(chain),
        "full": chain.manifest.files[chain.manifest.full],
        "engines": chain.engine_dir.find(f"engines/{_name(chain)}/engines", ".json"),
        "set": samples.sha256,
        "metric": metric.name,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(chain: Chain, key: str, metric: Metric, samples: SampleSet) -> ExitStatistics | None:
    file = chain.engine_dir.find(f"statistics/{_name(chain)}", ".npz")
    if file is None:
        return None
    try:
        with np.load(chain.engine_dir.check(file), allow_pickle=False) as arrays:
            found = _from_arrays(chain.exits, arrays, metric) if str(arrays["key"]) == key else None
            return None if found is None else replace(found, units=samples.units)
    except (EngineDirError, KeyError, ValueError, OSError):
        return None


def _to_bytes(statistics: ExitStatistics, key: str) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {
        "key": np.array(key),
        "confidence": statistics.confidence,
        "scores": statistics.scores,
        "full_scores": statistics.full_scores,
    }
    if statistics.parts is not None:
        arrays |= {"parts": statistics.parts.chain, "full_parts": statistics.parts.full}
    for name in OPTIONAL:
        if (values := getattr(statistics, name)) is not None:
            arrays[name] = values
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _from_arrays(exits: tuple[int, ...], arrays: Any, metric: Metric) -> ExitStatistics:
    others = {name: arrays[name] for name in OPTIONAL if name in arrays}
    parts = None if metric.parts is None else parts_of(metric, arrays["parts"], arrays["full_parts"])
    return ExitStatistics(exits, arrays["confidence"], arrays["scores"], arrays["full_scores"], parts=parts, **others)
