"""Every benchmark in its own layout, with real objects in its images, and a fault planted into its ground truth."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from tests.data.loaders.miniatures import edge_mask, write
from tests.factories import make_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Fault = Literal["none", "inverted", "shuffled", "shifted"]

COUNT = 16
HEIGHT, WIDTH = 120, 160
SHIFT = 12  # pixels to the right

_CASIA_V1 = ("Modified Tp/Tp/Sp/Sp_D_NNN_A_art{n:04}_cha0060_{n:04}.jpg", "CASIA 1.0 groundtruth/Sp/{stem}_gt.png")
_DEFACTO = ("splicing_1_img/img/19143_{n:012}.tif", "splicing_1_annotations/probe_mask/{stem}.jpg")
# Image and mask of the pair with number n; {stem} stands for the image's name without suffix.
LAYOUTS = {
    **{f"autosplice{tag}": (f"Forged_JPEG{tag or 100}/{{n}}_0.jpg", "Mask/{n}_mask.png") for tag in ("", 90, 75)},
    "casiav1": _CASIA_V1,
    "casiav1plus": _CASIA_V1,
    "casiav2": ("Tp/Tp_D_CRN_M_N_nat{n:05}_nat10124_{n:05}.jpg", "Gt/{stem}_gt.png"),
    "cocoglide": ("fake/glide_inpainting_val2017_{n}_up.png", "mask/dining table_{n}_mask.png"),
    "columbia": ("4cam_splc/canong3_canonxt_sub_{n:02}.tif", "4cam_splc/edgemask/{stem}_edgemask.jpg"),
    "coverage": ("image/{n}t.tif", "mask/{n}forged.tif"),
    "defacto": _DEFACTO,
    "defacto12k": (f"DEFACTO/{_DEFACTO[0]}", f"DEFACTO/{_DEFACTO[1]}"),
    "dso-1": ("DSO-1/splicing-{n:02}.png", "DSO-1-Fake-Images-Masks/{stem}.png"),
    "imd2020": ("{n}a1/c8tf_{n}.png", "{n}a1/{stem}_mask.png"),
    "korus": ("Nikon_D90/tampered-realistic/DSC{n:05}.TIF", "Nikon_D90/ground-truth/{stem}.PNG"),
    "nist16": ("probe/NC2016_{n:04}.jpg", "reference/manipulation/mask/NC2016_9{n:03}.png"),
    **{
        f"{name}_{network.lower()}": (f"{folder}_{network}/{image}.jpg", f"{folder}_{network}/{folder}_GT/{{stem}}.png")
        for name, folder, image in (
            ("dso-1", "DSO", "splicing-{n:02}"),
            ("columbia", "Columbia", "canong3_canonxt_sub_{n:02}"),
            ("nist16", "NIST", "NC2016_{n:04}"),
            ("casiav1", "CASIA", "Sp_D_NNN_A_art{n:04}_cha0060_{n:04}"),
        )
        for network in ("Facebook", "Whatsapp", "Weibo", "Wechat")
    },
}
_BLACK_IS_TAMPERED = frozenset({"dso-1", "nist16"})


def planted_set(name: str, root: Path, fault: Fault) -> Path:
    """Write a benchmark of 16 tampered images; its masks follow the objects in them unless there is a fault."""
    masks = faulty_masks(fault)
    image_name, mask_name = LAYOUTS[name]
    for number in range(1, COUNT + 1):
        image = root / image_name.format(n=number)
        pixels, _ = picture(number)
        write(image, pixels)
        write(root / mask_name.format(n=number, stem=image.stem), _encoded(masks[number - 1], name))
    _write_index(name, root)
    return root


def faulty_masks(fault: Fault) -> list[NDArray[np.bool_]]:
    """Return the masks of the 16 pictures: as they are, inverted, each that of another picture, or displaced."""
    masks = [picture(number)[1] for number in range(1, COUNT + 1)]
    if fault == "inverted":
        return [~mask for mask in masks]
    if fault == "shuffled":
        return masks[3:] + masks[:3]
    if fault == "shifted":
        return [np.roll(mask, SHIFT, axis=1) for mask in masks]
    return masks


@cache
def picture(number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return an image with two objects in it, RGB uint8 (120, 160, 3), and the mask of the first, bool (120, 160)."""
    rng = np.random.default_rng(number)
    scene = make_image(HEIGHT, WIDTH, seed=number)
    outlines = [_outline(rng) for _ in range(2)]
    for shift, outline in enumerate(outlines, start=1):
        scene[outline] = make_image(HEIGHT, WIDTH, seed=number + 100 * shift)[outline]
    noisy = np.clip(scene + rng.normal(0, 3, scene.shape), 0, 255).astype(np.uint8)
    return noisy, outlines[1]


def _outline(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a random polygon that stays 20 pixels away from the frame."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, 8))
    centre, radii = rng.uniform((50, 45), (WIDTH - 50, HEIGHT - 45)), rng.uniform(12, 25, 8)
    corners = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(canvas, [corners.round().astype(np.int32)], 1)
    return canvas.astype(np.bool_)


def _encoded(mask: NDArray[np.bool_], name: str) -> NDArray[np.uint8]:
    if name == "columbia":
        return edge_mask(mask)
    return np.where(mask == (name not in _BLACK_IS_TAMPERED), 255, 0).astype(np.uint8)


def _write_index(name: str, root: Path) -> None:
    """Add what a loader needs beside images and masks."""
    image, mask = LAYOUTS[name]
    numbers = range(1, COUNT + 1)
    if name == "imd2020":
        write(root / "1a1" / "1a1_orig.jpg", make_image(HEIGHT, WIDTH, seed=999))
    if name == "casiav1plus":
        write(root / "Au" / "Au_sec_0064.jpg", make_image(HEIGHT, WIDTH, seed=999))
        (root / "CASIAv1plus.txt").write_text("./Au/Au_sec_0064.jpg None 0\n")
    if name == "defacto12k":
        stem = "19143_{n:012}"
        rows = [f"./{image.format(n=n)} ./{mask.format(n=n, stem=stem.format(n=n))} 1\n" for n in numbers]
        (root / "DEFACTO12k-test.txt").write_text("".join(rows))
    if name == "nist16":
        rows = [f"{image.format(n=n)}|{mask.format(n=n)}|Y|world/NC2016_{n}.jpg\n" for n in numbers]
        index = root / "reference" / "manipulation" / "NC2016-manipulation-ref.csv"
        index.write_text("ProbeFileName|ProbeMaskFileName|IsTarget|BaseFileName\n" + "".join(rows))
