"""A mistyped run leaves no folder among the models, and nothing is measured for a card that is not there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from scripts import release_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("finished", [False, True], ids=["no run", "no card"])
def test_what_is_missing_is_said_first(
    *, finished: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends as a usage error, and the folder of models is as it was."""
    (tmp_path / "models").mkdir()
    if finished:
        (tmp_path / "run" / "model").mkdir(parents=True)
    monkeypatch.setattr(release_model, "MODELS", tmp_path / "models")
    monkeypatch.setattr(sys, "argv", ["release_model.py", str(tmp_path / "run"), "--sets", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        release_model.main()
    assert ("card.md" if finished else "finished run") in capsys.readouterr().err
    assert not any((tmp_path / "models").iterdir())
