"""Tests of the forge as a whole: determinism, labels, shares and recipes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.config import ForgeConfig
from nclforensics.data.canvas import MARGIN
from nclforensics.data.endings import ENDING_SHARES
from nclforensics.data.forge import KINDS, Forge, ForgedSample
from nclforensics.data.histories import Image, apply_step, decode_jpeg
from nclforensics.data.photos import PhotoPool
from nclforensics.data.plan import LOSSLESS_SHARE
from nclforensics.data.quality.block_grid import find_grid
from nclforensics.data.quality.whole_saving import whole_saving
from nclforensics.data.views import cut_view
from nclforensics.errors import MissingInputError
from tests.photo_folders import make_cutout, make_photo_folder, write_photo
from tests.textures import make_texture

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ForgeConfig(size=64, min_area=0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos and a cut-out object."""
    photos = make_photo_folder(tmp_path_factory.mktemp("photos"))
    write_photo(photos / "cutout.png", make_cutout())
    return photos


@pytest.fixture(scope="module")
def samples(folder: Path) -> list[ForgedSample]:
    """The first 400 samples of a forge."""
    forge = Forge(PhotoPool.from_folder(folder), SMALL, 0)
    return [forge.sample(index) for index in range(400)]


def only(kind: str, **more: float) -> ForgeConfig:
    """Return a configuration that makes one kind."""
    shares = {name: float(name == kind) for name in KINDS}
    return dataclasses.replace(SMALL, **shares, **more)  # type: ignore[arg-type]


def digest(sample: ForgedSample) -> str:
    """Return a fingerprint of all that a sample holds."""
    parts = (sample.image.tobytes(), sample.mask.tobytes(), sample.encoded or b"", json.dumps(sample.recipe).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def digests_of(forge: Forge, indices: list[int]) -> dict[int, str]:
    """Return the fingerprints of some samples, made in this order."""
    return {index: digest(forge.sample(index)) for index in indices}


def test_sample_does_not_depend_on_call_order_or_process(folder: Path) -> None:
    """A spawned process that goes backwards makes the same samples as this one."""
    forge = Forge(PhotoPool.from_folder(folder), SMALL, 5)
    here = digests_of(forge, list(range(12)))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(digests_of, (forge, list(range(11, -1, -1))))
    assert there == here


def test_seed_and_index_change_the_sample(folder: Path) -> None:
    """No two of these images of one kind are alike."""
    photos = PhotoPool.from_folder(folder)
    forges = [Forge(photos, only("authentic"), seed) for seed in (0, 1, 2**62)]
    images = {forge.sample(index).image.tobytes() for forge in forges for index in range(4)}
    assert len(images) == 12


def test_samples_have_the_size_and_types_of_the_contract(samples: list[ForgedSample]) -> None:
    """Images uint8 (S, S, 3), masks bool (S, S)."""
    for sample in samples:
        assert sample.image.shape == (64, 64, 3)
        assert sample.image.dtype == np.uint8
        assert sample.mask.shape == (64, 64)
        assert sample.mask.dtype == np.bool_


def test_only_authentic_masks_are_empty_and_areas_keep_their_limits(samples: list[ForgedSample]) -> None:
    """Authentic: no pixel. Every other kind: between min_area and max_area of the sample."""
    for sample in samples:
        share = sample.mask.mean()
        if sample.kind == "authentic":
            assert share == 0
        else:
            assert SMALL.min_area <= share <= SMALL.max_area


def test_kinds_come_in_the_configured_shares(samples: list[ForgedSample]) -> None:
    """Over 400 samples each kind is within 7 points of its share."""
    kinds = [sample.kind for sample in samples]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in KINDS}
    assert shares == pytest.approx({kind: getattr(SMALL, kind) for kind in KINDS}, abs=0.07)


def test_forged_and_authentic_samples_end_alike(samples: list[ForgedSample]) -> None:
    """The last global history says nothing about the label: both follow the same shares."""
    lossless = SMALL.camera * LOSSLESS_SHARE
    expected = {name: (1 - lossless) * share + lossless * (name == "as_is") for name, share in ENDING_SHARES.items()}
    for authentic in (True, False):
        names = [s.recipe["ending"]["name"] for s in samples if (s.kind == "authentic") == authentic]
        shares = {name: names.count(name) / len(names) for name in ENDING_SHARES}
        assert shares == pytest.approx(expected, abs=0.13)


def test_samples_are_saved_once_more_where_asked(folder: Path) -> None:
    """With the whole share, every sample ends as a JPEG of quality 50 to 90, authentic or not."""
    forge = Forge(PhotoPool.from_folder(folder), dataclasses.replace(SMALL, recompressed=1.0), 0)
    made = [forge.sample(index) for index in range(24)]
    assert {sample.kind == "authentic" for sample in made} == {True, False}
    assert all(sample.encoded is not None for sample in made)
    assert all(50 <= sample.recipe["ending"]["last"]["quality"] <= 90 for sample in made)


def test_samples_show_one_saving_where_asked(tmp_path: Path) -> None:
    """All of them, of every kind; those that showed it anyway are what they were."""
    for number in range(6):
        write_photo(tmp_path / f"{number}.png", make_texture(220, 260, seed=number))
    pool = PhotoPool.from_folder(tmp_path)
    config = ForgeConfig(size=128, min_area=0.02, recompressed=0.5, camera=0.0, authentic=0.4)
    filtered = Forge(pool, dataclasses.replace(config, whole_saving=80), 0)
    same = 0
    for index in range(30):
        before, sample = Forge(pool, config, 0).sample(index), filtered.sample(index)
        assert sample.kind == before.kind
        quality = whole_saving(sample.image, find_grid(sample.image))
        assert quality is not None
        assert quality <= 80
        quality = whole_saving(before.image, find_grid(before.image))
        shown = quality is not None and quality <= 80
        assert np.array_equal(sample.image, before.image) == shown
        same += shown
    assert 5 < same < 25


def test_pictures_of_the_web_are_small_jpegs_before_they_are_forged(folder: Path) -> None:
    """With the whole share, every host was scaled down and saved at 55 to 95, and ends lossless or at 75 to 100."""
    config = dataclasses.replace(SMALL, web=1.0, camera=0.0)
    forge = Forge(PhotoPool.from_folder(folder), config, 0)
    made = [forge.sample(index) for index in range(60)]
    assert {sample.kind for sample in made} == set(KINDS)
    for sample in made:
        opening, ending = sample.recipe["opening"], sample.recipe["ending"]
        assert opening["view"]["scale"] <= 0.7
        assert opening["steps"][-1]["op"] == "jpeg"
        assert 55 <= opening["steps"][-1]["quality"] <= 95
        assert (ending["name"], ending["side"], ending["steps"]) == ("web", SMALL.size, [])
        assert ending["last"] is None or 75 <= ending["last"]["quality"] <= 100
    high = [s.recipe["ending"]["last"] is not None and s.recipe["ending"]["last"]["quality"] >= 95 for s in made]
    assert sum(high) / len(high) == pytest.approx(0.45, abs=0.15)
    for authentic in (True, False):
        lossless = [s.encoded is None for s in made if (s.kind == "authentic") == authentic]
        assert sum(lossless) / len(lossless) == pytest.approx(0.3, abs=0.15)


def test_pictures_of_the_web_take_no_cameras_place(folder: Path) -> None:
    """The share is one of the samples without a camera: none has both histories."""
    forge = Forge(PhotoPool.from_folder(folder), dataclasses.replace(SMALL, web=0.5, camera=0.5), 0)
    recipes = [forge.sample(index).recipe for index in range(100)]
    web = [recipe["ending"]["name"] == "web" for recipe in recipes]
    camera = [any(step["op"] == "camera" for step in recipe["opening"]["steps"]) for recipe in recipes]
    assert not any(both == (True, True) for both in zip(web, camera, strict=True))
    assert sum(web) / len(web) == pytest.approx(0.25, abs=0.12)


def test_most_donors_of_a_picture_of_the_web_are_from_there_too(folder: Path) -> None:
    """What is pasted was scaled down and saved as JPEG as well: its origin must not give it away."""
    forge = Forge(PhotoPool.from_folder(folder), only("splice", web=1.0, camera=0.0), 0)
    edits = [edit for index in range(60) for edit in forge.sample(index).recipe["edits"]]
    donors = [edit for edit in edits if edit["op"] == "splice" and edit["shape"] != "alpha"]
    alike = [edit["steps"][-1:] != [] and edit["view"].get("scale", 9.0) <= 0.7 for edit in donors]
    assert len(donors) > 40
    assert 0.7 < sum(alike) / len(alike) < 1.0


def test_pictures_of_the_web_are_resized_after_they_were_saved(folder: Path) -> None:
    """Hosts after their JPEG, whole pictures, or both; most donors too; authentic ones as often; 0 changes nothing."""
    pool = PhotoPool.from_folder(folder)
    plain = Forge(pool, only("splice", web=1.0, camera=0.0), 0)
    assert plain.sample(3).recipe == Forge(pool, only("splice", web=1.0, camera=0.0, resized=0.0), 0).sample(3).recipe
    for kind in ("authentic", "splice"):
        forge = Forge(pool, only(kind, web=1.0, camera=0.0, resized=0.8), 0)
        recipes = [forge.sample(index).recipe for index in range(80)]
        before = np.array([recipe["opening"]["steps"][-1]["op"] == "resize" for recipe in recipes])
        after = np.array([recipe["ending"]["canvas"] != recipe["ending"]["side"] for recipe in recipes])
        assert (before | after).mean() == pytest.approx(0.8, abs=0.15)
        assert 0 < (before & after).sum() < before.sum()
        saved = [recipe["opening"]["steps"][-2]["op"] for recipe, first in zip(recipes, before, strict=True) if first]
        assert set(saved) == {"jpeg"}
    edits = [edit for recipe in recipes for edit in recipe["edits"] if edit["op"] == "splice" and "shape" in edit]
    donors = [edit["steps"][-1]["op"] == "resize" for edit in edits if edit["shape"] != "alpha" and edit["steps"]]
    assert 0.35 < np.mean(donors) < 0.8


def test_pictures_that_were_resized_are_brought_back_to_their_grid(folder: Path) -> None:
    """Before the edit or after it, forged and authentic, under a weak last saving or none; 0 changes nothing."""
    pool = PhotoPool.from_folder(folder)
    plain = Forge(pool, only("splice", web=1.0, camera=0.0, resized=0.5), 0)
    assert plain.sample(3).recipe == Forge(pool, dataclasses.replace(plain.config, restored=0.0), 0).sample(3).recipe
    for kind in ("authentic", "splice"):
        forge = Forge(pool, only(kind, web=1.0, camera=0.0, resized=1.0, restored=0.8), 0)
        made = [forge.sample(index) for index in range(80)]
        assert {sample.image.shape for sample in made} == {(SMALL.size, SMALL.size, 3)}
        brought_back = [sample for sample in made if "restored" in sample.recipe]
        assert 0.5 < len(brought_back) / len(made) < 0.8
        assert {sample.encoded for sample in brought_back} == {None}
        recipes = [sample.recipe for sample in brought_back]
        before = [recipe["opening"]["steps"][-1]["op"] == "resize" for recipe in recipes]
        after = [recipe["ending"]["canvas"] != recipe["ending"]["side"] for recipe in recipes]
        assert 0.5 < np.mean(before) < 0.8
        assert all(first != last for first, last in zip(before, after, strict=True))
        assert all((recipe["ending"]["last"] or {"quality": 100})["quality"] >= 88 for recipe in recipes)
        saved = [step for recipe in recipes for step in recipe["opening"]["steps"] if step["op"] == "jpeg"]
        assert len(saved) == len(recipes)
        assert not any("phase" in step for step in saved)


def test_hard_light_falls_on_hosts_and_donors_alike(folder: Path) -> None:
    """Each is taken in a hard light with the share's probability, before anything else; shares of 0 change nothing."""
    plain, lit = (Forge(PhotoPool.from_folder(folder), only("splice", hard_light=share), 0) for share in (0.0, 0.5))
    assert plain.sample(0).recipe == Forge(plain.photos, only("splice"), 0).sample(0).recipe
    recipes = [lit.sample(index).recipe for index in range(100)]
    hosts = [recipe["opening"]["steps"] for recipe in recipes]
    edits = [edit for recipe in recipes for edit in recipe["edits"]]
    donors = [edit["steps"] for edit in edits if edit["op"] == "splice" and edit["shape"] != "alpha"]
    for histories in (hosts, donors):
        hard = [bool(steps) and steps[0]["op"] == "tone" and min(steps[0]["gain"]) > 1.2 for steps in histories]
        assert sum(hard) / len(hard) == pytest.approx(0.5, abs=0.15)


def test_hosts_that_were_an_avif_were_one_before_they_were_resized(folder: Path) -> None:
    """It is the last that happened to the host but for resizing; samples end as AVIF where their hosts were none."""
    forge = Forge(PhotoPool.from_folder(folder), only("splice", web=1.0, camera=0.0, resized=0.5, avif=1.0), 0)
    recipes = [forge.sample(index).recipe for index in range(40)]
    resized = 0
    for recipe in recipes:
        steps = [step["op"] for step in recipe["opening"]["steps"]]
        assert ("avif" in steps) != any(step["op"] == "avif" for step in recipe["ending"]["steps"])
        if "avif" in steps:
            assert steps[steps.index("avif") + 1 :] in ([], ["resize"])
            resized += steps[-1] == "resize"
    assert resized


def test_camera_traces_come_with_every_kind(samples: list[ForgedSample]) -> None:
    """Authentic and forged samples get a camera equally often; most donors of such a host have one of their own."""
    for authentic in (True, False):
        opened = [s.recipe["opening"]["steps"] for s in samples if (s.kind == "authentic") == authentic]
        share = sum(bool(steps) and steps[0]["op"] == "camera" for steps in opened) / len(opened)
        assert share == pytest.approx(SMALL.camera, abs=0.08)
    donors = [
        (sample.recipe["opening"]["steps"], edit["steps"])
        for sample in samples
        for edit in sample.recipe["edits"]
        if edit["op"] == "splice" and edit["shape"] != "alpha"
    ]
    pairs = [(host[0], donor[:1]) for host, donor in donors if host and host[0]["op"] == "camera"]
    own = [donor[0] for _, donor in pairs if donor and donor[0]["op"] == "camera"]
    assert len(own) > 0.6 * len(pairs) > 0
    assert all(host != donor[0] for host, donor in pairs if donor)


def test_jpeg_bytes_are_the_image(samples: list[ForgedSample]) -> None:
    """A sample whose history ends with JPEG carries the file, any other one carries none."""
    endings = {sample.encoded is not None for sample in samples}
    assert endings == {True, False}
    for sample in samples:
        if sample.encoded is None:
            assert sample.recipe["ending"]["last"] is None
        else:
            assert np.array_equal(decode_jpeg(sample.encoded), sample.image)


def unforged(sample: ForgedSample, pool: PhotoPool) -> Image:
    """Rebuild, from the recipe, the canvas as it was before the edits."""
    by_hash = {file.sha256: index for index, file in enumerate(pool.files)}
    host = pool.photo(by_hash[sample.recipe["photos"][0]])
    assert host is not None
    side = sample.recipe["ending"]["canvas"]
    image = cut_view(host.pixels, sample.recipe["opening"]["view"], (side, side))
    for step in sample.recipe["opening"]["steps"]:
        image = apply_step(image, step)
    return image


@pytest.mark.parametrize("kind", ["splice", "copy_move", "removal"])
def test_mask_marks_what_changed(folder: Path, kind: str) -> None:
    """Saved as it is, a sample differs from its unforged canvas inside the mask and nowhere beyond the feather."""
    pool = PhotoPool.from_folder(folder)
    forge = Forge(pool, only(kind), 3)
    seen = 0
    for index in range(120):
        sample = forge.sample(index)
        if sample.recipe["ending"]["name"] != "as_is":
            continue
        seen += 1
        change = np.abs(sample.image.astype(int) - unforged(sample, pool)).max(axis=2)
        hard = all(edit.get("feather") == 0 for edit in sample.recipe["edits"])
        reach = 1 if hard else 2 * MARGIN + 1
        near = cv2.dilate(sample.mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
        assert not change[~near].any()
        assert change[sample.mask].mean() >= 2
        assert (change[sample.mask] > 0).mean() >= 0.5
    assert seen > 10


def test_authentic_sample_saved_as_it_is_equals_the_canvas(folder: Path) -> None:
    """Nothing is done to an authentic sample but what its recipe says."""
    pool = PhotoPool.from_folder(folder)
    forge = Forge(pool, only("authentic"), 3)
    plain = [s for s in map(forge.sample, range(60)) if s.recipe["ending"]["name"] == "as_is"]
    assert plain
    for sample in plain:
        assert np.array_equal(sample.image, unforged(sample, pool))


def test_unaltered_copy_move_repeats_its_source(folder: Path) -> None:
    """Copied at scale 1 with a hard edge, the marked pixels are those of the recorded source."""
    pool = PhotoPool.from_folder(folder)
    forge = Forge(pool, only("copy_move"), 4)
    seen = 0
    for sample in map(forge.sample, range(600)):
        [edit, *others] = sample.recipe["edits"]
        plain = edit["view"]["scale"] == 1 and not edit["mirrored"] and not edit["steps"] and edit["feather"] == 0
        if others or not plain or sample.recipe["ending"]["name"] != "as_is":
            continue
        seen += 1
        down, right = (c - a for c, a in zip(edit["view"]["corner"], edit["at"], strict=True))
        rows, columns = np.nonzero(sample.mask)
        source = unforged(sample, pool)[rows + down, columns + right]
        assert np.array_equal(sample.image[rows, columns], source)
    assert seen > 2


def test_splice_names_its_donors(samples: list[ForgedSample]) -> None:
    """The recipe lists host and donors by hash, and a donor is another photo."""
    for sample in samples:
        donors = [edit["donor"] for edit in sample.recipe["edits"] if "donor" in edit]
        assert sample.recipe["photos"][1:] == donors
        assert sample.recipe["photos"][0] not in donors


def test_cutout_objects_are_pasted_with_their_own_outline(folder: Path) -> None:
    """With an object in the folder, some splices use it; the mask is then its disk."""
    forge = Forge(PhotoPool.from_folder(folder), only("splice"), 0)
    found = [s for s in map(forge.sample, range(300)) if [e.get("shape") for e in s.recipe["edits"]] == ["alpha"]]
    largest = max(found, key=lambda sample: np.count_nonzero(sample.mask))
    height, width = np.ptp(np.argwhere(largest.mask), axis=0) + 1
    assert np.count_nonzero(largest.mask) / (height * width) == pytest.approx(np.pi / 4, abs=0.04)


def test_recipes_are_plain_json(samples: list[ForgedSample]) -> None:
    """A recipe survives being written down."""
    for sample in samples:
        assert json.loads(json.dumps(sample.recipe)) == sample.recipe


def test_every_ending_and_edit_occurs(samples: list[ForgedSample]) -> None:
    """400 samples show all endings and all edits."""
    assert {sample.recipe["ending"]["name"] for sample in samples} == set(ENDING_SHARES)
    edits = {edit["op"] for sample in samples for edit in sample.recipe["edits"]}
    assert edits == {"splice", "retouch", "copy_move", "removal"}


def test_broken_photo_does_not_stop_the_forge(folder: Path, tmp_path: Path) -> None:
    """A pool with a broken file goes on, and reports it."""
    make_photo_folder(tmp_path, count=3)
    for number in range(3):
        (tmp_path / f"broken{number}.png").write_bytes(b"broken" + bytes([number]))
    pool = PhotoPool.from_folder(tmp_path)
    forge = Forge(pool, SMALL, 0)
    made = [forge.sample(index) for index in range(20)]
    assert len(made) == 20
    assert len(pool.unreadable) == 3
    assert folder.is_dir()


def test_no_region_is_marked_that_was_copied_onto_itself(folder: Path) -> None:
    """Where one of several regions finds no place beside it, the attempt is given up; of these 250, five did."""
    forge = Forge(PhotoPool.from_folder(folder), only("removal", min_area=0.005), 1)
    edits = [edit for index in range(250) for edit in forge.sample(index).recipe["edits"]]
    nearby = [edit for edit in edits if edit["method"] == "nearby"]
    assert nearby
    assert all(edit["source"] not in (None, edit["at"]) for edit in nearby)


def test_photos_without_a_visible_edit_are_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no attempt changes enough, an error says so: no wrong label, no endless loop."""
    monkeypatch.setattr("nclforensics.data.forge.VISIBLE_CHANGE", 256.0)
    forge = Forge(PhotoPool.from_folder(folder), only("copy_move"), 0)
    with pytest.raises(MissingInputError, match="uniform"):
        forge.sample(0)
