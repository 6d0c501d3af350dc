from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.loaders.casia_names import casia_group
from nclforensics.data.loaders.osn import OSN
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import (
    CASIA_V1_RENAMED,
    casia_v1_original_names,
    columbia,
    edge_mask,
    kinds,
    listed,
    masks,
    named,
    nist16,
    photos,
    write,
)
from tests.data.loaders.miniatures_other import dso1, dso1_through
from tests.factories import make_mask

DSO_PAIRS = [(f"splicing-{number}.jpg", f"splicing-{number}_gt.png", "splice") for number in ("01", "02", "100")]


def test_every_set_and_network_has_a_name() -> None:
    """Four sets through four networks."""
    assert len(OSN) == 16
    assert {"dso-1_facebook", "columbia_whatsapp", "nist16_weibo", "casiav1_wechat"} <= set(OSN)


@pytest.mark.parametrize("network", ["Facebook", "Whatsapp", "Weibo", "Wechat"])
def test_one_network_is_read_from_its_folder_or_from_that_of_all(tmp_path: Path, network: str) -> None:
    """Images of two networks have the same names: they must not be mixed."""
    for each in ("Facebook", "Whatsapp", "Weibo", "Wechat"):
        dso1_through(tmp_path, each)
    loader = OSN[f"dso-1_{network.lower()}"]
    for root in (tmp_path, tmp_path / f"DSO_{network}"):
        loaded = loader.load(root)
        assert listed(loaded) == DSO_PAIRS
        assert {pair.image.parent.name for pair in loaded.pairs} == {f"DSO_{network}"}
        assert kinds(loaded) == set()


def test_masks_keep_the_size_of_the_original(tmp_path: Path) -> None:
    """The network halved the image; the common check scales the mask to it and counts that."""
    loaded = OSN["dso-1_weibo"].load(dso1_through(tmp_path, "Weibo"))
    np.testing.assert_array_equal(make_mask(), read_ground_truth(loaded.pairs[0]))


def test_inverted_masks_are_recognized(tmp_path: Path) -> None:
    """Those of DSO-1 itself, copied into the folder, are black = tampered."""
    loaded = OSN["dso-1_weibo"].load(dso1_through(tmp_path, "Weibo", white=False))
    np.testing.assert_array_equal(make_mask(), read_ground_truth(loaded.pairs[0]))
    assert named(loaded, "inverted") == [("warning", None)]


def test_masks_of_another_network_will_do(tmp_path: Path) -> None:
    """The masks are those of the set; some copies have them once."""
    dso1_through(tmp_path, "Facebook")
    dso1_through(tmp_path, "Weibo", own_masks=False)
    assert listed(OSN["dso-1_weibo"].load(tmp_path / "DSO_Weibo")) == DSO_PAIRS


@pytest.mark.parametrize("place", ["", "OSN"])
def test_masks_of_the_original_set_beside_it(tmp_path: Path, place: str) -> None:
    """Rule, kind and mask are those of DSO-1, whose names differ in the suffix only."""
    dso1(tmp_path / "dso-1")
    dso1_through(tmp_path / place, "Whatsapp", own_masks=False)
    loaded = OSN["dso-1_whatsapp"].load(tmp_path / place / "DSO_Whatsapp")
    assert [name for name, _, _ in listed(loaded)] == [name for name, _, _ in DSO_PAIRS]
    assert {pair.mask_rule for pair in loaded.pairs} == {"dark"}
    np.testing.assert_array_equal(make_mask(), read_ground_truth(loaded.pairs[0]))


def test_images_that_the_original_does_not_know_are_left_out(tmp_path: Path) -> None:
    """They are reported by name."""
    dso1(tmp_path / "dso-1")
    dso1_through(tmp_path, "Whatsapp", own_masks=False)
    photos(tmp_path / "DSO_Whatsapp", "IMG-20200101-WA0001.jpg")
    loaded = OSN["dso-1_whatsapp"].load(tmp_path)
    assert len(loaded.pairs) == 3
    assert ("warning", "IMG-20200101-WA0001.jpg") in named(loaded, "unpaired-image")


def test_columbia_keeps_its_colours(tmp_path: Path) -> None:
    """By the original set, and with edge masks of its own; read as grey, red and green come out nearly the same."""
    names = ("canong3_canonxt_sub_01.jpg", "nikond70_canonxt_sub_10.jpg")
    columbia(tmp_path / "columbia")
    photos(tmp_path / "Columbia_Facebook", *names)
    truth = make_mask(box=(12, 14, 36, 50))
    by_original = OSN["columbia_facebook"].load(tmp_path)
    for name in names:
        write(tmp_path / "Columbia_Facebook/Columbia_GT" / f"{name[:-4]}_edgemask.png", edge_mask(truth))
    by_masks = OSN["columbia_facebook"].load(tmp_path)
    assert by_original.pairs[0].mask != by_masks.pairs[0].mask
    for loaded in (by_original, by_masks):
        assert [pair.image.name for pair in loaded.pairs] == list(names)
        assert {(pair.mask_rule, pair.kind) for pair in loaded.pairs} == {("green-over-red", "splice")}
        assert np.mean(read_ground_truth(loaded.pairs[0]) == truth) > 0.95


def test_nist16_finds_its_masks_by_the_csv(tmp_path: Path) -> None:
    """Two probes share a mask of another name; base images stay known."""
    nist16(tmp_path / "NC2016_Test0613")
    photos(tmp_path / "NIST_Facebook", "NC2016_2001.jpg", "NC2016_2002.jpg", "NC2016_2004.jpg")
    loaded = OSN["nist16_facebook"].load(tmp_path)
    assert listed(loaded) == [
        ("NC2016_2001.jpg", "NC2016_9001.png", "splice"),
        ("NC2016_2002.jpg", "NC2016_9001.png", "splice"),
        ("NC2016_2004.jpg", "NC2016_9003.png", "copy-move"),
    ]
    assert (loaded.pairs[0].group, loaded.pairs[0].mask_rule) == ("NC2016_1001", "dark-180")
    assert loaded.indivisible == ""


@pytest.mark.parametrize("own_masks", [True, False])
def test_nist16_without_base_images_is_for_tests_only(tmp_path: Path, *, own_masks: bool) -> None:
    """Whether its masks are beside it or those of a converted original."""
    photos(tmp_path / "NIST_Facebook", "NC2016_2001.jpg")
    if own_masks:
        masks(tmp_path / "NIST_Facebook" / "NIST_GT", "NC2016_2001_gt.png")
    else:
        photos(tmp_path / "nist16" / "Tp", "NC2016_2001.jpg")
        masks(tmp_path / "nist16" / "Gt", "NC2016_2001.png")
    assert "base images" in OSN["nist16_facebook"].load(tmp_path).indivisible


def test_casia_in_two_folders_with_masks_in_one(tmp_path: Path) -> None:
    """Casia_Facebook holds Sp, CM and CASIA_GT; the kind is told by the name."""
    folder = tmp_path / "Casia_Facebook"
    splice, copy_move = "Sp_D_NNN_A_art0072_cha0060_0107", "Sp_S_CND_A_pla0016_pla0016_0196"
    photos(folder / "Sp", f"{splice}.jpg")
    photos(folder / "CM", f"{copy_move}.jpg")
    masks(folder / "CASIA_GT", f"{splice}_gt.png", f"{copy_move}_gt.png")
    loaded = OSN["casiav1_facebook"].load(tmp_path)
    assert listed(loaded) == [
        (f"{copy_move}.jpg", f"{copy_move}_gt.png", "copy-move"),
        (f"{splice}.jpg", f"{splice}_gt.png", "splice"),
    ]
    assert [pair.group for pair in loaded.pairs] == [casia_group(Path(name)) for name in (copy_move, splice)]
    assert len({pair.group for pair in loaded.pairs}) == 2
    assert loaded.indivisible == ""


def test_casia_under_its_original_names(tmp_path: Path) -> None:
    """Images with the owners' names find the masks with the corrected ones, by the number."""
    casia_v1_original_names(tmp_path / "casiav1")
    photos(tmp_path / "CASIA_Weibo", *CASIA_V1_RENAMED)
    loaded = OSN["casiav1_weibo"].load(tmp_path)
    found = {name: mask for name, mask, _ in listed(loaded)}
    assert found == {name: mask.split("/")[1] for name, mask in CASIA_V1_RENAMED.items()}


def test_images_without_any_masks_are_refused(tmp_path: Path) -> None:
    """The error says what would do."""
    dso1_through(tmp_path, "Weibo", own_masks=False)
    with pytest.raises(DatasetError, match=r"neither DSO_GT in .*, nor DSO-1 beside it"):
        OSN["dso-1_weibo"].load(tmp_path)
    with pytest.raises(DatasetError, match="found no folder DSO_Wechat of images"):
        OSN["dso-1_wechat"].load(tmp_path)
