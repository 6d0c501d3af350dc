from __future__ import annotations

from pathlib import Path

import pytest

from nclforensics.data.loaded_set import Anomaly, BenchmarkFacts
from nclforensics.data.loaders.pairing import (
    count_anomalies,
    finished_set,
    folder_in,
    images_in,
    natural_key,
    pair_by_stem,
    sizes_differ,
    unpaired,
)
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import masks, photos, rubbish

FACTS = BenchmarkFacts("mini", "Mini", (), 2, 1, "Tp/x.jpg", "bright", "nobody", "none")


def paths(*names: str) -> list[Path]:
    """Return paths that need not exist."""
    return [Path(name) for name in names]


def test_natural_order_counts() -> None:
    """2 comes before 10, whatever the case of the letters."""
    assert paths("2t.tif", "10.tif", "10T.TIF", "a2b10", "a10b2") == sorted(
        paths("a10b2", "10T.TIF", "a2b10", "10.tif", "2t.tif"), key=natural_key
    )


def test_listing_takes_images_only(tmp_path: Path) -> None:
    """Suffixes in capitals count; hidden files, lists, thumbnails and sub-folders do not; None is no folder."""
    photos(tmp_path, "10.JPG", "2.tif", "sub/3.png")
    rubbish(tmp_path)
    assert [path.name for path in images_in(tmp_path, None)] == ["2.tif", "10.JPG"]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (("Modified TP/tp", "Tp"), "Modified TP/tp"),
        (("Tp",), "Tp"),
        (("CASIA1/TP", "__MACOSX/CASIA1", ".git"), "CASIA1/TP"),
        (("one/Tp", "two/Tp"), None),
        ((), None),
    ],
    ids=["preferred", "second", "unpacked-into-a-folder", "ambiguous", "absent"],
)
def test_folder_is_found_by_any_of_its_names(tmp_path: Path, made: tuple[str, ...], expected: str | None) -> None:
    """Names are tried in order, in any case, and in the single folder of an unpacked archive."""
    for name in made:
        (tmp_path / name).mkdir(parents=True)
    found = folder_in(tmp_path, "Modified Tp/Tp", "Tp")
    assert (tmp_path / expected if expected else None) == found


def test_missing_root_has_no_folders(tmp_path: Path) -> None:
    """A root that does not exist holds nothing; the caller says what it looked for."""
    assert folder_in(tmp_path / "none", "Tp") is None


def test_pairing_follows_names_not_order() -> None:
    """Image b lacks a mask and mask d an image: in sorted order c would get d's mask, and the counts would agree."""
    pairing = pair_by_stem(
        paths("a.jpg", "b.jpg", "C.JPG"), paths("a_gt.png", "c_gt.png", "d_gt.png"), lambda stem: (f"{stem}_gt",)
    )
    assert ((Path("a.jpg"), Path("a_gt.png")), (Path("C.JPG"), Path("c_gt.png"))) == pairing.matched
    assert (paths("b.jpg"), paths("d_gt.png")) == ([*pairing.images], [*pairing.masks])


def test_first_candidate_wins_and_the_other_is_left_over() -> None:
    """A mask is used once, by the first rule that fits."""
    pairing = pair_by_stem(paths("1t.tif"), paths("1t.png", "1forged.tif"), lambda stem: (f"{stem[:-1]}forged", stem))
    assert ((Path("1t.tif"), Path("1forged.tif")),) == pairing.matched
    assert (Path("1t.png"),) == pairing.masks


def test_no_image_takes_the_mask_that_bears_the_name_of_another() -> None:
    """Exact names first, whatever the order: dog_mask.png is the mask of the image of that name."""
    candidates = lambda stem: (stem, f"{stem}_mask")  # noqa: E731
    pairing = pair_by_stem(paths("dog.png", "dog_mask.png"), paths("dog_mask.tif"), candidates)
    assert pairing.matched == ((Path("dog_mask.png"), Path("dog_mask.tif")),)
    assert pairing.images == (Path("dog.png"),)


@pytest.mark.parametrize(
    ("images", "truths"), [(("a.jpg", "a.tif"), ("a.png",)), (("a.jpg",), ("a.png", "a.tif"))], ids=["images", "masks"]
)
def test_twins_are_an_error_and_not_used(images: tuple[str, ...], truths: tuple[str, ...]) -> None:
    """Which of two files of one name is meant, nobody can know."""
    pairing = pair_by_stem(paths(*images), paths(*truths), lambda stem: (stem,))
    assert pairing.matched == ()
    assert [(each.kind, each.severity) for each in pairing.anomalies] == [("duplicate", "error")]


def test_unpaired_files_are_warnings_until_many() -> None:
    """One lost image of ten is reported; two of ten are an error, since the masks then belong to other names."""
    names = [f"{number}.jpg" for number in range(10)]
    for kept, expected in ((9, ["warning"]), (8, ["error", "warning", "warning"])):
        pairing = pair_by_stem(paths(*names), paths(*names[:kept]), lambda stem: (stem,))
        assert expected == [each.severity for each in unpaired(pairing)]
    assert [each.kind for each in unpaired(pair_by_stem([], paths("m.png"), lambda _: ()))] == ["unpaired-mask"]


def test_finished_set_is_ordered_counted_and_leaves_nothing_unsaid(tmp_path: Path) -> None:
    """Tampered images come first, in natural order; strays make one note a folder, what was named before none."""
    photos(tmp_path / "Tp", "10.jpg", "2.jpg", "notes.gif.png", "bad.jpg", "skipped.jpg")
    masks(tmp_path / "Gt", "10.png", "2.png")
    (tmp_path / "Tp" / "film.mp4").write_bytes(b"x")
    rubbish(tmp_path / "Gt")
    folder = tmp_path / "Tp"
    pairs = [
        ImagePair(folder / f"{name}.jpg", tmp_path / "Gt" / f"{name}.png", authentic=False) for name in ("10", "2")
    ]
    bad = Anomaly("known-bad", "note", "Bad.", folder / "bad.jpg")
    loaded = finished_set(FACTS, tmp_path, pairs, [bad], left_out=[folder / "skipped.jpg"])
    assert [pair.image.name for pair in loaded.pairs] == ["2.jpg", "10.jpg"]
    assert bad == loaded.anomalies[0]
    assert loaded.anomalies[1].message == "2 files by other names were not used: film.mp4, notes.gif.png."
    assert loaded.anomalies[2].message == "Expected 1 authentic images, found 0 usable ones."
    assert len(loaded.anomalies) == 3


def test_set_without_pairs_is_refused(tmp_path: Path) -> None:
    """An empty result is never returned as a set."""
    with pytest.raises(DatasetError, match=r"Expected Mini in .*, found no image that could be used\. .*\nTp/x\.jpg"):
        finished_set(FACTS, tmp_path, [], [])


def test_set_without_pairs_says_what_its_images_lack(tmp_path: Path) -> None:
    """Images without their masks are the usual half of a download."""
    alone = [Anomaly("unpaired-image", "warning", "No mask fits its name.", tmp_path / f"{n}.jpg") for n in range(2)]
    lost = Anomaly("unpaired-image", "error", "2 of 2 tampered images have no mask.")
    with pytest.raises(DatasetError, match=r"could be used \(2 could not; .*0\.jpg: No mask fits its name\)\. A known"):
        finished_set(FACTS, tmp_path, [], [lost, *alone])


def test_counts_are_compared_both_ways() -> None:
    """Too few and too many are both told; the right numbers are not."""
    forged = [ImagePair(path, path, authentic=False) for path in paths("a", "b")]
    real = [ImagePair(path, None, authentic=True) for path in paths("c")]
    assert count_anomalies(FACTS, forged + real) == []
    assert len(count_anomalies(FACTS, forged + forged + real + real)) == 2


def test_sizes_are_compared_by_headers(tmp_path: Path) -> None:
    """Turned and larger masks differ; a damaged file is left to whoever reports damage."""
    photos(tmp_path, "a.jpg")
    masks(tmp_path, "same.png")
    masks(tmp_path, "turned.png", height=64, width=48)
    (tmp_path / "broken.png").write_bytes(b"x")
    expected = {"same": False, "turned": True, "broken": False}
    assert expected == {name: sizes_differ(tmp_path / "a.jpg", tmp_path / f"{name}.png") for name in expected}
