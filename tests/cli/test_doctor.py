from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError

import pytest
from click.testing import CliRunner

from etbac.cli import doctor
from etbac.cli.main import cli


def run(*arguments: str):
    return CliRunner().invoke(cli, ["doctor", *arguments])


def test_backends_and_packages_are_listed():
    done = run()
    assert done.exit_code == 0
    for name in ("onnxruntime", "torch", "transformers", "matplotlib"):
        assert name in done.stdout
    found = json.loads(run("--json").stdout)
    assert found["backends"]["onnxruntime"]["usable"]
    assert found["notes"] == []


@pytest.mark.parametrize("package", sorted(doctor.OPTIONAL))
def test_a_missing_package_is_met_with_the_line_that_installs_it(package, monkeypatch):
    real = doctor.version

    def version(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    done = run()
    assert done.exit_code == 0
    assert "pip install" in done.stdout


def test_two_packages_that_overwrite_one_module_are_said(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    assert "overwrite one module" in run().stdout
