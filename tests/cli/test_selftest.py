"""`nclf selftest`: what it prints and how it ends, through `main`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nclforensics.cli.app import main
from nclforensics.data.quality.block_grid import BlockGrid
from nclforensics.pipelines.inference import Localization, Localizer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _run(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["selftest", *argv])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_this_installation_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """The bundled model and photo; the digests are on stdout."""
    assert _run() == 0
    printed = capsys.readouterr().out
    assert "passed" in printed
    assert "weights sha256" in printed


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """For a laboratory's validation file."""
    assert _run("--json") == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_other_results_end_with_20(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The outcome says how far off they are, and the error what to do."""

    def constant(_: Localizer, image: NDArray[np.uint8]) -> Localization:
        return Localization(np.full(image.shape[:2], 0.5, np.float32), (), BlockGrid.starting_at(0, 0), 1)

    monkeypatch.setattr(Localizer, "localize_with_copies", constant)
    assert _run() == 20
    captured = capsys.readouterr()
    assert "FAILED" in captured.out
    assert "do not rely on it" in captured.err
