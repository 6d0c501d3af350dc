"""Messages on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rich.table import Table
from rich.text import Text

from nclforensics.cli.app import main
from nclforensics.cli.console import print_error, print_note, print_table

if TYPE_CHECKING:
    from pathlib import Path


def test_messages_keep_their_lines_and_no_other_control(capsys: pytest.CaptureFixture[str]) -> None:
    """A message may have several lines; a name in it cannot recolour the terminal or hide what follows."""
    print_error("two\nlines \x1b[31m")
    print_note("one \u202e")
    assert capsys.readouterr().err == "nclf: two\nlines \\x1b[31m\none \\u202e\n"


@pytest.mark.parametrize("to_stdout", [False, True])
def test_a_path_over_a_table_is_shown_as_it_is(to_stdout: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001 - a case
    """In one piece, however narrow the table, and with what rich would take for markup, or for a fault in it."""
    path = f"/case/{'long/' * 30}masks[red] :warning: x[/b]"
    table = Table("n", title=f"Scanned into {path}", title_justify="left")
    table.add_row("[/b] :warning:")
    print_table(table, to_stdout=to_stdout)
    captured = capsys.readouterr()
    lines = (captured.out if to_stdout else captured.err).splitlines()
    assert lines[0] == f"Scanned into {path}"
    assert "[/b] :warning:" in lines[4]


def test_a_long_path_in_a_table_is_shown_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of many photos in one deep folder the beginnings of the paths are alike."""
    monkeypatch.setenv("COLUMNS", "60")
    path = f"/case/{'long/' * 20}IMG_20261128.jpg"
    table = Table("image", "regions")
    table.add_row(Text(path), "1 region, 6.6% of the area")
    print_table(table)
    rows = [line.split("│")[1].strip() for line in capsys.readouterr().err.splitlines() if "│" in line]
    assert "".join(rows) == path


@pytest.mark.parametrize("command", ["verify", "report"])
def test_a_hostile_folder_is_named_harmlessly(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name is part of the error."""
    with pytest.raises(SystemExit, match="11"):
        main([command, str(tmp_path / "a\x1b[2J")])
    assert "a\\x1b[2J" in capsys.readouterr().err
