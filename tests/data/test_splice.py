"""Tests of splices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.canvas import MARGIN, Canvas
from nclforensics.data.photos import PhotoPool
from nclforensics.data.splice import splice
from tests.photo_folders import make_cutout, write_photo

if TYPE_CHECKING:
    from pathlib import Path


def two_colour_pool(folder: Path) -> PhotoPool:
    """Return a pool of a dark red and a light grey photo."""
    rng = np.random.default_rng(0)
    for name, colour in (("red", (150, 20, 20)), ("grey", (210, 210, 210))):
        noise = rng.integers(-12, 13, (120, 120, 1))
        write_photo(folder / f"{name}.png", (np.array(colour) + noise).astype(np.uint8))
    return PhotoPool.from_folder(folder)


def splices(pool: PhotoPool, count: int) -> list[tuple[Canvas, dict[str, object]]]:
    """Splice onto grey canvases, whose host is no photo of the pool."""
    made = []
    for seed in range(count):
        canvas = Canvas(np.full((100, 100, 3), 205, np.uint8), np.zeros((100, 100), np.bool_))
        made.append((canvas, splice(canvas, np.random.default_rng(seed), area=900, pool=pool, host="")))
    return made


def test_area_is_about_what_was_asked_for(tmp_path: Path) -> None:
    """On average over draws within a third; some of a region may lie beyond the canvas."""
    areas = [np.count_nonzero(canvas.mask) for canvas, _ in splices(two_colour_pool(tmp_path), 120)]
    assert np.mean(areas) == pytest.approx(900, rel=0.33)
    assert min(areas) > 0


def test_donor_that_fits_is_preferred(tmp_path: Path) -> None:
    """Onto light grey, the grey donor is taken far more often than the red one, which still occurs."""
    pool = two_colour_pool(tmp_path)
    red, grey = sorted((file.sha256 for file in pool.files), key=lambda sha: pool_mean(pool, sha))
    donors = [record.get("donor") for _, record in splices(pool, 150)]
    assert donors.count(grey) > 2 * donors.count(red) > 0


def pool_mean(pool: PhotoPool, sha256: str) -> float:
    """Return a photo's mean level."""
    photo = pool.photo([file.sha256 for file in pool.files].index(sha256))
    assert photo is not None
    return float(photo.pixels.mean())


def test_matched_colours_lie_nearer_to_the_surroundings(tmp_path: Path) -> None:
    """A red donor matched to grey surroundings is less red than one that is not matched."""
    pool = two_colour_pool(tmp_path)
    red = min((file.sha256 for file in pool.files), key=lambda sha: pool_mean(pool, sha))
    distances: dict[bool, list[float]] = {True: [], False: []}
    for canvas, record in splices(pool, 200):
        if record.get("donor") == red:
            distances[bool(record["match"])].append(float(205 - canvas.image[canvas.mask][:, 1].mean()))
    assert np.mean(distances[True]) < 0.75 * np.mean(distances[False])


def test_wide_shadow_of_an_object_changes_nothing_far_from_the_mask(tmp_path: Path) -> None:
    """A cut-out with a soft shadow around it: what lies more than the margin from a marked pixel stays as it was."""
    cutout = make_cutout(120)
    cutout[:, :, 3] = np.maximum(cutout[:, :, 3], 60)  # a faint shadow all over its square
    write_photo(tmp_path / "object.png", cutout)
    pool, seen = two_colour_pool(tmp_path), 0
    for canvas, record in splices(pool, 200):
        if record["shape"] != "alpha":
            continue
        seen += 1
        near = cv2.dilate(canvas.mask.astype(np.uint8), np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)) > 0
        assert not (canvas.image[~near] != 205).any()
    assert seen > 3


def test_retouched_region_keeps_its_content(tmp_path: Path) -> None:
    """A retouch has no donor; its region stays near what it was."""
    made = [(c, r) for c, r in splices(two_colour_pool(tmp_path), 150) if r["op"] == "retouch"]
    assert made
    for canvas, record in made:
        assert "donor" not in record
        assert np.median(np.abs(canvas.image[canvas.mask].astype(int) - 205)) < 90
