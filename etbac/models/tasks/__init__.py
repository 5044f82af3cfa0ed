"""Tasks: what a full model answers, which heads its exits get, how these are trained. Registered by name."""

from etbac.models.tasks.base import Task
from etbac.models.tasks.registry import get, names

__all__ = ["Task", "get", "names"]
