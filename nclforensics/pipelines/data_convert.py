"""`nclf data convert`: a data set of any layout rewritten as one that every tool of the field reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from nclforensics.data.formats.json_dataset import write_json_dataset
from nclforensics.data.formats.mani_dataset import write_mani_dataset
from nclforensics.data.formats.plain_masks import new_folder, plain_masks
from nclforensics.data.listing import check_names
from nclforensics.data.manifest import MANIFEST_NAME, write_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nclforensics.data.manifest import ImagePair


Layout = Literal["manifest", "json", "mani"]


def convert_pairs(pairs: Sequence[ImagePair], layout: Layout, out: Path) -> Path:
    """Write a set into a new or empty folder, with masks of 0 and 255 in their images' sizes.

    Images are named where they lie; only "mani" copies them. A mask that already is as it should be stays where it is
    as well, and the others are written to out/masks.

    Args:
        pairs: What to write, such as the usable pairs of a checked set.
        layout: "manifest" writes out/manifest.csv, "json" IMDLBenCo's JsonDataset out/dataset.json, "mani" its
            ManiDataset out/Tp and out/Gt.
        out: The folder.

    Returns:
        What to give to `nclf eval` or `nclf train`.

    Raises:
        DatasetError: If the layout is a list, and a name is not valid in UTF-8; nothing is written then.
        OutputError: If the folder holds anything, or a file cannot be written.
    """
    if layout != "mani":
        check_names(_listed_names(pairs, layout, out))
    new_folder(out)
    if layout == "mani":
        write_mani_dataset(pairs, out)
        return out
    if layout == "json":
        write_json_dataset(pairs, out / "dataset.json", out / "masks")
        return out / "dataset.json"
    # An authentic image needs no mask: its own, if it has one, is empty.
    bare = [replace(pair, mask=None) if pair.authentic else pair for pair in pairs]
    masks = plain_masks(bare, out / "masks")
    plain = [replace(pair, mask=mask, mask_rule="bright") for pair, mask in zip(bare, masks, strict=True)]
    write_manifest(plain, out / MANIFEST_NAME)
    return out / MANIFEST_NAME


def _listed_names(pairs: Sequence[ImagePair], layout: Layout, out: Path) -> Iterator[str]:
    """Yield the paths that a list names."""
    if layout == "json":  # it names the masks that are written there by their absolute paths
        yield str(out.absolute())
    for pair in pairs:
        yield str(pair.image.absolute())
        if pair.mask is not None and not pair.authentic:
            yield str(pair.mask.absolute())
