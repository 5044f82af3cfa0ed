"""Long runs that go on where they were stopped: a pytest plugin, switched on by `--finished=FILE`.

A test that passed is noted in that file under the hash of all Python files of product and tests, and skipped from then
on until one of them changes. `--first-cases` keeps the first case of every parametrised test alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import etbac
from benchmarks.zoo.store import Store, source_hash

SOURCES = (Path(etbac.__file__).parent, Path(__file__).parents[1])


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("long runs")
    group.addoption("--finished", metavar="FILE", help="Note here what passed, and skip it the next time.")
    group.addoption("--first-cases", action="store_true", help="Only the first case of each parametrised test.")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--finished")
    if path is not None:
        config.pluginmanager.register(Finished(Path(path), is_worker=hasattr(config, "workerinput")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--first-cases"):
        items[:] = {_test_of(item): item for item in reversed(items)}.values()


def _test_of(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


class Finished:
    """Of pytest-xdist's processes all read the file, and the one that hears of every test writes it."""

    def __init__(self, path: Path, is_worker: bool) -> None:
        self._path, self._is_worker = path, is_worker
        self._store = Store(path, source_hash(SOURCES))
        self._skipped = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if self._store.get(item.nodeid) is not None:
                item.add_marker(pytest.mark.skip(reason="passed before"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._is_worker:
            return
        if report.when == "call" and report.passed:
            self._store.put(report.nodeid, {"seconds": round(report.duration, 1)})
        self._skipped += report.skipped and self._store.get(report.nodeid) is not None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._skipped:
            terminalreporter.write_line(
                f"{self._skipped} passed before, on these sources, and were not run again; {self._path} has them"
            )
