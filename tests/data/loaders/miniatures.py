"""Published data sets in miniature: their real folders, file names and mask conventions, with their traps planted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import tifffile

from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from nclforensics.data.loaded_set import LoadedSet

HEIGHT, WIDTH = 48, 64


def write(path: Path, samples: NDArray[Any]) -> Path:
    """Write grey or RGB samples in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in {".tif", ".tiff"}:
        tifffile.imwrite(path, samples)
        return path
    swapped = samples if samples.ndim == 2 else samples[:, :, ::-1]
    assert cv2.imwrite(str(path), np.ascontiguousarray(swapped))
    return path


def photos(folder: Path, *names: str, height: int = HEIGHT, width: int = WIDTH) -> None:
    """Write one image a name."""
    for seed, name in enumerate(names):
        write(folder / name, make_image(height, width, seed=seed))


def masks(folder: Path, *names: str, height: int = HEIGHT, width: int = WIDTH, white: bool = True) -> None:
    """Write masks whose tampered box is white on black, or black on white."""
    for name in names:
        box = make_mask(height, width)
        write(folder / name, np.where(box == white, 255, 0).astype(np.uint8))


def rubbish(folder: Path) -> None:
    """Write what systems and authors leave among the images."""
    for name in ("Thumbs.db", ".DS_Store", "._hidden.jpg", "some_list.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def casia_v1(root: Path) -> Path:
    """CASIA v1 as its mask authors publish it: an image without mask, suffixes in capitals, lists and a table."""
    forged = root / "CASIA 1.0 dataset" / "Modified Tp" / "Tp"
    splices = ("Sp_D_NNN_A_art0072_cha0060_0107", "Sp_D_NRN_A_cha0029_art0068_0463")
    photos(forged / "Sp", f"{splices[0]}.jpg", "Sp_D_NRN_A_cha0011_sec0011_0542.jpg", f"{splices[1]}.JPG")
    photos(forged / "CM", "Sp_S_CND_A_pla0016_pla0016_0196.jpg")
    truth = root / "CASIA 1.0 groundtruth"
    masks(truth / "Sp", *(f"{stem}_gt.png" for stem in splices))
    masks(truth / "CM", "Sp_S_CND_A_pla0016_pla0016_0196_gt.png")
    (truth / "FileNameCorrection.xlsx").write_bytes(b"x")
    photos(root / "CASIA 1.0 dataset" / "Au", "Au_ani_0001.jpg", "Au_cha_0047.JPG", "Au_sec_0064.jpg")
    for folder in (forged / "Sp", truth / "Sp", root / "CASIA 1.0 dataset" / "Au"):
        rubbish(folder)
    return root


# The published names of images, and those of their masks: order of sources, a typing error, the kind corrected.
CASIA_V1_RENAMED = {
    "Sp_D_NRN_A_art0068_cha0029_0463.jpg": "Sp/Sp_D_NRN_A_cha0029_art0068_0463_gt.png",
    "Sp_D_NRN_A_ant0063_nat0065_0443.jpg": "Sp/Sp_D_NRN_A_nat0063_nat0065_0443_gt.png",
    "Sp_D_NND_A_nat0054_nat0054_0189.jpg": "CM/Sp_S_NND_A_nat0054_nat0054_0189_gt.png",
}


def casia_v1_original_names(root: Path) -> Path:
    """CASIA v1 with the owners' names, in the Kaggle layout: all forgeries in one folder Sp."""
    kept = "Sp_D_NNN_A_art0072_cha0060_0107"
    photos(root / "CASIA1" / "Sp", f"{kept}.jpg", "Sp_D_NRN_A_sce0011_cha0011_0542.jpg", *CASIA_V1_RENAMED)
    masks(root / "CASIA 1.0 groundtruth", f"Sp/{kept}_gt.png", *CASIA_V1_RENAMED.values())
    photos(root / "CASIA1" / "Au", "Au_ani_0001.jpg")
    return root


CASIA_V2_TURNED = "Tp_D_CNN_M_N_sec00011_cha00085_11227"
CASIA_V2_LARGER = "Tp_S_NRN_S_B_ind10002_ind10002_20010"
CASIA_V2_FAULTY = "Tp_D_NRD_S_B_ani20002_nat20042_02437"


def casia_v2(root: Path, *, corrected: bool = False) -> Path:
    """CASIA v2 with its original or its corrected masks; TIFF only among the tampered, BMP only among the authentic."""
    truth = root / ("Gt" if corrected else "CASIA 2 Groundtruth")
    photos(
        root / "Tp",
        "Tp_D_CRN_M_N_nat10139_nat10124_11946.jpg",
        "Tp_S_NNN_S_N_pla20095_pla20095_02347.tif",
        "Tp_D_NRD_S_N_cha10002_cha10001_20094.jpg",
        "Tp_D_NNN_M_B_art00037_nat10103_10108.tif",
        f"{CASIA_V2_TURNED}.jpg",
        f"{CASIA_V2_LARGER}.jpg",
        f"{CASIA_V2_FAULTY}.tif",
    )
    masks(
        truth,
        "Tp_D_CRN_M_N_nat10139_nat10124_11946_gt.png",
        "Tp_S_NNN_S_N_pla20095_pla20095_02347_gt.png",
        "Tp_D_NRD_S_N_cha10002_cha10001_20094_gt3.png",
        "Tp_D_NNN_M_B_art00037_txt10112_10108_gt.png",
        f"{CASIA_V2_FAULTY}_gt.png",
    )
    turned, larger = ((HEIGHT, WIDTH), (HEIGHT, WIDTH)) if corrected else ((WIDTH, HEIGHT), (HEIGHT + 20, WIDTH + 20))
    masks(truth, f"{CASIA_V2_TURNED}_gt.png", height=turned[0], width=turned[1])
    masks(truth, f"{CASIA_V2_LARGER}_gt.png", height=larger[0], width=larger[1])
    photos(root / "Au", "Au_ani_00001.jpg", "Au_art_00002.bmp", "Au_ind_00003.JPG")
    for folder in (root / "Tp", truth, root / "Au"):
        rubbish(folder)
    return root


def edge_mask(box: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colour a mask as Columbia does: tampered green, else red, both brighter near the edge: uint8 (H, W, 3)."""
    near = cv2.morphologyEx(box.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) > 0
    level = np.where(near, 255, 150).astype(np.uint8)
    return np.dstack([np.where(box, 0, level), np.where(box, level, 0), np.zeros_like(level)]).astype(np.uint8)


def columbia(root: Path) -> Path:
    """Columbia: uncompressed TIFF and BMP; masks in red and green, JPEG-coded, beside masks of authentic images."""
    photos(
        root / "4cam_splc", "canong3_canonxt_sub_01.tif", "canong3_canonxt_sub_02.TIF", "nikond70_canonxt_sub_10.bmp"
    )
    for stem in ("canong3_canonxt_sub_01", "canong3_canonxt_sub_02", "nikond70_canonxt_sub_10"):
        path = root / "4cam_splc" / "edgemask" / f"{stem}_edgemask.jpg"
        write(path, edge_mask(make_mask(HEIGHT, WIDTH, box=(12, 14, 36, 50))))
    photos(root / "4cam_auth", "canong3_02_sub_01.tif", "nikond70_05_sub_02.bmp")
    photos(root / "4cam_auth" / "edgemask", "canong3_02_sub_01_edgemask.jpg")
    for folder in (root / "4cam_splc", root / "4cam_splc" / "edgemask", root / "4cam_auth"):
        rubbish(folder)
    return root


def coverage(root: Path) -> Path:
    """COVERAGE: numbers without leading zeros, three masks a copy-move, one of another size."""
    for number in (2, 10, 41):
        photos(root / "image", f"{number}.tif", f"{number}t.tif")
        names = (f"{number}{which}.tif" for which in ("forged", "copy", "paste"))
        masks(root / "mask", *names, height=HEIGHT + (2 if number == 41 else 0))
    rubbish(root / "image")
    return root


NIST16_HEADER = (
    "TaskID|ProbeFileID|ProbeFileName|ProbeMaskFileName|IsTarget|ProbePostProcessed|BaseFileName"
    "|IsManipulationTypeRemoval|IsManipulationTypeSplice|IsManipulationTypeCopyClone"
)


def nist16(root: Path, *, white: bool = False) -> Path:
    """NIST16: 2 probes a mask, masks named by nothing but the CSV, black = tampered unless `white`."""
    rows = (
        ("2001", "9001", "Y", "none", "1001", "N|Y|N"),
        ("2002", "9001", "Y", "rescale", "1001", "N|Y|N"),
        ("2003", "9002", "Y", "none", "1001", "Y|N|N"),
        ("2004", "9003", "Y", "none", "1002", "N|N|Y"),
        ("2005", "", "N", "none", "1003", "N|N|N"),
        ("2005", "", "N", "none", "1003", "N|N|N"),
    )
    lines = [_nist16_row(number, row) for number, row in enumerate(rows)]
    photos(root / "probe", *sorted({f"NC2016_{row[0]}.jpg" for row in rows}), "NC2016_7777.jpg")
    truth = root / "reference" / "manipulation"
    masks(truth / "mask", *(f"NC2016_{number}.png" for number in ("9001", "9002", "9003")), white=white)
    (truth / "NC2016-manipulation-ref.csv").write_text("\n".join([NIST16_HEADER, *lines]) + "\n", encoding="utf-8")
    photos(root / "world", "NC2016_1001.jpg")
    rubbish(root / "probe")
    return root


def _nist16_row(number: int, row: tuple[str, ...]) -> str:
    probe, mask, target, post, base, kinds = row
    mask_path = f"reference/manipulation/mask/NC2016_{mask}.png" if mask else ""
    return f"manipulation|{number}|probe/NC2016_{probe}.jpg|{mask_path}|{target}|{post}|world/NC2016_{base}.jpg|{kinds}"


def imd2020(root: Path) -> Path:
    """IMD2020: a folder an original, names that repeat across folders, one mask of another size."""
    photos(root / "1a1ogs", "1a1ogs_orig.jpg", "c8tf5mq_0.png", "00030_fake.jpg")
    masks(root / "1a1ogs", "c8tf5mq_0_mask.png", "00030_fake_mask.png")
    photos(root / "z14", "z14_orig.jpg", "00030_fake.jpg", "00031_fake.JPG")
    masks(root / "z14", "00030_fake_mask.png", height=HEIGHT - 8)
    masks(root / "z14", "00031_fake_mask.png")
    rubbish(root / "z14")
    return root


def listed(loaded: LoadedSet) -> list[tuple[str, str | None, str]]:
    """Return the names of image and mask, and the kind, of every pair."""
    return [(pair.image.name, pair.mask.name if pair.mask else None, pair.kind) for pair in loaded.pairs]


def named(loaded: LoadedSet, kind: str) -> list[tuple[str, str | None]]:
    """Return the severity and the file's name of every anomaly of a kind."""
    return [(each.severity, each.path.name if each.path else None) for each in loaded.anomalies if each.kind == kind]


def kinds(loaded: LoadedSet) -> set[str]:
    """Return the kinds of anomalies that were found, without the counts, which no miniature can meet."""
    return {each.kind for each in loaded.anomalies} - {"count"}


def rename_all(folder: Path, names: Iterable[tuple[str, str]]) -> None:
    """Rename files or folders, and remove the folders that this leaves empty."""
    for old, new in names:
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / new)
        for parent in (folder / old).parents:
            if parent == folder or any(parent.iterdir()):
                break
            parent.rmdir()
