"""From an ONNX file to an engine file."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etbac.backends.interface import BuildOptions
from etbac.backends.tensorrt.shapes import Shapes, profile_shapes, read_inputs
from etbac.backends.tensorrt.tools import Tools
from etbac.errors import BackendRefusal, EtbacError

Compatible = frozenset[str]
"""Words of ETBAC_TENSORRT_COMPATIBLE: "version", "hardware"."""

RECIPE = "1"
"""Raised when the same source and options lead to other engines than before, which are then built again."""
WHAT_TO_DO = "--fallback runs this segment on ONNX Runtime"


def build_engine(tools: Tools, source: Path, options: BuildOptions, folder: Path, compatible: Compatible) -> Path:
    """Parse `source`, build it, and put `<folder>/<source's stem>.engine` in place once it is whole."""
    from polygraphy.exception import PolygraphyException

    with tools.quiet():
        parsed = _parse(tools, source)
        shapes = profile_shapes(read_inputs(parsed[1]), options, source.name)
        config = _config(tools, shapes, options, compatible)
        cache = _timing_cache(tools, options)
        try:
            built = tools.poly.EngineBytesFromNetwork(parsed, config, save_timing_cache=cache)()
        except PolygraphyException as error:
            raise BackendRefusal(
                f"{_cannot_build(tools, source)}: {tools.log.reason(str(error))}; {WHAT_TO_DO}"
            ) from None
        return _write(folder, f"{source.stem}.engine", memoryview(built))


def _parse(tools: Tools, source: Path) -> tuple[Any, Any, Any]:
    """(builder, network, parser). The parser reads the file itself, with weights that stand beside it; Polygraphy's
    loader would do the same, and lose which node was refused."""
    builder, network = tools.poly.CreateNetwork(strongly_typed=True)()
    parser = tools.trt.OnnxParser(network, tools.log.logger)
    if parser.parse_from_file(str(source)):
        return builder, network, parser
    found = [parser.get_error(number) for number in range(parser.num_errors)]
    refused = [error for error in found if error.node_operator()]
    if not refused:
        reason = _explained(found[0]) if found else tools.log.reason()
        raise EtbacError(f"{tools.flavour.name} {tools.trt.__version__} cannot read {source}: {reason}")
    first, more = refused[0], len(refused) - 1
    name = f"node {first.node_name()!r}" if first.node_name() else f"node number {first.node()}"
    others = f" and {more} more node{'s' if more > 1 else ''}" if more else ""
    raise BackendRefusal(
        f"{_cannot_build(tools, source)}: {name} ({first.node_operator()}){others} is refused "
        f"({_explained(first)}); {WHAT_TO_DO}"
    )


def _config(tools: Tools, shapes: Mapping[str, Shapes], options: BuildOptions, compatible: Compatible) -> Any:
    """What Polygraphy calls with the builder and the network. TF32 is off: fp32 means fp32."""
    profile = tools.poly.Profile()
    for name, each in shapes.items():
        profile.add(name, each.smallest, each.usual, each.largest)
    trt = tools.trt
    if tools.flavour.portable:
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        return tools.poly.PostprocessConfig(
            CreateConfigRTX(profiles=[profile]),
            lambda builder, network, config: config.clear_flag(trt.BuilderFlag.TF32),
        )
    known = _timing_cache(tools, options)
    level = trt.HardwareCompatibilityLevel.AMPERE_PLUS if "hardware" in compatible else None
    return tools.poly.CreateConfig(
        profiles=[profile],
        load_timing_cache=known if known and os.path.exists(known) else None,
        hardware_compatibility_level=level,
        version_compatible="version" in compatible,
        tf32=False,
    )


def _timing_cache(tools: Tools, options: BuildOptions) -> str | None:
    """A portable engine is built without a measurement, and its builder reads no cache without a GPU."""
    return None if tools.flavour.portable or options.timing_cache is None else str(options.timing_cache)


def _cannot_build(tools: Tools, source: Path) -> str:
    return f"{tools.flavour.name} {tools.trt.__version__} cannot build {source.name}"


def _explained(error: Any) -> str:
    """The sentence in TensorRT's reason, often a line of its source; its code where there is none ("false")."""
    text = " ".join(error.desc().split())
    quoted = re.search('"(.+)"', text)
    sentence = quoted[1] if quoted else re.sub("^.*: (?=[A-Z])", "", text)
    return sentence if " " in sentence else str(error.code()).rpartition(".")[2].lower().replace("_", " ")


def _write(folder: Path, name: str, content: memoryview) -> Path:
    """Either the whole file is there or none; private, since engines are code."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f"{name}.", suffix=".etbac-tmp", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / name)
    except BaseException:
        os.unlink(temporary)
        raise
    return folder / name
