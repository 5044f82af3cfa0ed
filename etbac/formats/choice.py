"""From `--dtype` and `--keep-fp32` to one number format a segment."""

from __future__ import annotations

from collections.abc import Sequence

from etbac.contract import FULL_MODEL_ID
from etbac.errors import UsageError

FORMATS = ("fp32", "fp16", "bf16", "int8")
LAST = "last"


def formats_of(dtype: str, keep_fp32: str | None, exit_ids: Sequence[int]) -> tuple[str, ...]:
    """One format for each segment of a chain whose segments end at `exit_ids` (the last one is the full model's, 0).

    `keep_fp32`: exit ids whose segments stay in fp32, and `last` for the segment of the full model's answer: `1,last`.
    Raises UsageError for a format, a word or an exit that there is not.
    """
    if dtype not in FORMATS:
        raise UsageError(f"--dtype {dtype}: there is no such number format; there are {', '.join(FORMATS)}")
    kept = {_exit_id(word.strip(), keep_fp32, exit_ids) for word in keep_fp32.split(",")} if keep_fp32 else set()
    if kept and dtype == "fp32":
        raise UsageError(f"--keep-fp32 {keep_fp32}: the whole chain is fp32 already; name another --dtype")
    return tuple("fp32" if exit_id in kept else dtype for exit_id in exit_ids)


def _exit_id(word: str, asked: str | None, exit_ids: Sequence[int]) -> int:
    exits = [exit_id for exit_id in exit_ids if exit_id != FULL_MODEL_ID]
    if word == LAST:
        return FULL_MODEL_ID
    if not word.isdecimal():
        raise UsageError(f"--keep-fp32 {asked}: {word!r} is neither an exit id nor `{LAST}`; write it like 1,{LAST}")
    if int(word) not in exits:
        found = f"exits {', '.join(map(str, exits))}" if exits else "no exits"
        raise UsageError(f"--keep-fp32 {asked}: this chain has no exit {word}; it has {found}, and `{LAST}`")
    return int(word)
