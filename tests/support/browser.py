"""A real headless Chromium, where there is one: what a page looks like, measured and painted."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

MEASURE = """
const frame = document.querySelector('iframe');
frame.onload = () => {
  const view = frame.contentWindow, page = frame.contentDocument;
  const visible = [...page.querySelectorAll('body :not(style)')].filter(e =>
    [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()));
  const scale = e => e.ownerSVGElement ? Math.hypot(e.getScreenCTM().a, e.getScreenCTM().b) : 1;
  const size = e => parseFloat(view.getComputedStyle(e).fontSize) * scale(e);
  document.body.dataset.found = JSON.stringify({
    width: page.documentElement.scrollWidth,
    fonts: visible.map(size),
    images: [...page.images].map(e => e.naturalWidth),
    plots: [...page.querySelectorAll('svg')].map(e => e.getBoundingClientRect().height),
    requests: view.performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:')),
    ink: view.getComputedStyle(page.body).color,
    paper: view.getComputedStyle(page.body).backgroundColor,
    lines: [...page.querySelectorAll('#latency svg path')].map(e => view.getComputedStyle(e).stroke),
  });
};
"""


def look(page: str, folder: Path, width: int, dark: bool, height: int = 1600) -> tuple[dict[str, Any], Path]:
    """The page in a frame of that width, which may be less than a window's least: its measures, and a picture."""
    wrapper, picture = folder / "frame.html", folder / f"{width}-{'dark' if dark else 'light'}.png"
    frame = f'<iframe style="border:0" width="{width}" height="{height}" srcdoc="{html.escape(page)}"></iframe>'
    script = f"<script>{MEASURE}</script>"
    wrapper.write_text(f'<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">{frame}{script}</body>')
    theme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    window = (theme, f"--window-size={width},{height}")
    dump = _chromium(*window, "--dump-dom", wrapper.as_uri())
    _chromium(*window, f"--screenshot={picture}", wrapper.as_uri())
    found = dump.partition('data-found="')[2].partition('"')[0]
    return json.loads(html.unescape(found)), picture


def _chromium(*arguments: str) -> str:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
