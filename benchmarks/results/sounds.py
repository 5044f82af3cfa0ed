"""Telephone prompts in five languages, a folder for each: which language is spoken."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.data import unpack

LANGUAGES = ("en", "es", "fr", "it", "ru")


def link_prompts(folder: Path, cache: Path = Path("data/asterisk")) -> None:
    """Links by language to the wav files of the Debian packages asterisk-core-sounds-<language>-wav, of which each
    prompt has the same name in all languages; SystemExit where they can't be had."""
    for language in LANGUAGES:
        source = cache / language
        if not source.is_dir():
            unpack(f"asterisk-core-sounds-{language}-wav", source)
        for path in sorted(source.rglob("*.wav")):
            if path.stat().st_size > 2_000:  # shorter ones are beeps and silence
                target = folder / language / "-".join(path.relative_to(source).parts[-2:])
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, target)
