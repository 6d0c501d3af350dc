from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nclforensics.data.loaders.casia_v2 import _MISMATCHED, CASIA_V2
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import (
    CASIA_V2_FAULTY,
    CASIA_V2_LARGER,
    CASIA_V2_TURNED,
    casia_v2,
    kinds,
    listed,
    named,
    photos,
    rename_all,
)

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = [
    (
        "Tp_D_CRN_M_N_nat10139_nat10124_11946.jpg",
        "Tp_D_CRN_M_N_nat10139_nat10124_11946_gt.png",
        "splice",
    ),
    ("Tp_D_NNN_M_B_art00037_nat10103_10108.tif", "Tp_D_NNN_M_B_art00037_txt10112_10108_gt.png", "splice"),
    ("Tp_D_NRD_S_N_cha10002_cha10001_20094.jpg", "Tp_D_NRD_S_N_cha10002_cha10001_20094_gt3.png", "splice"),
    ("Tp_S_NNN_S_N_pla20095_pla20095_02347.tif", "Tp_S_NNN_S_N_pla20095_pla20095_02347_gt.png", "copy-move"),
]
AUTHENTIC = [("Au_ani_00001.jpg", None, ""), ("Au_art_00002.bmp", None, ""), ("Au_ind_00003.JPG", None, "")]


def test_original_masks_lose_their_known_bad_pairs(tmp_path: Path) -> None:
    """The turned and the larger mask are left out, and the faulty image; TIFF, the misnamed and a renamed one stay."""
    loaded = CASIA_V2.load(casia_v2(tmp_path))
    assert listed(loaded) == PAIRS + AUTHENTIC
    expected = [f"{CASIA_V2_FAULTY}.tif", f"{CASIA_V2_TURNED}.jpg", f"{CASIA_V2_LARGER}.jpg"]
    assert named(loaded, "known-bad") == [("note", name) for name in expected]
    assert kinds(loaded) == {"known-bad", "unreliable"}
    assert any(each.message.startswith("1 images bear other names than their masks") for each in loaded.anomalies)


def test_corrected_masks_keep_their_pairs(tmp_path: Path) -> None:
    """A listed image whose mask has been corrected is as good as any other."""
    loaded = CASIA_V2.load(casia_v2(tmp_path, corrected=True))
    images = {image for image, _, _ in listed(loaded)}
    assert {f"{CASIA_V2_TURNED}.jpg", f"{CASIA_V2_LARGER}.jpg"} <= images
    assert named(loaded, "known-bad") == [("note", f"{CASIA_V2_FAULTY}.tif")]


def test_corrected_masks_are_preferred(tmp_path: Path) -> None:
    """With both kinds of masks side by side, the corrected ones are read."""
    casia_v2(tmp_path)
    loaded = CASIA_V2.load(casia_v2(tmp_path, corrected=True))
    assert {"Gt"} == {pair.mask.parent.name for pair in loaded.pairs if pair.mask is not None}


def test_seventeen_mismatched_pairs_are_known() -> None:
    """The list of SunnyHaze/IML-Dataset-Corrections is whole."""
    assert len(_MISMATCHED) == 17


def test_format_shortcut_is_counted_in_this_copy(tmp_path: Path) -> None:
    """TIFF only among the tampered and BMP only among the authentic gives the class away; re-encoded, it is gone."""
    root = casia_v2(tmp_path)
    [warning] = [each for each in CASIA_V2.load(root).anomalies if "file format" in each.message]
    assert warning.severity == "warning"
    assert "all 2 .tif files are tampered, all 1 .bmp files are authentic" in warning.message
    for path in [*(root / "Tp").glob("*.tif"), *(root / "Au").glob("*.bmp")]:
        path.rename(path.with_suffix(".jpg"))
    assert [each for each in CASIA_V2.load(root).anomalies if "file format" in each.message] == []


@pytest.mark.parametrize(
    "moves",
    [
        [("Tp", "CASIA2/Tp"), ("Au", "CASIA2/Au")],
        [("Tp", "CASIA 2.0/Tp"), ("Au", "CASIA 2.0/Au")],
        [
            ("Tp", "CASIA2.0_revised/Tp"),
            ("Au", "CASIA2.0_revised/Au"),
            ("CASIA 2 Groundtruth", "CASIA2.0_Groundtruth"),
        ],
        [("Tp", "x/TP"), ("Au", "x/au"), ("CASIA 2 Groundtruth", "x/gt")],
    ],
    ids=["kaggle", "cat-net", "revised", "unpacked-into-a-folder"],
)
def test_layouts_in_circulation_give_the_same_pairs(tmp_path: Path, moves: list[tuple[str, str]]) -> None:
    """Where the folders lie and how they are written makes no difference."""
    rename_all(casia_v2(tmp_path), moves)
    assert listed(CASIA_V2.load(tmp_path)) == PAIRS + AUTHENTIC


def test_older_download_lists_what_lacks_its_partner(tmp_path: Path) -> None:
    """An image without mask is left out and named, a foreign file is noted."""
    root = casia_v2(tmp_path, corrected=True)
    (root / "Gt" / "Tp_S_NNN_S_N_pla20095_pla20095_02347_gt.png").unlink()
    photos(root / "Tp", "copy of something.jpg")
    loaded = CASIA_V2.load(root)
    assert ("warning", "Tp_S_NNN_S_N_pla20095_pla20095_02347.tif") in named(loaded, "unpaired-image")
    assert named(loaded, "ignored") == [("note", "Tp")]


@pytest.mark.parametrize(("gone", "message"), [("Tp", "no folder Tp"), ("CASIA 2 Groundtruth", r"masks \(Gt, CASIA 2")])
def test_unknown_layout_is_refused(tmp_path: Path, gone: str, message: str) -> None:
    """The error says what was looked for."""
    rename_all(casia_v2(tmp_path), [(gone, "elsewhere/x/y")])
    with pytest.raises(DatasetError, match=message):
        CASIA_V2.load(tmp_path)


def test_forgeries_name_the_photos_they_were_made_of(tmp_path: Path) -> None:
    """By the corrected name, the mask's; a copy-move of one photo, an authentic image is its own, however padded."""
    groups = [pair.group for pair in CASIA_V2.load(casia_v2(tmp_path)).pairs]
    expected = ["nat10139+nat10124", "art37+txt10112", "cha10002+cha10001", "pla20095", "ani1", "art2", "ind3"]
    assert groups == expected
