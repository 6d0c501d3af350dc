from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nclforensics.data.formats import read_generic
from nclforensics.data.manifest import ImagePair, load_manifest, read_manifest, write_manifest
from nclforensics.errors import DatasetError, MissingInputError, OutputError

if TYPE_CHECKING:
    from pathlib import Path


def touch(folder: Path, *names: str) -> None:
    """Make empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(folder: Path, *lines: str) -> Path:
    """Write a manifest."""
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_manifest_is_read_relative_to_its_folder(tmp_path: Path) -> None:
    """Folder and file name the same set; the byte order mark of a spreadsheet's export does no harm."""
    touch(tmp_path, "a.jpg", "m/a.png", "b.jpg")
    path = write(tmp_path, "\ufeffimage,mask,authentic,note", "a.jpg,m/a.png,0,x", "b.jpg,,1,y")
    expected = [
        ImagePair(tmp_path / "a.jpg", tmp_path / "m/a.png", authentic=False),
        ImagePair(tmp_path / "b.jpg", None, authentic=True),
    ]
    assert expected == read_manifest(path)
    assert expected == read_manifest(tmp_path)
    assert [load_manifest(place).name for place in (tmp_path, path)] == [str(tmp_path), str(path)]


def test_columns_are_known_in_any_case_and_with_blanks_around(tmp_path: Path) -> None:
    """A column that was not recognized would turn every forgery into an authentic image, without a word."""
    touch(tmp_path, "a.jpg", "a.png")
    write(tmp_path, "image, Mask,AUTHENTIC ,Mask_Rule", "a.jpg,a.png,0,dark")
    assert read_manifest(tmp_path) == [
        ImagePair(tmp_path / "a.jpg", tmp_path / "a.png", authentic=False, mask_rule="dark")
    ]


def test_written_manifest_reads_back(tmp_path: Path) -> None:
    """Names with commas, quotes and leading signs survive; paths outside the folder become absolute."""
    inside = tmp_path / "set"
    touch(inside, 'a,"b".jpg', "=m.png")
    touch(tmp_path, "outside.jpg")
    pairs = [
        ImagePair(inside / 'a,"b".jpg', inside / "=m.png", authentic=False),
        ImagePair(tmp_path / "outside.jpg", None, authentic=True),
    ]
    write_manifest(pairs, inside / "manifest.csv")
    assert pairs == read_manifest(inside)


def test_rule_kind_and_group_survive_the_round_trip(tmp_path: Path) -> None:
    """A converted benchmark keeps how its masks are read and which images belong together."""
    touch(tmp_path, "a.jpg", "a.png", "b.jpg")
    pairs = [
        ImagePair(tmp_path / "a.jpg", tmp_path / "a.png", False, mask_rule="dark", kind="copy-move", group="base 1"),
        ImagePair(tmp_path / "b.jpg", None, authentic=True, group="base 1"),
    ]
    write_manifest(pairs, tmp_path / "manifest.csv")
    assert pairs == read_manifest(tmp_path)


def test_columns_that_no_pair_uses_are_not_written(tmp_path: Path) -> None:
    """A plain set stays a table of three columns, a set with groups has one more."""
    plain = ImagePair(tmp_path / "a.jpg", None, authentic=True)
    write_manifest([plain], tmp_path / "plain.csv")
    assert (tmp_path / "plain.csv").read_text() == "image,mask,authentic\na.jpg,,1\n"
    write_manifest([plain, replace(plain, group="g")], tmp_path / "grouped.csv")
    assert (tmp_path / "grouped.csv").read_text() == "image,mask,authentic,group\na.jpg,,1,\na.jpg,,1,g\n"


def test_a_manifest_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A name that is no UTF-8, and a name that a folder has: neither half a list nor a temporary file stays."""
    (tmp_path / "taken.csv").mkdir()
    for name, target, error in (("lat\udce9.jpg", "new.csv", DatasetError), ("a.jpg", "taken.csv", OutputError)):
        with pytest.raises(error):
            write_manifest([ImagePair(tmp_path / name, None, authentic=True)], tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.csv"]


def test_kinds_are_read_as_the_forge_writes_them(tmp_path: Path) -> None:
    """`nclf forge` writes copy_move and, for an untouched photo, authentic."""
    touch(tmp_path, "a.jpg", "m.png", "b.jpg")
    write(tmp_path, "image,mask,authentic,kind", "a.jpg,m.png,0,copy_move", "b.jpg,m.png,1,authentic")
    assert [pair.kind for pair in read_manifest(tmp_path)] == ["copy-move", ""]


def test_photos_of_a_forged_set_are_its_groups(tmp_path: Path) -> None:
    """Sets that `nclf forge` wrote before it wrote groups; what else a column photos may hold is nobody's group."""
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    one, two = "0a" * 32, "1b" * 32
    rows = (f"a.jpg,1,{one} {two} {one},", "b.jpg,1,two of them,", "c.jpg,1,,", f"d.jpg,1,{one},mine")
    write(tmp_path, "image,authentic,photos,group", *rows)
    assert [pair.bases for pair in read_manifest(tmp_path)] == [(one, two), ("b.jpg",), ("c.jpg",), ("mine",)]


def test_every_fault_of_a_list_is_reported_and_the_rest_is_kept(tmp_path: Path) -> None:
    """`nclf data check` shows all faults of a manifest at once."""
    touch(tmp_path, "a.jpg", "m.png")
    write(
        tmp_path, "image,mask,authentic", "a.jpg,m.png,0", "a.jpg,,1", "b.jpg,m.png,0", "m.png,gone.png,0", "m.png,,0"
    )
    loaded = load_manifest(tmp_path)
    assert [pair.image.name for pair in loaded.pairs] == ["a.jpg"]
    assert [(anomaly.kind, anomaly.severity, anomaly.path and anomaly.path.name) for anomaly in loaded.anomalies] == [
        ("duplicate", "error", "a.jpg"),
        ("unreadable", "error", "b.jpg"),
        ("unpaired-image", "error", "m.png"),
        ("unpaired-image", "error", "m.png"),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("image,mask,authentic", "a.jpg,,0"), "1 faults in .*a.jpg: Listed as tampered, but without a mask"),
        (("image,mask,authentic", "a.jpg,m.png,0", "sub/../a.jpg,m.png,0"), "more than once"),
        (("image,mask,authentic", "none.jpg,,1"), r"none\.jpg: .* does not exist"),
        (("image,mask,authentic", "no\0ne.jpg,,1"), "does not exist"),
        (("image,mask,authentic", "a.jpg,none.png,0"), r"a\.jpg: Its mask .*none\.png does not exist"),
        (("image,mask,authentic", "a.jpg,m.png,maybe"), 'line 2, found "maybe"'),
        (("image,mask,authentic", ",m.png,0"), "line 2, found nothing"),
        (("image,mask,authentic,mask_rule", "a.jpg,m.png,0,white"), 'line 2, found "white"'),
        (("file,mask", "a.jpg,m.png"), "found file, mask"),
        (("image,gt", "a.jpg,m.png"), "found image, gt"),
        (("image,mask,authentic",), "found no rows"),
    ],
    ids=["no-mask", "twice", "no-image", "nul", "mask-gone", "word", "blank", "rule", "columns", "gt", "empty"],
)
def test_faulty_manifest_is_refused(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    """Every fault stops the reading and is named."""
    touch(tmp_path, "a.jpg", "m.png", "sub/x.txt")
    write(tmp_path, *lines)
    with pytest.raises(DatasetError, match=message):
        read_manifest(tmp_path)


def test_binary_file_is_no_manifest(tmp_path: Path) -> None:
    """An image given in place of a CSV is refused with the reason."""
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(DatasetError, match="not a CSV"):
        read_generic(path)


def test_other_specs_are_refused(tmp_path: Path) -> None:
    """A path that does not exist is a missing input; a folder without a layout is an invalid set."""
    with pytest.raises(MissingInputError):
        read_generic(tmp_path / "none")
    with pytest.raises(DatasetError, match="found neither"):
        read_generic(tmp_path)
