"""Tasks by name; a task's module is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from etbac.errors import UsageError
from etbac.models.tasks.base import Task

BUILT_IN = {
    "classification": "etbac.models.tasks.classification:Classification",
    "pose": "etbac.models.tasks.pose:Pose",
    "segmentation": "etbac.models.tasks.segmentation:Segmentation",
    "text": "etbac.models.tasks.text:Text",
    "speech": "etbac.models.tasks.speech:Speech",
}


def names() -> tuple[str, ...]:
    """Names of all tasks."""
    return tuple(BUILT_IN)


def get(name: str) -> Task:
    """The task of that name; a UsageError that lists the names otherwise."""
    if name not in BUILT_IN:
        raise UsageError(f"there is no task {name!r}; there are {', '.join(BUILT_IN)}")
    module, _, attribute = BUILT_IN[name].partition(":")
    task: Task = getattr(import_module(module), attribute)()
    return task
