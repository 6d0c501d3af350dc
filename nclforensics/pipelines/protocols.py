"""Evaluation protocols by name: everything that two figures must share before they may be compared.

A protocol has two halves. The evaluation half (resize rule, threshold, averaging, role of authentic images) is applied
here. The training half cannot be: a model trained on other data is measured all the same, and the report says so in one
line beside its figures and above those of its peers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import cv2
import numpy as np

from nclforensics.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """How figures are made.

    Attributes:
        name: How commands call it.
        title: One line.
        source: Where it comes from.
        training_data: What the protocol wants a model to be trained on, in words; "any" if it does not care.
        training_set: Name of the one data set that this is, None if it is any or several.
        resize: Size (width, height) that images are scaled to before they are analysed; None analyses them as stored.
        scored_at: "mask": the score map is scored at the size of the ground truth; "resized": the ground truth is
            scaled with the image.
        resize_rule: Both in words.
        threshold_rule: How the headline's threshold is set, in words.
        threshold: The headline's threshold; None where the data or the model give it.
        headline: Name of the figure that the protocol quotes, "f1@fpr" standing for the rate in use.
        averaging: How pixels and images are averaged, in words.
        authentic_images: Where authentic images enter, in words.
        comparable: The table of published figures that results may be set beside, None if there is none.
    """

    name: str
    title: str
    source: str
    training_data: str
    training_set: str | None = None
    resize: tuple[int, int] | None
    scored_at: Literal["mask", "resized"]
    resize_rule: str
    threshold_rule: str
    threshold: float | None
    headline: str
    averaging: str
    authentic_images: str
    comparable: str | None


_PER_IMAGE: Final = "per image over all of its pixels, then the mean over tampered images with equal weight"
_FAKES_ONLY: Final = "not in pixel figures, as the protocol has it; false alarms and image figures are given beside it"
_IMDLBENCO: Final = "as evaluated by IMDL-BenCo (arXiv 2406.10580; PyPI imdlbenco 0.1.45)"
_RESIZED_512: Final = (
    "image scaled to 512 x 512 (bilinear, aspect not kept), mask too (nearest neighbour), scored at 512 x 512"
)
_NATIVE_SIZE: Final = "native size: images are never resized, and are scored at the size of their file"
_CATNET_MIX: Final = "CASIA v2, FantasticReality, IMD2020 and tampered COCO (the CAT-Net mix)"

NATIVE: Final = EvaluationProtocol(
    name="native",
    title="native size, one threshold at a stated false-positive rate",
    source="this project",
    training_data="any",
    resize=None,
    scored_at="mask",
    resize_rule=_NATIVE_SIZE,
    threshold_rule="one threshold for all images, set on authentic ones at a stated false-positive rate",
    threshold=None,
    headline="f1@fpr",
    averaging=_PER_IMAGE,
    authentic_images="not in pixel figures; used for the image figures, the false alarms and, where the set has any, "
    "for the headline's threshold",
    comparable=None,
)
MVSS: Final = EvaluationProtocol(
    name="mvss",
    title="trained on CASIA v2 tampered images only, F1 at 0.5",
    source=f"Chen et al., ICCV 2021 (MVSS-Net), {_IMDLBENCO}",
    training_data="the tampered images of CASIA v2, nothing else",
    training_set="casiav2",
    resize=(512, 512),
    scored_at="resized",
    resize_rule=_RESIZED_512,
    threshold_rule="0.5, fixed",
    threshold=0.5,
    headline="f1@0.5",
    averaging=_PER_IMAGE,
    authentic_images=_FAKES_ONLY,
    comparable="mvss",
)
CATNET: Final = EvaluationProtocol(
    name="catnet",
    title="trained on the CAT-Net mix, F1 at 0.5",
    source=f"Kwon et al., IJCV 2022 (CAT-Net v2), {_IMDLBENCO}",
    training_data=_CATNET_MIX,
    resize=(512, 512),
    scored_at="resized",
    resize_rule=_RESIZED_512,
    threshold_rule="0.5, fixed",
    threshold=0.5,
    headline="f1@0.5",
    averaging=_PER_IMAGE,
    authentic_images=_FAKES_ONLY,
    comparable="catnet",
)
TRUFOR: Final = EvaluationProtocol(
    name="trufor",
    title="native size, F1 at 0.5 with an unscored border, the better of map and inverse",
    source="Guillaro et al., CVPR 2023 (TruFor), test_docker/metrics.py of grip-unina/TruFor",
    training_data=_CATNET_MIX,
    resize=None,
    scored_at="mask",
    resize_rule=_NATIVE_SIZE,
    threshold_rule="0.5, fixed; the better of the prediction and its complement is taken, image by image",
    threshold=0.5,
    headline="f1_noscore_permute",
    averaging="per image over the pixels outside the border of its mask, then the mean over tampered images",
    authentic_images=_FAKES_ONLY,
    comparable="trufor",
)
PROTOCOLS: Final[dict[str, EvaluationProtocol]] = {item.name: item for item in (NATIVE, MVSS, CATNET, TRUFOR)}


def protocol_named(name: str) -> EvaluationProtocol:
    """Return the protocol of that name.

    Raises:
        UsageError: If there is none.
    """
    if name not in PROTOCOLS:
        raise UsageError(f'Expected an evaluation protocol ({", ".join(PROTOCOLS)}), got "{name}".')
    return PROTOCOLS[name]


def prepare(
    protocol: EvaluationProtocol, image: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return image and mask as the protocol has them analysed and scored; the score map is scored at the mask's size.

    Args:
        protocol: Gives the sizes.
        image: RGB, uint8 (H, W, 3).
        mask: Ground truth, bool (H, W).

    Returns:
        The image, scaled if the protocol says so (bilinear), and the mask, scaled if it is scored at that size. The
        mask is binary before it is scaled and stays so: nearest neighbour, rounded as OpenCV's INTER_NEAREST does.
    """
    size = protocol.resize
    if size is None:
        return image, mask
    scaled = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    if protocol.scored_at == "mask":
        return scaled, mask
    # Not INTER_NEAREST_EXACT: peers' masks were scaled with this one, and it picks other pixels.
    small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return scaled, np.asarray(small, dtype=np.bool_)


def training_match(protocol: EvaluationProtocol, training: Mapping[str, Any]) -> str:
    """Return one line on whether a model was trained as the protocol asks.

    Args:
        protocol: Its training half is compared.
        training: The table `[training]` of the model's manifest; empty if it has none.
    """
    if protocol.training_data == "any":
        return "the protocol prescribes none"
    asked = f"the protocol asks for {protocol.training_data}"
    if not training.get("kind"):
        return f"not stated in the model's manifest; {asked}: published figures are for orientation only"
    differs = str(training["kind"])
    if protocol.training_set is not None and training.get("set") == protocol.training_set:
        differs = _beside_the_set(training)
        if not differs:
            return f"trained on the tampered images of {protocol.training_set}, by the model's manifest; {asked}"
    return f"trained on other data ({differs}); {asked}: published figures are for orientation only"


def _beside_the_set(training: Mapping[str, Any]) -> str:
    """Return what else a model of that set has seen, or may have; "" if nothing."""
    more = [f"{training['authentic']} authentic images"] if training.get("authentic") else []
    if "initial" in training:
        more.append(f"the data of {training['initial']}, its start ({training.get('initial_training', 'not stated')})")
    if "averaged_sha256" in training:
        more.append("the data of the other models that it is the mean of")
    return f"{training['kind']} and {', '.join(more)}" if more else ""
