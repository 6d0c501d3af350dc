from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from nclforensics.data.ground_truth import read_ground_truth
from nclforensics.data.loaders.nist16 import NIST16
from nclforensics.errors import DatasetError
from tests.data.loaders.miniatures import NIST16_HEADER, kinds, listed, masks, named, nist16, photos, rename_all, write
from tests.factories import make_mask

if TYPE_CHECKING:
    from pathlib import Path

CSV = "reference/manipulation/NC2016-manipulation-ref.csv"
PAIRS = [
    ("NC2016_2001.jpg", "NC2016_9001.png", "splice"),
    ("NC2016_2002.jpg", "NC2016_9001.png", "splice"),
    ("NC2016_2003.jpg", "NC2016_9002.png", "removal"),
    ("NC2016_2004.jpg", "NC2016_9003.png", "copy-move"),
    ("NC2016_2005.jpg", None, ""),
]


def append(root: Path, line: str) -> None:
    """Add a row to the CSV."""
    path = root / CSV
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")


def test_csv_says_which_mask_belongs_to_which_probe(tmp_path: Path) -> None:
    """Masks have names of their own, two probes share one, a row that is there twice counts once."""
    loaded = NIST16.load(nist16(tmp_path))
    assert listed(loaded) == PAIRS
    assert kinds(loaded) == {"ignored"}
    assert named(loaded, "ignored") == [("note", "probe")]


def test_black_is_tampered(tmp_path: Path) -> None:
    """The published polarity: read as white = tampered, the masks would mark nearly everything."""
    loaded = NIST16.load(nist16(tmp_path))
    assert {pair.mask_rule for pair in loaded.pairs if pair.mask} == {"dark-180"}
    assert np.array_equal(make_mask(), read_ground_truth(loaded.pairs[0]))


def test_converted_copy_is_recognized(tmp_path: Path) -> None:
    """Masks that are mostly black by the median are read as white = tampered, and that is said."""
    loaded = NIST16.load(nist16(tmp_path, white=True))
    assert np.array_equal(make_mask(), read_ground_truth(loaded.pairs[0]))
    [warning] = [each for each in loaded.anomalies if each.kind == "inverted"]
    assert warning.severity == "warning"
    assert "mark 94% of the median image (3 looked at)" in warning.message


def test_one_large_forgery_does_not_turn_the_set(tmp_path: Path) -> None:
    """Black covers 94, 45 and 45 % of three masks: the median decides, not the mean; a damaged mask has no say."""
    folder = nist16(tmp_path) / "reference/manipulation/mask"
    masks(folder, "NC2016_9001.png", white=True)
    large = np.where(make_mask(box=(0, 0, 48, 29)), 0, 255).astype(np.uint8)
    for name in ("NC2016_9002.png", "NC2016_9003.png"):
        write(folder / name, large)
    assert NIST16.load(tmp_path).pairs[0].mask_rule == "dark-180"
    (folder / "NC2016_9001.png").write_bytes(b"x")
    assert NIST16.load(tmp_path).pairs[0].mask_rule == "dark-180"


def test_images_of_a_base_image_form_a_group(tmp_path: Path) -> None:
    """The usual split of 404 and 160 images divides them between training and test."""
    groups = [pair.group for pair in NIST16.load(nist16(tmp_path)).pairs]
    assert groups == ["NC2016_1001", "NC2016_1001", "NC2016_1001", "NC2016_1002", "NC2016_1003"]


def test_contradicting_rows_are_an_error(tmp_path: Path) -> None:
    """One probe with two masks: nobody can know which is right."""
    root = nist16(tmp_path)
    mask = "reference/manipulation/mask/NC2016_9003.png"
    append(root, f"manipulation|9|probe/NC2016_2001.jpg|{mask}|Y|none|world/NC2016_1001.jpg|N|Y|N")
    assert named(NIST16.load(root), "duplicate") == [("error", "NC2016_2001.jpg")]


def test_files_that_the_csv_names_but_nobody_has_are_told(tmp_path: Path) -> None:
    """A missing probe and a missing mask are two different things."""
    root = nist16(tmp_path)
    (root / "probe/NC2016_2005.jpg").unlink()
    (root / "reference/manipulation/mask/NC2016_9003.png").unlink()
    loaded = NIST16.load(root)
    assert listed(loaded) == PAIRS[:3]
    assert named(loaded, "unpaired-image") == [("warning", "NC2016_2004.jpg"), ("error", None)], "more than a tenth"
    assert named(loaded, "count")[0] == ("warning", "NC2016_2005.jpg")


def test_a_folder_of_masks_that_was_not_unpacked_is_an_error(tmp_path: Path) -> None:
    """Nor would figures of the few tampered images that are left be those of the set: missing probes count too."""
    root = nist16(tmp_path)
    for name in ("NC2016_2001.jpg", "NC2016_2002.jpg", "NC2016_2003.jpg"):
        (root / "probe" / name).unlink()
    errors = [each for each in NIST16.load(root).anomalies if each.severity == "error"]
    assert [each.message.split(" that ")[0] for each in errors] == ["3 of 4 tampered images"]


def test_csv_is_found_in_the_unpacked_archive(tmp_path: Path) -> None:
    """Its paths are relative to the folder that holds it, not to the folder that was given."""
    nist16(tmp_path / "NC2016_Test0613")
    assert listed(NIST16.load(tmp_path)) == PAIRS


def test_csv_of_another_form_is_refused(tmp_path: Path) -> None:
    """A comma for a bar, or a file that is no text."""
    root = nist16(tmp_path)
    (root / CSV).write_text(NIST16_HEADER.replace("|", ",") + "\n1,2\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r'Expected columns separated by "\|".*ProbeFileName'):
        NIST16.load(root)
    (root / CSV).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="not a CSV file in UTF-8"):
        NIST16.load(root)


def test_copy_of_mvss_is_paired_by_name(tmp_path: Path) -> None:
    """Converted to white = tampered, the kind in the name, no base images: for tests only."""
    names = [f"NC2016_7673_549_1007_1191_1570_{kind}.png" for kind in ("copyclone", "removal", "splice")]
    photos(tmp_path / "probe_save", *names)
    masks(tmp_path / "mask", *names)
    loaded = NIST16.load(tmp_path)
    assert listed(loaded) == list(zip(names, names, ("copy-move", "removal", "splice"), strict=True))
    assert {pair.mask_rule for pair in loaded.pairs} == {"bright"}
    assert kinds(loaded) == {"inverted", "unreliable"}


def test_probes_without_the_csv_are_refused(tmp_path: Path) -> None:
    """Without the CSV no mask can be told from another."""
    rename_all(nist16(tmp_path), [(CSV, "elsewhere/x.csv")])
    with pytest.raises(DatasetError, match=r"found no reference/manipulation/NC2016-manipulation-ref\.csv"):
        NIST16.load(tmp_path)
