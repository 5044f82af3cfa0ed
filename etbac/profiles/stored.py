"""Profiles as an engine directory keeps them, beside those of other machines.

Apart from the profiler, since `etbac run` asks for one too, and measuring takes onnx-ir.
"""

from __future__ import annotations

from etbac.engine_dir import EngineDir, write_profile
from etbac.profiles.device import machine_id, same_machine
from etbac.profiles.profile import Profile
from etbac.runtime.chain import Chain


def read(chain: Chain) -> Profile | None:
    """The profile in the engine directory, if it is of these very engines on a machine like this one, and has all
    that this version of etbac measures."""
    data = chain.engine_dir.read_profile(f"{chain.backend}-{chain.device}-{chain.dtype}-{machine_id(chain.device)}")
    if data is None:
        return None
    try:
        found = Profile.from_json(data)
    except KeyError:
        return None
    same_engines = (found.segments, found.full) == hashes(chain)
    return found if same_engines and same_machine(found.machine, chain.device) else None


def write(engine_dir: EngineDir, measured: Profile) -> None:
    """Keep a profile in the engine directory, as JSON and as CSV, beside those of other machines."""
    write_profile(engine_dir, measured.file, measured.to_json_text(), measured.to_csv_text())


def hashes(chain: Chain) -> tuple[tuple[str, ...], str]:
    """SHA-256 of the files measured: the segments' engines and the full model."""
    path, files = chain.engine_dir.path, chain.manifest.files
    engines = (engine.path.relative_to(path).as_posix() for engine in chain.selection.engines)
    return tuple(files[name] for name in engines), files[chain.selection.full_file]
