from __future__ import annotations

import csv
import dataclasses
import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.loaded_set import LoadedSet
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import OutputError
from nclforensics.pipelines.evaluation_folder import report_folders, write_report
from nclforensics.reports.render_json import read_json
from tests.evaluation_report import make_full_report, make_report

if TYPE_CHECKING:
    from pathlib import Path


def test_everything_is_written(tmp_path: Path) -> None:
    """The report as page, JSON and CSV, the curves as picture and table, and the pictures of the cases."""
    report = make_full_report()
    pictures = {"cases/01-best-photo.jpg": b"a picture"}
    write_report(report, pictures, tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    expected = {"report.html", "report.json", "report.csv", "robustness.csv", "robustness.png", *pictures}
    assert names == expected
    assert read_json((out / "report.json").read_text()) == report
    curves = cv2.imdecode(np.frombuffer((out / "robustness.png").read_bytes(), np.uint8), 1)
    assert curves is not None
    assert len(list(csv.reader(io.StringIO((out / "robustness.csv").read_text())))) == 1 + 4


def test_without_robustness_there_are_no_curves(tmp_path: Path) -> None:
    """Nothing is written that was not measured."""
    write_report(make_report(), {}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.json", "report.csv"}


def test_undecodable_file_name_can_be_written(tmp_path: Path) -> None:
    """A name that is valid in no encoding ends escaped in every file, wherever it stands."""
    report = make_full_report(image="\udcff.jpg")
    report = dataclasses.replace(report, protocol=dataclasses.replace(report.protocol, dataset="\udcfe"))
    write_report(report, {}, tmp_path)
    for name in ("report.html", "report.csv"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "\\udcff.jpg" in text
        assert "\\udcfe" in text
    assert read_json((tmp_path / "report.json").read_text()) == report


def test_one_set_gets_the_folder_itself_and_several_get_one_each(tmp_path: Path) -> None:
    """Named after the last part of the set's name, portable, and never twice the same."""
    names = ["coverage", "/data/My set", "other/My set/", "CASIA:..\\evil", "..", "Coverage"]
    sets = [LoadedSet(name, tmp_path / "elsewhere", ()) for name in names]
    assert report_folders(tmp_path, sets[:1], force=False) == [tmp_path]
    found = [folder.relative_to(tmp_path).as_posix() for folder in report_folders(tmp_path, sets, force=False)]
    assert found == ["coverage", "My_set", "My_set-2", "evil", "set", "Coverage-2"]


@pytest.mark.parametrize("earlier", ["report.json", "report.csv", "report.html"])
def test_earlier_report_is_replaced_only_by_force(earlier: str, tmp_path: Path) -> None:
    """Hours of measuring, or a table of somebody's own, are not overwritten by a wrong argument."""
    (tmp_path / earlier).write_text("mine")
    sets = [LoadedSet("a", tmp_path / "elsewhere", ())]
    with pytest.raises(OutputError, match="--force"):
        report_folders(tmp_path, sets, force=False)
    assert report_folders(tmp_path, sets, force=True) == [tmp_path]
    with pytest.raises(OutputError, match="is a file"):
        report_folders(tmp_path / earlier, sets, force=True)


def test_a_data_set_is_not_written_to(tmp_path: Path) -> None:
    """Its folder only by force, its files never: an index may have the name of a report."""
    index = tmp_path / "report.csv"
    index.write_text("image,mask\n")
    with pytest.raises(OutputError, match="lies inside the data set"):
        report_folders(tmp_path / "out", [LoadedSet("a", tmp_path, ())], force=False)
    assert report_folders(tmp_path / "out", [LoadedSet("a", tmp_path, ())], force=True) == [tmp_path / "out"]
    with pytest.raises(OutputError, match="is a file of the data set"):
        report_folders(tmp_path, [LoadedSet("a", index, ())], force=True)
    with pytest.raises(OutputError, match="is a file of the data set"):
        report_folders(tmp_path, [LoadedSet("a", tmp_path, (ImagePair(index, None, authentic=True),))], force=True)
