"""What is found in masks, headers and bytes; whether masks follow what images show is tested in planted faults."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zlib import crc32

import cv2
import numpy as np
import pytest

from nclforensics.data.loaded_set import ANOMALIES, Anomaly, BenchmarkFacts, LoadedSet
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError
from nclforensics.pipelines.dataset_check import (
    check_pairs,
    ground_truth_of_size,
    inspect_pairs,
    stop_at_errors,
    warnings_of,
)
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.pipelines.dataset_check import CheckedSet


def save_pair(folder: Path, name: str, mask: NDArray[np.bool_] | None, *, authentic: bool = False) -> ImagePair:
    """Write an image of 48 x 64 pixels, another one for every name, and its mask."""
    image = folder / f"{name}.png"
    cv2.imwrite(str(image), make_image(seed=crc32(name.encode())))
    path = None
    if mask is not None:
        path = folder / f"{name}_mask.png"
        cv2.imwrite(str(path), mask.astype(np.uint8) * 255)
    return ImagePair(image, path, authentic)


def whole_pairs(folder: Path, count: int = 30) -> list[ImagePair]:
    """Write pairs without fault, so many that one faulty pair is no fault of the set."""
    return [save_pair(folder, f"whole{number}", make_mask()) for number in range(count)]


def found(checked: CheckedSet) -> list[tuple[str, str, str | None]]:
    """Return kind, severity and file name of every anomaly but the note that there are few images."""
    rows = [(each.kind, each.severity, each.path.name if each.path else None) for each in checked.anomalies]
    return [row for row in rows if row[0] != "misaligned"]


def test_whole_pairs_are_usable(tmp_path: Path) -> None:
    """Order is kept; an authentic image may come with an empty mask."""
    pairs = [
        save_pair(tmp_path, "a", make_mask()),
        save_pair(tmp_path, "b", None, authentic=True),
        save_pair(tmp_path, "c", make_mask(box=None), authentic=True),
    ]
    checked = check_pairs(pairs)
    assert (tuple(pairs), (), 0) == (checked.usable, checked.skipped, checked.resized)
    assert checked.shares == (0.0625, 0.0, 0.0)
    assert found(checked) == []


def test_unusable_pairs_are_named_with_their_reason(tmp_path: Path) -> None:
    """A broken image, a broken mask and an empty mask leave three images out, never silently."""
    pairs = [save_pair(tmp_path, name, make_mask()) for name in ("image", "mask")]
    pairs += [save_pair(tmp_path, "empty", make_mask(box=None)), save_pair(tmp_path, "good", make_mask())]
    pairs[0].image.write_bytes(b"no image")
    assert pairs[1].mask is not None
    pairs[1].mask.write_bytes(b"")
    checked = check_pairs(pairs)
    assert (pairs[3],) == checked.usable
    reasons = {pair.image.stem: reason for pair, reason in checked.skipped}
    assert sorted(reasons) == ["empty", "image", "mask"]
    assert "Cannot decode" in reasons["image"]
    assert "mask_mask.png: the file is empty" in reasons["mask"]
    assert "tampered image is empty" in reasons["empty"]
    assert found(checked) == [
        ("unreadable", "warning", "image.png"),
        ("unreadable", "warning", "mask.png"),
        ("empty-mask", "warning", "empty.png"),
    ]


def test_file_that_went_away_is_left_out(tmp_path: Path) -> None:
    """A file that was there when the set was listed and is not any more ends as a skipped pair."""
    pairs = [save_pair(tmp_path, name, make_mask()) for name in ("a", "b")]
    pairs[0].image.unlink()
    assert found(check_pairs(pairs)) == [("unreadable", "warning", "a.png")]


@pytest.mark.parametrize(
    ("height", "width", "words"),
    [(24, 32, "it is scaled"), (48, 66, "aspect ratio differs by 3"), (50, 66, "it is scaled")],
    ids=["half", "wider", "larger"],
)
def test_mask_of_another_size_is_resized_and_counted(tmp_path: Path, height: int, width: int, words: str) -> None:
    """A mask of nearly the same aspect ratio is scaled to its image, with a warning that names both sizes."""
    pair = save_pair(tmp_path, "a", make_mask(height, width))
    checked = check_pairs([pair])
    assert (checked.resized, checked.usable) == (1, (pair,))
    assert found(checked) == [("resized", "warning", "a.png")]
    assert words in checked.anomalies[0].message
    assert f"64 x 48 pixels, its mask {pair.mask} has {width} x {height}" in checked.anomalies[0].message


def test_resized_mask_marks_the_same_region(tmp_path: Path) -> None:
    """Every pixel of a half-size mask becomes four; an authentic image has an empty ground truth."""
    pair = save_pair(tmp_path, "a", make_mask(24, 32, box=(4, 4, 10, 12)))
    assert np.array_equal(make_mask(box=(8, 8, 20, 24)), ground_truth_of_size(pair, (48, 64)))
    assert not ground_truth_of_size(ImagePair(pair.image, None, authentic=True), (48, 64)).any()


@pytest.mark.parametrize(
    ("height", "width", "kind"), [(64, 48, "transposed"), (24, 24, "mismatched"), (48, 50, "mismatched")]
)
def test_mask_of_another_shape_is_left_out(tmp_path: Path, height: int, width: int, kind: str) -> None:
    """One turned or cropped mask among many is skipped with a warning, as in CASIA v2."""
    pair = save_pair(tmp_path, "odd", make_mask(height, width))
    checked = check_pairs([*whole_pairs(tmp_path), pair])
    assert found(checked) == [(kind, "warning", "odd.png")]
    assert [each for each, _ in checked.skipped] == [pair]


def test_many_masks_of_another_shape_stop(tmp_path: Path) -> None:
    """Where more than one in twenty masks has another shape, the pairing is wrong."""
    odd = [save_pair(tmp_path, name, make_mask(64, 48)) for name in ("x", "y")]
    with pytest.raises(DatasetError, match=r"2 of 32 masks do not have the shape .*48 x 64.* Check the pairing"):
        check_pairs([*whole_pairs(tmp_path), *odd])


def test_inverted_masks_stop(tmp_path: Path) -> None:
    """Most masks marking most of their image are masks with black for tampered."""
    pairs = [save_pair(tmp_path, str(number), ~make_mask()) for number in range(3)]
    with pytest.raises(DatasetError, match=r"94% of their image in the median: inverted\?"):
        check_pairs([*pairs, save_pair(tmp_path, "x", make_mask())])


def test_set_of_empty_masks_stops(tmp_path: Path) -> None:
    """All-black ground truth comes from a conversion by a wrong rule, not from images without forgery."""
    pairs = [save_pair(tmp_path, name, make_mask(box=None)) for name in ("a", "b")]
    with pytest.raises(DatasetError, match="2 of 3 masks are empty"):
        check_pairs([*pairs, save_pair(tmp_path, "c", make_mask())])


def test_the_pair_names_its_mask_rule(tmp_path: Path) -> None:
    """Black-on-white masks are not inverted if the pair says that black is tampered."""
    pair = save_pair(tmp_path, "a", ~make_mask())
    dark = ImagePair(pair.image, pair.mask, authentic=False, mask_rule="dark")
    assert check_pairs([dark]).shares == (0.0625,)
    assert np.array_equal(make_mask(), ground_truth_of_size(dark, (48, 64)))


def test_authentic_image_with_tampered_pixels_stops(tmp_path: Path) -> None:
    """The list contradicts itself."""
    with pytest.raises(DatasetError, match=r"a\.png: It is listed as authentic, but its mask .* marks 6\.2%"):
        check_pairs([save_pair(tmp_path, "a", make_mask(), authentic=True)])


def test_image_listed_twice_stops(tmp_path: Path) -> None:
    """The same file under two spellings of its path is one file."""
    pair = save_pair(tmp_path, "a", make_mask())
    (tmp_path / "sub").mkdir()
    again = ImagePair(tmp_path / "sub" / ".." / "a.png", pair.mask, authentic=False)
    with pytest.raises(DatasetError, match="listed twice"):
        check_pairs([pair, again])


def test_equal_files_are_reported(tmp_path: Path) -> None:
    """Two names for the same bytes count one image twice: a warning that names the first."""
    pairs = [save_pair(tmp_path, name, make_mask()) for name in ("a", "b")]
    pairs[1].image.write_bytes(pairs[0].image.read_bytes())
    checked = check_pairs(pairs)
    assert found(checked) == [("duplicate", "warning", "b.png")]
    assert str(pairs[0].image) in checked.anomalies[0].message


def test_inspection_reports_errors_without_stopping(tmp_path: Path) -> None:
    """`nclf data check` shows all that is wrong, not only the first fault; every kind is a known word."""
    pairs = [save_pair(tmp_path, str(number), ~make_mask()) for number in range(3)]
    checked = inspect_pairs([*pairs, pairs[0]])
    assert found(checked) == [("duplicate", "error", "0.png"), ("inverted", "error", None)]
    assert {each.kind for each in checked.anomalies} <= set(ANOMALIES)


def test_missing_partners_may_be_allowed() -> None:
    """--allow-missing passes over unpaired files and over nothing else."""
    unpaired = [Anomaly("unpaired-image", "error", "No mask."), Anomaly("unpaired-mask", "error", "No image.")]
    stop_at_errors(unpaired, allow_missing=True)
    with pytest.raises(DatasetError, match=r"No mask\. 1 more errors: 1 unpaired-mask\. --allow-missing goes on"):
        stop_at_errors(unpaired)
    with pytest.raises(DatasetError, match="Inverted"):
        stop_at_errors([*unpaired, Anomaly("inverted", "error", "Inverted.")], allow_missing=True)


def test_warnings_count_single_files(tmp_path: Path) -> None:
    """Caveats and remarks on the whole set are spelled out, those on files counted, notes left to `nclf data check`."""
    pairs = [save_pair(tmp_path, name, make_mask(24, 32)) for name in ("a", "b")]
    facts = BenchmarkFacts("x", "X", (), 2, 0, "tree", "rule", "owner", "terms", caveats=("Very easy.",))
    anomalies = (Anomaly("count", "warning", "Too few."), Anomaly("ignored", "note", "A list.", tmp_path))
    loaded = LoadedSet("x", tmp_path, tuple(pairs), anomalies, facts)
    warnings = warnings_of(loaded, check_pairs(pairs))
    assert warnings[:2] == ("Very easy.", "Too few.")
    assert [line[:11] for line in warnings[2:]] == ["2 x resized"]


def test_removals_are_not_asked_for_edges(tmp_path: Path) -> None:
    """Where something was painted over, nothing need run along the contour; other kinds are looked at."""
    pairs = [save_pair(tmp_path, name, make_mask()) for name in ("a", "b", "c")]
    removals = [replace(pair, kind="removal") for pair in pairs[:2]]
    assert inspect_pairs([*removals, pairs[2]]).alignment.images == 1


def test_progress_is_told_of_every_pair(tmp_path: Path) -> None:
    """One call a pair, whether it can be used or not."""
    calls: list[None] = []
    check_pairs(whole_pairs(tmp_path, 3), progress=lambda: calls.append(None))
    assert len(calls) == 3
