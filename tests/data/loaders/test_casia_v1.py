from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.loaders.casia_v1 import CASIA_V1, CASIA_V1_PLUS
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import (
    CASIA_V1_RENAMED,
    casia_v1,
    casia_v1_original_names,
    kinds,
    listed,
    masks,
    named,
    photos,
    rename_all,
)

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [
    ("Sp_S_CND_A_pla0016_pla0016_0196.jpg", "Sp_S_CND_A_pla0016_pla0016_0196_gt.png", "copy-move"),
    ("Sp_D_NNN_A_art0072_cha0060_0107.jpg", "Sp_D_NNN_A_art0072_cha0060_0107_gt.png", "splice"),
    ("Sp_D_NRN_A_cha0029_art0068_0463.JPG", "Sp_D_NRN_A_cha0029_art0068_0463_gt.png", "splice"),
]
AUTHENTIC = [("Au_ani_0001.jpg", None, ""), ("Au_cha_0047.JPG", None, ""), ("Au_sec_0064.jpg", None, "")]


def test_published_layout_is_paired_by_name(tmp_path: Path) -> None:
    """The image without mask lies between others: in sorted order, the images behind it would get wrong masks."""
    loaded = CASIA_V1.load(casia_v1(tmp_path))
    assert listed(loaded) == PAIRS + AUTHENTIC
    assert named(loaded, "known-bad") == [("note", "Sp_D_NRN_A_cha0011_sec0011_0542.jpg")]
    assert kinds(loaded) == {"known-bad"}
    assert read_ground_truth(loaded.pairs[0]).mean() == pytest.approx(12 * 16 / (48 * 64))


def test_counts_are_told(tmp_path: Path) -> None:
    """Found and published numbers stand side by side."""
    messages = [each.message for each in CASIA_V1.load(casia_v1(tmp_path)).anomalies if each.kind == "count"]
    assert messages == [
        "Expected 920 tampered images, found 3 usable ones.",
        "Expected 800 authentic images, found 3 usable ones.",
    ]


def test_original_names_are_paired_by_number(tmp_path: Path) -> None:
    """Swapped sources, a typing error and a wrong kind do no harm, and the mask's name decides about the kind."""
    loaded = CASIA_V1.load(casia_v1_original_names(tmp_path))
    expected = {image: mask.split("/")[1] for image, mask in CASIA_V1_RENAMED.items()}
    found = {image: mask for image, mask, _ in listed(loaded)}
    assert expected == {image: found[image] for image in expected}
    assert ("Sp_D_NND_A_nat0054_nat0054_0189.jpg", "Sp_S_NND_A_nat0054_nat0054_0189_gt.png", "copy-move") in listed(
        loaded
    )
    assert named(loaded, "known-bad") == [("note", "Sp_D_NRN_A_sce0011_cha0011_0542.jpg")]
    assert kinds(loaded) == {"known-bad", "unreliable"}


@pytest.mark.parametrize(
    "mask",
    ["Sp_D_NRN_A_nat0001_pla0002_0463_gt.png", "Tp_D_NRN_M_N_art0068_cha0029_0463_gt.png", "art0068_cha0029_463.png"],
    ids=["other-sources", "other-set", "other-name"],
)
def test_number_alone_makes_no_pair(tmp_path: Path, mask: str) -> None:
    """The mask of another forgery, or of CASIA v2, may happen to bear the same number."""
    root = casia_v1_original_names(tmp_path)
    truth = root / "CASIA 1.0 groundtruth"
    rename_all(truth, [("Sp/Sp_D_NRN_A_cha0029_art0068_0463_gt.png", f"Sp/{mask}")])
    loaded = CASIA_V1.load(root)
    assert ("warning", "Sp_D_NRN_A_art0068_cha0029_0463.jpg") in named(loaded, "unpaired-image")
    assert named(loaded, "unpaired-mask") == [("warning", mask)]


def test_numbers_that_occur_twice_are_told_apart_by_sources(tmp_path: Path) -> None:
    """Splices and copy-moves are numbered independently."""
    root = casia_v1_original_names(tmp_path)
    photos(root / "CASIA1" / "Sp", "Sp_D_NNN_A_txt0018_txt0018_0463.jpg")
    masks(root / "CASIA 1.0 groundtruth" / "CM", "Sp_S_NNN_A_txt0018_txt0018_0463_gt.png")
    found = {image: mask for image, mask, _ in listed(CASIA_V1.load(root))}
    assert found["Sp_D_NNN_A_txt0018_txt0018_0463.jpg"] == "Sp_S_NNN_A_txt0018_txt0018_0463_gt.png"
    assert found["Sp_D_NRN_A_art0068_cha0029_0463.jpg"] == "Sp_D_NRN_A_cha0029_art0068_0463_gt.png"


def test_ambiguous_numbers_are_not_guessed(tmp_path: Path) -> None:
    """Two images may be meant by one mask of another name, by number and source: neither gets it."""
    root = casia_v1(tmp_path)
    photos(root / "CASIA 1.0 dataset/Modified Tp/Tp/Sp", "Sp_D_AAA_A_art0001_art0002_0999.jpg")
    photos(root / "CASIA 1.0 dataset/Modified Tp/Tp/CM", "Sp_S_AAA_A_art0001_art0001_0999.jpg")
    masks(root / "CASIA 1.0 groundtruth/Sp", "Sp_D_AAA_A_art0002_art0001_0999_gt.png")
    loaded = CASIA_V1.load(root)
    assert [*PAIRS, *AUTHENTIC] == listed(loaded)
    assert len(named(loaded, "unpaired-image")) == 3  # each of the two, and one error, since they are so many
    assert named(loaded, "unpaired-mask") == [("warning", "Sp_D_AAA_A_art0002_art0001_0999_gt.png")]


@pytest.mark.parametrize(
    "moves",
    [
        [
            ("CASIA 1.0 dataset/Modified Tp/Tp", "CASIAv1/TP"),
            ("CASIA 1.0 groundtruth", "CASIAv1/mask"),
            ("CASIA 1.0 dataset/Au", "CASIAv1/Au"),
        ],
        [("CASIA 1.0 dataset/Modified Tp/Tp", "Tp"), ("CASIA 1.0 groundtruth", "Gt"), ("CASIA 1.0 dataset/Au", "Au")],
        [("CASIA 1.0 dataset/Modified Tp/Tp", "CASIA1/modified tp"), ("CASIA 1.0 dataset/Au", "CASIA1/au")],
    ],
    ids=["mvss", "imdl-benco", "other-case"],
)
def test_layouts_in_circulation_give_the_same_pairs(tmp_path: Path, moves: list[tuple[str, str]]) -> None:
    """Where the folders lie and how they are written makes no difference."""
    rename_all(casia_v1(tmp_path), moves)
    assert sorted(listed(CASIA_V1.load(tmp_path))) == sorted([*PAIRS, *AUTHENTIC])


def test_corrected_images_are_preferred_to_the_original_ones(tmp_path: Path) -> None:
    """Both namings often lie side by side; the same image is not loaded twice."""
    root = casia_v1(tmp_path)
    photos(root / "CASIA 1.0 dataset" / "Original Tp" / "Tp" / "Sp", "Sp_D_NRN_A_art0068_cha0029_0463.JPG")
    assert listed(CASIA_V1.load(root)) == PAIRS + AUTHENTIC


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("CASIA 1.0 groundtruth", r"no folder of masks \(CASIA 1.0 groundtruth, .*Gt"),
        ("CASIA 1.0 dataset", "no folder of tampered images"),
    ],
)
def test_unknown_layout_is_refused(tmp_path: Path, gone: str, message: str) -> None:
    """The error says what was looked for, and what the set should look like."""
    rename_all(casia_v1(tmp_path), [(gone, "elsewhere/x/y")])
    with pytest.raises(DatasetError, match=message) as caught:
        CASIA_V1.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "Modified Tp/Tp/Sp/" in str(caught.value)


def test_v1_plus_takes_its_authentic_images_from_the_list(tmp_path: Path) -> None:
    """Corel and the 18 images that CASIA v2 does not hold, wherever Au lies; the others of both are left out."""
    root = casia_v1(tmp_path)
    photos(root / "corel-1k" / "test_set" / "bus", "302.jpg", "303.jpg")
    lines = [
        "./corel-1k/test_set/bus/302.jpg None 0",
        "./corel-1k/test_set/bus/399.jpg None 0",
        "./CASIAv1/Au/Au_sec_0064.jpg None 0",
        "./CASIAv1/TP/Sp/Sp_D_NRN_A_cha0029_art0068_0463.JPG ./CASIAv1/mask/Sp/Sp_D_x_gt.png 2",
    ]
    (root / "CASIAv1plus.txt").write_text("\n".join(lines), encoding="utf-8")
    loaded = CASIA_V1_PLUS.load(root)
    assert listed(loaded) == [*PAIRS, ("Au_sec_0064.jpg", None, ""), ("302.jpg", None, "")]
    assert named(loaded, "count") == [("warning", "399.jpg"), ("warning", None), ("warning", None)]
    assert kinds(loaded) == {"known-bad"}


def test_v1_plus_needs_its_list(tmp_path: Path) -> None:
    """Without the list nobody knows which authentic images are meant."""
    with pytest.raises(DatasetError, match=r"CASIAv1plus\.txt"):
        CASIA_V1_PLUS.load(casia_v1(tmp_path))
