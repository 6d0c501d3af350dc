"""Tests of the photo pool."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from nclforensics.data.photos import GRID, MAX_SIDE, PhotoPool, Subset
from nclforensics.errors import MissingInputError, UsageError
from tests.photo_folders import make_cutout, make_photo, make_photo_folder, write_photo


def hashes(folder: Path, subset: Subset, share: float = 0.4) -> set[str]:
    """Return the photos of a subset."""
    return {file.sha256 for file in PhotoPool.from_folder(folder, subset=subset, validation_share=share).files}


def test_train_and_validation_share_no_photo_and_leave_none_out(tmp_path: Path) -> None:
    """Each photo lies on exactly one side of the split, and both sides get some."""
    folder = make_photo_folder(tmp_path, count=20)
    train, validation = hashes(folder, "train"), hashes(folder, "validation")
    assert train
    assert validation
    assert not train & validation
    assert train | validation == hashes(folder, "all")


def test_split_keeps_a_photos_side_when_others_are_added(tmp_path: Path) -> None:
    """The side depends on the photo's own hash."""
    make_photo_folder(tmp_path / "a", count=12)
    before = hashes(tmp_path, "validation")
    write_photo(tmp_path / "b" / "more.png", make_photo(seed=77))
    assert before <= hashes(tmp_path, "validation")


def test_pool_does_not_depend_on_names_or_folders(tmp_path: Path) -> None:
    """The same files under other names make the same pool; a copy counts once."""
    make_photo_folder(tmp_path / "a", count=5)
    for path in (tmp_path / "a").iterdir():
        target = tmp_path / "b" / path.stem / ("z" + path.name)
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    one = PhotoPool.from_folder(tmp_path / "a")
    both = PhotoPool.from_folder(tmp_path)
    assert [file.sha256 for file in one.files] == [file.sha256 for file in both.files]
    assert one.sha256 == both.sha256


def test_a_forged_set_is_left_out(tmp_path: Path) -> None:
    """At any depth, as soon as its records are begun; a folder with one of these names alone is a folder of photos."""
    folder = make_photo_folder(tmp_path / "photos", count=3)
    pristine = hashes(folder, "all")
    write_photo(folder / "a" / "forged" / "images" / "000000.png", make_photo(seed=77))
    (folder / "forge.toml").touch()
    (folder / "a" / "forged" / "recipes.jsonl").touch()
    assert len(hashes(folder, "all")) == 4
    (folder / "a" / "forged" / "forge.toml").touch()
    assert hashes(folder, "all") == pristine
    for inside in (folder / "a", folder / "a" / "forged" / "images"):
        with pytest.raises(MissingInputError, match="found none but what nclf forge made"):
            PhotoPool.from_folder(inside)


@pytest.mark.parametrize("make", [False, True], ids=["no folder", "folder without photos"])
def test_missing_photos_are_an_error(tmp_path: Path, *, make: bool) -> None:
    """Exit code 11 and the folder's name."""
    folder = tmp_path / "photos"
    if make:
        folder.mkdir()
        (folder / "note.txt").write_text("no photo")
    with pytest.raises(MissingInputError, match="photos"):
        PhotoPool.from_folder(folder)


def test_empty_subset_is_an_error(tmp_path: Path) -> None:
    """A validation share of 0 leaves no validation photo, and the message says so."""
    make_photo_folder(tmp_path, count=2)
    with pytest.raises(MissingInputError, match="validation"):
        PhotoPool.from_folder(tmp_path, subset="validation", validation_share=0.0)


def test_split_folder_gives_both_subsets_and_reads_every_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two pools are those of from_folder, from one reading of the folder."""
    folder = make_photo_folder(tmp_path, count=8)
    expected = [hashes(folder, "train", 0.5), hashes(folder, "validation", 0.5)]
    reads: list[Path] = []
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        reads.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)

    pools = PhotoPool.split_folder(folder, validation_share=0.5, seed=0)

    assert expected == [{file.sha256 for file in pool.files} for pool in pools]
    assert sorted(reads) == sorted(folder.rglob("*.*"))


def test_unknown_subset_is_an_error(tmp_path: Path) -> None:
    """A misspelt subset is not taken for "all"."""
    make_photo_folder(tmp_path, count=1)
    with pytest.raises(UsageError, match="trian"):
        PhotoPool.from_folder(tmp_path, subset="trian")  # type: ignore[arg-type]


def test_unreadable_photos_are_passed_over_and_noted(tmp_path: Path) -> None:
    """A broken file costs a draw nothing but is reported."""
    make_photo_folder(tmp_path, count=2)
    for number in range(4):
        (tmp_path / f"broken{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo" + bytes([number]))
    pool = PhotoPool.from_folder(tmp_path)
    rng = np.random.default_rng(0)
    drawn = {pool.draw_scene(rng, min_side=8).sha256 for _ in range(60)}
    assert len(drawn) == 2
    assert {path.name for path in pool.unreadable} == {f"broken{number}.jpg" for number in range(4)}


def test_no_usable_photo_is_an_error(tmp_path: Path) -> None:
    """Only broken or too small photos: the message says how large a photo must be."""
    write_photo(tmp_path / "small.png", make_photo(40, 50))
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    pool = PhotoPool.from_folder(tmp_path)
    with pytest.raises(MissingInputError, match="64 pixels"):
        pool.draw_scene(np.random.default_rng(0), min_side=64)


def test_photos_with_alpha_are_said_to_be_taken_for_cutouts(tmp_path: Path) -> None:
    """A folder of screenshots saved with transparency: the message says why none of them is a photo."""
    for number in range(3):
        write_photo(
            tmp_path / f"{number}.png", np.dstack([make_photo(seed=number), np.full((150, 170), 255, np.uint8)])
        )
    with pytest.raises(MissingInputError, match=r"None of the 3 photos .* 3 are PNG with an alpha channel.*without it"):
        PhotoPool.from_folder(tmp_path).draw_scene(np.random.default_rng(0), min_side=64)


def test_small_photo_is_drawn_only_where_it_is_large_enough(tmp_path: Path) -> None:
    """A photo below the sample's size serves as donor, not as host."""
    small = write_photo(tmp_path / "small.png", make_photo(40, 50))
    write_photo(tmp_path / "large.png", make_photo(100, 100, seed=1))
    pool = PhotoPool.from_folder(tmp_path)
    rng = np.random.default_rng(0)
    hosts = {pool.draw_scene(rng, min_side=64).shortest_side for _ in range(20)}
    donors = {pool.draw_scene(rng, min_side=1).shortest_side for _ in range(40)}
    assert small.exists()
    assert hosts == {100}
    assert donors == {40, 100}


def test_other_photo_than_the_host_is_preferred(tmp_path: Path) -> None:
    """A donor is another photo while there is one; a pool of one photo gives that one."""
    make_photo_folder(tmp_path / "two", count=2)
    pool = PhotoPool.from_folder(tmp_path / "two")
    host = pool.files[0].sha256
    rng = np.random.default_rng(0)
    assert {pool.draw_scene(rng, min_side=1, other_than=host).sha256 for _ in range(10)} == {pool.files[1].sha256}
    make_photo_folder(tmp_path / "one", count=1)
    lonely = PhotoPool.from_folder(tmp_path / "one")
    assert lonely.draw_scene(rng, min_side=1, other_than=lonely.files[0].sha256).sha256 == lonely.files[0].sha256


def test_cutout_is_an_object_and_never_a_scene(tmp_path: Path) -> None:
    """A PNG with alpha gives its opacity; its background is made up, so it is no host."""
    make_photo_folder(tmp_path, count=1)
    write_photo(tmp_path / "cutout.png", make_cutout())
    pool = PhotoPool.from_folder(tmp_path)
    rng = np.random.default_rng(0)
    cutout = pool.draw_object(rng)
    assert cutout is not None
    assert cutout.opacity is not None
    assert set(np.unique(cutout.opacity)) == {0, 255}
    assert cutout.sha256 not in {pool.draw_scene(rng, min_side=1).sha256 for _ in range(20)}


def test_pool_without_cutouts_draws_none(tmp_path: Path) -> None:
    """No PNG with alpha: no object."""
    pool = PhotoPool.from_folder(make_photo_folder(tmp_path, count=1))
    assert not pool.has_objects
    assert pool.draw_object(np.random.default_rng(0)) is None


def test_large_photo_is_cut_on_the_jpeg_grid_and_not_resized(tmp_path: Path) -> None:
    """The kept crop is the photo's own pixels from a corner that is a multiple of 16."""
    pixels = np.random.default_rng(0).integers(0, 256, (MAX_SIDE + 100, 70, 3), dtype=np.uint8)
    write_photo(tmp_path / "large.png", pixels)
    photo = PhotoPool.from_folder(tmp_path).photo(0)
    assert photo is not None
    top = 50 // GRID * GRID
    assert np.array_equal(photo.pixels, pixels[top : top + MAX_SIDE])


def test_pickled_pool_carries_no_pixels(tmp_path: Path) -> None:
    """A worker started by spawn gets the list of files, not gigabytes."""
    pool = PhotoPool.from_folder(make_photo_folder(tmp_path, count=3))
    pool.preload()
    copy = pickle.loads(pickle.dumps(pool))  # noqa: S301 - our own bytes
    assert len(pickle.dumps(pool)) < 5000
    first, again = pool.photo(0), copy.photo(0)
    assert first is not None
    assert again is not None
    assert np.array_equal(first.pixels, again.pixels)


def test_cache_stays_within_its_limit(tmp_path: Path) -> None:
    """Photos beyond the limit are decoded at each draw instead of being kept."""
    files = PhotoPool.from_folder(make_photo_folder(tmp_path, count=4)).files
    one_photo = 150 * 170 * 3
    pool = PhotoPool(files, cache_bytes=2 * one_photo)
    pool.preload()
    assert len(pool._cached) == 2
    assert pool.photo(3) is not None
