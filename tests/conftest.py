"""Imported before any test: onnxruntime belongs to the tests, which make plain sessions too (see `thread_pool`)."""

from __future__ import annotations

import os

import onnxruntime  # noqa: F401
from hypothesis import settings

pytest_plugins = ["support.finished"]

# No test asserts a time.
settings.register_profile("etbac", deadline=None)
settings.load_profile("etbac")

# It would come before the folders that tests name.
os.environ.pop("ETBAC_DATA", None)
