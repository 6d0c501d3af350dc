from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nclforensics.data.manifest import BENCHMARKS, ImagePair, read_dataset, read_manifest, write_manifest
from nclforensics.errors import DatasetError, MissingInputError

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
    assert expected == read_dataset(str(tmp_path))


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


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("image,mask,authentic", "a.jpg,,0"), "1 tampered images .* have no mask .*a.jpg"),
        (("image,mask,authentic", "a.jpg,m.png,0", "sub/../a.jpg,m.png,0"), "more than once"),
        (("image,mask,authentic", "none.jpg,,1"), "do not exist .*none.jpg"),
        (("image,mask,authentic", "a.jpg,none.png,0"), "do not exist .*none.png"),
        (("image,mask,authentic", "a.jpg,m.png,maybe"), 'line 2, found "maybe"'),
        (("image,mask,authentic", ",m.png,0"), "line 2, found nothing"),
        (("file,mask", "a.jpg,m.png"), "found file, mask"),
        (("image,mask,authentic",), "found no rows"),
    ],
    ids=["no-mask", "twice", "no-image", "mask-gone", "word", "blank", "columns", "empty"],
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
        read_dataset(str(path))


def test_tp_gt_folders_pair_by_stem(tmp_path: Path) -> None:
    """Sorted order would pair a_mask.jpg with a.png; hidden files, Thumbs.db and lists are ignored."""
    touch(tmp_path, "Tp/a.jpg", "Tp/a_mask.JPG", "Tp/c.tif", "Tp/.DS_Store", "Tp/Thumbs.db", "Gt/_list.txt")
    touch(tmp_path, "Gt/a.png", "Gt/a_mask.png", "Gt/c_gt.png", "Au/z.bmp")
    pairs = read_dataset(str(tmp_path))
    named = [(pair.image.name, pair.mask and pair.mask.name, pair.authentic) for pair in pairs]
    expected = [("a.jpg", "a.png", False), ("a_mask.JPG", "a_mask.png", False), ("c.tif", "c_gt.png", False)]
    assert [*expected, ("z.bmp", None, True)] == named


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Tp/a.jpg", "Tp/b.jpg", "Gt/a.png"), r"1 images without mask \(.*b.jpg\), 0 masks"),
        (("Tp/a.jpg", "Gt/a.png", "Gt/b.png"), r"0 images without mask, 1 masks without image \(.*b.png\)"),
        (("Tp/a.jpg", "Tp/a.png", "Gt/a.png"), "share a name"),
        (("Tp/a.jpg", "Gt/a_gt.png", "Gt/a_mask.png"), "Several masks"),
        (("Tp/a.jpg", "Tp/b.gif", "Gt/a.png"), "only image files .*b.gif"),
        (("Tp/.x", "Gt/.x"), "at least one image"),
    ],
    ids=["image-alone", "mask-alone", "twins", "two-masks", "unknown-kind", "empty"],
)
def test_faulty_tp_gt_folders_are_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    """One missing file must not shift the pairs behind it."""
    touch(tmp_path, *names)
    with pytest.raises(DatasetError, match=message):
        read_dataset(str(tmp_path))


def test_json_dataset_knows_negatives_and_relative_paths(tmp_path: Path) -> None:
    """Paths are relative to the JSON file; "Negative" marks an authentic image."""
    touch(tmp_path, "a.jpg", "m.png", "b.jpg")
    path = tmp_path / "set.json"
    path.write_text(json.dumps([["a.jpg", "m.png"], [str(tmp_path / "b.jpg"), "Negative"]]))
    expected = [
        ImagePair(tmp_path / "a.jpg", tmp_path / "m.png", authentic=False),
        ImagePair(tmp_path / "b.jpg", None, authentic=True),
    ]
    assert expected == read_dataset(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not valid JSON"),
        ('{"a": 1}', "entry 0"),
        ('[["a.jpg", "m.png"], ["a.jpg"]]', "entry 1"),
        ('[["a.jpg", "m.png"], ["late.jpg", "Negative"]]', "do not exist .*late.jpg"),
        ("[]", "at least one image"),
    ],
    ids=["broken", "object", "short", "gone", "empty"],
)
def test_faulty_json_dataset_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """All records are checked, not only the first."""
    touch(tmp_path, "a.jpg", "m.png")
    (tmp_path / "set.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_dataset(str(tmp_path / "set.json"))


@pytest.mark.parametrize("name", [*sorted(BENCHMARKS), "CASIA"])
def test_benchmark_name_explains_what_it_needs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not loadable yet says what works today."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"It needs .*manifest\.csv"):
        read_dataset(name)


def test_other_specs_are_refused(tmp_path: Path) -> None:
    """A path that does not exist is a missing input; a folder without a layout is an invalid set."""
    with pytest.raises(MissingInputError):
        read_dataset(str(tmp_path / "none"))
    with pytest.raises(DatasetError, match="found neither"):
        read_dataset(str(tmp_path))
