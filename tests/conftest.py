"""Imported before any test: onnxruntime belongs to the tests, which make plain sessions too (see `thread_pool`)."""

from __future__ import annotations

import onnxruntime  # noqa: F401

pytest_plugins = ["support.finished"]
