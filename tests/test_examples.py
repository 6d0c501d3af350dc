"""The example pictures are complete, documented, openly licensed and small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nclforensics.data.images import image_size, read_image, read_mask, sha256_of
from nclforensics.data.manifest import ImagePair, read_manifest

EXAMPLES = Path(__file__).parents[1] / "examples"
MASKS = EXAMPLES.parent / "docs" / "example_masks"
PHOTOS = sorted(path for path in EXAMPLES.rglob("*") if path.suffix in {".jpg", ".png"})
PICTURES = sorted([*PHOTOS, *MASKS.glob("*.png")])
ALLOWED_LICENCES = {"free use", "CC0-1.0", "Apache-2.0"}
ROW = re.compile(r"\| `(?P<file>(?:authentic|forged|edited|example_masks)/[^`]+)` \|.* `(?P<sha256>[0-9a-f]{64})` \|")
LICENSED_ROW = re.compile(
    r"\| `(?P<file>(?:authentic|forged|edited)/[^`]+)` \|.*\| (?P<licence>[^|]+) \| `[0-9a-f]{64}` \|"
)


@pytest.fixture(scope="module")
def pairs() -> list[ImagePair]:
    """Return the manifest's pairs."""
    return read_manifest(EXAMPLES)


@pytest.fixture(scope="module")
def readme() -> str:
    """Return the text of the examples' README."""
    return (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_manifest_lists_every_picture_once(pairs: list[ImagePair]) -> None:
    """No picture lies there that `nclf eval examples` would not use."""
    listed = [path for pair in pairs for path in (pair.image, pair.mask) if path is not None]
    assert sorted(path.resolve() for path in listed) == PICTURES


def test_there_are_authentic_photos_and_each_kind_of_forgery(pairs: list[ImagePair]) -> None:
    """At least five authentic photos, and a splice, a copy-move and a removal."""
    assert sum(pair.authentic for pair in pairs) >= 5
    names = " ".join(pair.image.name for pair in pairs if not pair.authentic)
    assert all(kind in names for kind in ("splice", "copy_move", "removal"))


def test_masks_have_their_images_size_and_mark_a_part(pairs: list[ImagePair]) -> None:
    """A forged example is tampered somewhere, and authentic somewhere."""
    for pair in pairs:
        if pair.mask is not None:
            mask = read_mask(pair.mask)
            assert mask.shape == read_image(pair.image).pixels.shape[:2], pair.image
            assert 0.01 < mask.mean() < 0.5, pair.mask


def test_pictures_are_large_enough_to_be_judged() -> None:
    """No example is smaller than a scan's ordinary input."""
    assert all(min(image_size(path)) >= 480 for path in PICTURES)


def test_readme_names_every_picture_with_its_digest(readme: str) -> None:
    """The table is about the very files that lie there."""
    documented = {match["file"]: match["sha256"] for match in map(ROW.match, readme.splitlines()) if match}
    assert documented == {f"{path.parent.name}/{path.name}": sha256_of(path) for path in PICTURES}


def test_every_photo_has_a_licence_that_permits_shipping(readme: str) -> None:
    """Each picture names a licence of the list, whose terms the README states."""
    licences = {match["file"]: match["licence"] for match in map(LICENSED_ROW.match, readme.splitlines()) if match}
    photos = {path.relative_to(EXAMPLES).as_posix() for path in PHOTOS}
    assert licences.keys() == photos
    named = {licence for text in licences.values() for licence in text.split(", ")}
    assert named <= ALLOWED_LICENCES
    assert all(f"\n| {licence} | <https://" in readme for licence in named)


def test_pictures_are_small() -> None:
    """A clone stays quick: 250 kB a picture, 3 MB in all."""
    sizes = [path.stat().st_size for path in PICTURES]
    assert max(sizes) < 250_000
    assert sum(sizes) < 3_000_000
