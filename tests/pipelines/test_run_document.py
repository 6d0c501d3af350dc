"""run.json names what the bytes of a scan depend on."""

from __future__ import annotations

import dataclasses
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import nclforensics
from nclforensics.config import ScanConfig
from nclforensics.pipelines.run_document import digest_of_config, git_commit, versions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ScanConfig)])
def test_every_setting_is_in_the_digest(field: str) -> None:
    """Two scans with the same digest were made with the same settings."""
    value = getattr(ScanConfig(), field)
    other: Any = {bool: not value, str: f"{value}x", int: -1, float: 0.123, type(None): 0.5}[type(value)]
    change: dict[str, Any] = {field: other}
    assert digest_of_config(dataclasses.replace(ScanConfig(), **change)) != digest_of_config(ScanConfig())
    assert digest_of_config(ScanConfig()) == digest_of_config(ScanConfig())


def test_the_commit_is_that_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 digits, "-dirty" after a change; None where the package lies in no checkout, whatever lies around it."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed arguments

    def commit() -> str | None:
        return git_commit.__wrapped__()

    package = tmp_path / "nclforensics"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(nclforensics, "__file__", str(package / "__init__.py"))
    assert commit() is None
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    clean = commit()
    (package / "__init__.py").write_text("changed = True\n")
    assert clean is not None
    assert len(clean) == 40
    assert commit() == f"{clean}-dirty"
    nested = package / "site-packages" / "nclforensics"
    nested.mkdir(parents=True)
    monkeypatch.setattr(nclforensics, "__file__", str(nested / "__init__.py"))
    assert commit() is None


def test_versions_name_what_decodes_and_computes() -> None:
    """A library that is not installed is there too: its absence decides what can be decoded."""
    found = versions()
    assert found["nclforensics"] == nclforensics.__version__
    assert {"torch", "opencv", "numpy", "tifffile", "rawpy", "pillow-heif"} <= found.keys()
