from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from nclforensics.data.formats import read_generic
from nclforensics.data.formats.json_dataset import (
    read_test_datasets,
    write_balanced_dataset,
    write_json_dataset,
    write_test_datasets,
)
from nclforensics.data.images import read_mask
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError, OutputError
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def touch(folder: Path, *names: str) -> None:
    """Make empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(path: Path, content: object) -> Path:
    """Write a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def make_pair(folder: Path, stem: str, mask: NDArray[Any], rule: str = "bright") -> ImagePair:
    """Write an image of 48 x 64 and a mask as PNG."""
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{stem}.jpg"), make_image())
    cv2.imwrite(str(folder / f"{stem}_gt.png"), mask)
    return ImagePair(folder / f"{stem}.jpg", folder / f"{stem}_gt.png", authentic=False, mask_rule=rule)


def benco_mask(path: str) -> NDArray[np.bool_]:
    """Return what IMDLBenCo 0.1.45 makes of a mask file: the mean of the channels exceeds 127.5."""
    pixels = cv2.imread(path, cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.asarray(pixels.mean(axis=2) > 127.5)


def test_negatives_and_relative_paths(tmp_path: Path) -> None:
    """Paths are relative to the JSON file; "Negative" marks an authentic image."""
    touch(tmp_path, "a.jpg", "m.png", "b.jpg")
    path = write(tmp_path / "set.json", [["./a.jpg", "./m.png"], [str(tmp_path / "b.jpg"), "Negative"]])
    expected = (
        ImagePair(tmp_path / "a.jpg", tmp_path / "m.png", authentic=False),
        ImagePair(tmp_path / "b.jpg", None, authentic=True),
    )
    loaded = read_generic(path)
    assert (expected, ()) == (loaded.pairs, loaded.anomalies)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"CASIAv1": "/x", "NIST16": "/y"}', r"several sets \(CASIAv1, NIST16\)"),
        ("[", "not valid JSON"),
        ("3", "found 3"),
        ('[["a.jpg", "m.png"], ["a.jpg"]]', "entry 1"),
        ('[["a.jpg", "m.png"], ["a.jpg", null]]', "entry 1"),
        ("[]", "at least one image"),
    ],
    ids=["test-datasets", "broken", "number", "short", "null", "empty"],
)
def test_faulty_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """A file of another form is an error that names the place."""
    touch(tmp_path, "a.jpg", "m.png")
    (tmp_path / "set.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_generic(tmp_path / "set.json")


def test_all_entries_are_checked(tmp_path: Path) -> None:
    """IMDLBenCo looks at the first image only: here a late one that is gone, and a late mask, are found."""
    touch(tmp_path, "a.jpg", "b.jpg", "m.png")
    path = write(tmp_path / "set.json", [["a.jpg", "m.png"], ["late.jpg", "m.png"], ["b.jpg", "late.png"]])
    loaded = read_generic(path)
    assert [pair.image.name for pair in loaded.pairs] == ["a.jpg"]
    assert [(each.kind, each.severity) for each in loaded.anomalies] == [
        ("unreadable", "error"),
        ("unpaired-image", "error"),
    ]


def test_written_set_is_read_by_imdlbenco_as_meant(tmp_path: Path) -> None:
    """Inverted, coloured, grey, 0/1 and shrunken masks are written anew under their own names; plain ones stay."""
    truth = make_mask()
    white = np.where(truth, 255, 0).astype(np.uint8)
    green = np.zeros((48, 64, 3), np.uint8)
    green[..., 1], green[..., 2] = white, 255 - white
    pairs = [
        make_pair(tmp_path / "plain", "a", white),
        make_pair(tmp_path / "dark", "a", 255 - white, "dark"),
        make_pair(tmp_path / "ones", "A", truth.astype(np.uint8)),
        make_pair(tmp_path / "colour", "a", green, "green-over-red"),
        make_pair(tmp_path / "grey", "a_2", np.where(truth, 128, 0).astype(np.uint8), "above-10"),
        make_pair(tmp_path / "small", "a", white[::2, ::2]),
    ]
    authentic = ImagePair(make_pair(tmp_path / "au", "a", np.zeros_like(white)).image, None, authentic=True)
    path = tmp_path / "set.json"
    write_json_dataset([authentic, *pairs], path, tmp_path / "masks")
    entries = json.loads(path.read_text())
    assert entries[0] == [str(authentic.image), "Negative"]
    assert entries[1] == [str(pairs[0].image), str(pairs[0].mask)]
    written = [mask for _, mask in entries[2:]]
    assert len({mask.casefold() for mask in written}) == 5
    for mask in written:
        assert mask.startswith(str(tmp_path / "masks"))
        np.testing.assert_array_equal(truth, benco_mask(mask))
    loaded = read_generic(path)
    assert loaded.anomalies == ()
    assert all(pair.mask and np.array_equal(read_mask(pair.mask), truth) for pair in loaded.pairs if not pair.authentic)


def test_masks_are_not_written_among_other_files(tmp_path: Path) -> None:
    """The folder of somebody's own masks is refused before anything is overwritten."""
    pair = make_pair(tmp_path / "set", "a", make_mask().astype(np.uint8))
    assert pair.mask is not None
    before = pair.mask.read_bytes()
    with pytest.raises(OutputError, match="empty or new folder"):
        write_json_dataset([pair], tmp_path / "set.json", tmp_path / "set")
    assert pair.mask.read_bytes() == before
    assert not (tmp_path / "set.json").exists()


def test_transposed_mask_is_refused(tmp_path: Path) -> None:
    """Scaling it to the image would make a ground truth out of nothing."""
    pair = make_pair(tmp_path / "set", "a", make_mask(64, 48).astype(np.uint8))
    with pytest.raises(DatasetError, match=r"width and height .* swapped"):
        write_json_dataset([pair], tmp_path / "set.json", tmp_path / "masks")


def test_balanced_dataset_is_read_as_a_union_with_a_note(tmp_path: Path) -> None:
    """What is wrong in one of the sets, and an image that two sets share, is reported."""
    touch(tmp_path, "mani/Tp/a.jpg", "mani/Tp/lost.jpg", "mani/Gt/a.png", "b.jpg")
    single = write(tmp_path / "single.json", [["b.jpg", "Negative"], ["mani/Tp/a.jpg", "mani/Gt/a.png"]])
    path = tmp_path / "balanced.json"
    write_balanced_dataset([tmp_path / "mani", single], path)
    assert json.loads(path.read_text()) == [["ManiDataset", str(tmp_path / "mani")], ["JsonDataset", str(single)]]
    loaded = read_generic(path)
    assert [pair.image.name for pair in loaded.pairs] == ["a.jpg", "b.jpg"]
    assert [(each.kind, each.severity) for each in loaded.anomalies if each.kind != "unpaired-image"] == [
        ("unreliable", "note"),
        ("duplicate", "error"),
    ]
    assert tmp_path / "mani/Tp/lost.jpg" in [each.path for each in loaded.anomalies]


@pytest.mark.parametrize("kind", ["ManiDataset", "JsonDataset"])
def test_balanced_dataset_needs_all_its_sets(tmp_path: Path, kind: str) -> None:
    """A set that is gone is named; the others do not stand in for it."""
    path = write(tmp_path / "balanced.json", [[kind, "gone"]])
    with pytest.raises(DatasetError, match=f"Expected a {kind} at .*gone"):
        read_generic(path)


def test_test_datasets_round_trip(tmp_path: Path) -> None:
    """Names and places come back; anything else is refused."""
    sets = {"CASIAv1": tmp_path / "CASIA1.0", "Columbia": tmp_path / "Columbia.json"}
    path = tmp_path / "test_datasets.json"
    write_test_datasets(sets, path)
    assert sets == read_test_datasets(path)
    with pytest.raises(DatasetError, match=r"found \{\}"):
        read_test_datasets(write(path, {}))
