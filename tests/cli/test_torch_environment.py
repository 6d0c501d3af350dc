"""What the command sets for the libraries below it, and leaves as the user set it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from nclforensics.cli.torch_environment import SETTINGS, prepare_torch


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the variables of a process that has set none of ours."""
    empty: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", empty)
    return empty


def test_sets_what_is_not_set(environment: dict[str, str]) -> None:
    """A variable that the user set keeps its value."""
    environment["MKL_CBWR"] = "COMPATIBLE"
    prepare_torch()
    ours = {name: value for name, value in environment.items() if name in SETTINGS}  # pytest adds its own
    assert ours == {**SETTINGS, "MKL_CBWR": "COMPATIBLE"}


def test_no_count_of_spins_overrules_the_users_policy(environment: dict[str, str]) -> None:
    """GNU's runtime heeds the count where both are set."""
    environment["OMP_WAIT_POLICY"] = "active"
    prepare_torch()
    assert environment["OMP_WAIT_POLICY"] == "active"
    assert "GOMP_SPINCOUNT" not in environment


def test_is_prepared_before_the_libraries_read_it() -> None:
    """NumPy and PyTorch read their variables once, when they are loaded."""
    script = textwrap.dedent(
        """
        import sys
        import nclforensics.cli.app as app
        loaded = []
        app.prepare_torch = lambda: loaded.extend(name for name in ("numpy", "torch", "cv2") if name in sys.modules)
        try:
            app.main(["--version"])
        finally:
            print(loaded)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.splitlines()[-1] == "[]"
