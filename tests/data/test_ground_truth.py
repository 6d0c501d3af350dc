from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nclforensics.data.ground_truth import MASK_RULES, read_ground_truth
from nclforensics.data.images import read_mask, read_samples
from nclforensics.data.manifest import ImagePair
from nclforensics.errors import DatasetError, MissingInputError, UnreadableImageError
from tests.data.loaders.miniatures import edge_mask, write
from tests.factories import make_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def pair(mask: Path, rule: str = "bright") -> ImagePair:
    """Return a tampered image whose mask is under test."""
    return ImagePair(mask.with_name("image.jpg"), mask, authentic=False, mask_rule=rule)


def tampered(rule: str, *levels: float, dtype: Any = np.uint8) -> list[bool]:  # noqa: ANN401 - any dtype
    """Return what a rule says of some grey levels."""
    return [bool(value) for value in MASK_RULES[rule].tampered(np.array([levels], dtype=dtype))[0]]


@pytest.mark.parametrize(
    ("rule", "levels", "expected"),
    [
        ("bright", (0, 127, 128, 255), [False, False, True, True]),
        ("above-zero", (0, 1, 128, 255), [False, True, True, True]),
        ("dark", (0, 127, 128, 255), [True, True, False, False]),
        ("dark-180", (0, 179, 180, 255), [True, True, False, False]),
        ("above-10", (0, 10, 11, 255), [False, False, True, True]),
    ],
)
def test_thresholds_lie_where_they_are_said_to(rule: str, levels: tuple[int, ...], expected: list[bool]) -> None:
    """The grey level on each side of every threshold, in 8 bits, 16 bits, and in three channels."""
    assert expected == tampered(rule, *levels)
    assert expected == tampered(rule, *(level * 257 for level in levels), dtype=np.uint16)
    coloured = np.array([levels], np.uint8)[:, :, None] * np.array([1, 0, 0], np.uint8)
    assert expected == MASK_RULES[rule].tampered(coloured)[0].tolist()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32])
def test_255_is_white_where_nothing_is_brighter(dtype: type) -> None:
    """Many a program stores a mask of 8 bits in wider samples as it is."""
    assert tampered("bright", 0, 127, 128, 255, dtype=dtype) == [False, False, True, True]
    assert tampered("above-10", 0, 10, 11, 255, dtype=dtype) == [False, False, True, True]
    assert tampered("bright", 0, 128, 255, 256, dtype=dtype) == [False] * 4, "then its own scale"


@pytest.mark.parametrize("rule", sorted(set(MASK_RULES) - {"green-over-red"}))
def test_masks_of_zeros_and_ones_mean_the_same(rule: str) -> None:
    """A mask stored as 0 and 1, as booleans or as floats is read as one stored as 0 and 255."""
    expected = tampered(rule, 0, 255)
    assert [expected] * 3 == [tampered(rule, 0, 1, dtype=dtype) for dtype in (np.uint8, np.bool_, np.float32)]


def test_every_rule_is_named_once_and_explained() -> None:
    """The key is the rule's own name."""
    assert all(name == rule.name and rule.meaning for name, rule in MASK_RULES.items())
    assert {"bright", "above-zero", "dark", "dark-180", "above-10", "green-over-red"} == set(MASK_RULES)


def columbia_mask(path: Path) -> NDArray[np.bool_]:
    """Write a JPEG mask in Columbia's colours and return what it marks."""
    box = make_mask(96, 128, box=(20, 30, 70, 100))
    write(path, edge_mask(box))
    return box


def test_columbia_colours_survive_their_jpeg_noise(tmp_path: Path) -> None:
    """Green over red finds the region, bright and dark; the rules seen in the wild do not."""
    box = columbia_mask(tmp_path / "x_edgemask.jpg")
    found = read_ground_truth(pair(tmp_path / "x_edgemask.jpg", "green-over-red"))
    wrong = (found != box).mean()
    samples = read_samples(tmp_path / "x_edgemask.jpg").astype(int)
    assert wrong < 0.005
    assert ((samples[:, :, 1] > 0) != box).mean() > 0.02  # green above zero: JPEG noise in the red
    assert ((samples.mean(axis=2) > 127.5) & box).sum() == 0  # mean of the channels: nothing at all
    assert (read_mask(tmp_path / "x_edgemask.jpg") != box).mean() > 0.3  # brightest channel: everything


def test_colour_rule_refuses_masks_without_colour(tmp_path: Path) -> None:
    """A grey mask, stored in one channel or three, would come out empty without a word."""
    grey = make_mask().astype(np.uint8) * 255
    for name, samples in (("one.png", grey), ("three.png", np.dstack([grey] * 3))):
        write(tmp_path / name, samples)
        with pytest.raises(DatasetError, match=f"red and green in .*{name}"):
            read_ground_truth(pair(tmp_path / name, "green-over-red"))


def test_pair_decides_about_polarity(tmp_path: Path) -> None:
    """One file, read by two rules, gives opposite masks; alpha is no tampering."""
    box = make_mask()
    levels = np.where(box, 0, 255).astype(np.uint8)
    write(tmp_path / "grey.png", levels)
    assert np.array_equal(box, read_ground_truth(pair(tmp_path / "grey.png", "dark")))
    assert np.array_equal(~box, read_ground_truth(pair(tmp_path / "grey.png")))
    assert read_samples(tmp_path / "grey.png").shape == (48, 64)


def test_jpeg_noise_stays_out_of_bright_masks(tmp_path: Path) -> None:
    """A black and white mask that went through JPEG is read back as it was; above-zero would add its ringing."""
    box = make_mask(96, 128, box=(21, 30, 70, 101))
    write(tmp_path / "m.jpg", box.astype(np.uint8) * 255)
    assert np.array_equal(box, read_ground_truth(pair(tmp_path / "m.jpg")))
    assert (read_ground_truth(pair(tmp_path / "m.jpg", "above-zero")) != box).any()


def test_faulty_masks_are_refused(tmp_path: Path) -> None:
    """An unknown rule, a missing file and a damaged one each say which file it is."""
    write(tmp_path / "m.png", make_mask().astype(np.uint8))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DatasetError, match=r'bright, above-zero, .* for .*m\.png, found "white"'):
        read_ground_truth(pair(tmp_path / "m.png", "white"))
    with pytest.raises(MissingInputError, match=r"none\.png"):
        read_ground_truth(pair(tmp_path / "none.png"))
    with pytest.raises(UnreadableImageError, match=r"broken\.png"):
        read_ground_truth(pair(tmp_path / "broken.png"))
