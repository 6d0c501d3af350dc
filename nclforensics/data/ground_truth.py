"""Ground truth as each data set writes it: which pixels of a mask file mean tampered.

Published masks disagree about polarity, colours and grey values. Every pair names its rule, so that no mask is read
by the wrong one without anybody noticing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nclforensics.data.images import bright_pixels, full_scale, read_samples
from nclforensics.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nclforensics.data.manifest import ImagePair

_NIST_LIMIT: Final = 180
_KORUS_LIMIT: Final = 10


@dataclass(frozen=True)
class MaskRule:
    """Which pixels of a mask file mean tampered.

    Attributes:
        name: How pairs and manifests call the rule.
        meaning: The rule in words.
        tampered: Takes the decoded samples, (H, W) or (H, W, 3) in RGB order, returns bool (H, W).
    """

    name: str
    meaning: str
    tampered: Callable[[NDArray[Any]], NDArray[np.bool_]]


def read_ground_truth(pair: ImagePair) -> NDArray[np.bool_]:
    """Read the mask of a tampered image by the pair's own rule: bool (H, W), True = tampered.

    Raises:
        MissingInputError: If there is no such file.
        UnreadableImageError: If it is no whole image.
        DatasetError: If the rule is unknown or needs colours that the mask does not have.
    """
    assert pair.mask is not None, "an authentic image has no ground truth to read"
    rule = MASK_RULES.get(pair.mask_rule)
    if rule is None:
        known = ", ".join(MASK_RULES)
        raise DatasetError(f'Expected one of the mask rules {known} for {pair.mask}, found "{pair.mask_rule}".')
    samples = read_samples(pair.mask)
    if rule.name == "green-over-red" and _is_grey(samples):
        raise DatasetError(f"Expected a mask in red and green in {pair.mask}, found one without colour.")
    return rule.tampered(samples)


def _is_grey(samples: NDArray[Any]) -> bool:
    return samples.ndim == 2 or np.array_equal(samples[:, :, 0], samples[:, :, 1])  # noqa: PLR2004 - one channel


def _levels(samples: NDArray[Any]) -> NDArray[Any]:
    """Return the brightest channel, (H, W), on the scale of 0 to 255; a largest value of 1 stands for 255."""
    levels = samples if samples.ndim == 2 else samples.max(axis=2)  # noqa: PLR2004 - one channel
    if levels.dtype == np.bool_ or levels.max() <= 1:
        return levels * np.float32(255)
    white = full_scale(levels)
    return levels if white == 255 else levels * np.float32(255 / white)  # noqa: PLR2004 - the scale wanted


def _above_zero(samples: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(_levels(samples) > 0)


def _dark(samples: NDArray[Any]) -> NDArray[np.bool_]:
    return ~bright_pixels(samples)


def _dark_180(samples: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(_levels(samples) < _NIST_LIMIT)


def _above_10(samples: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(_levels(samples) > _KORUS_LIMIT)


def _green_over_red(samples: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(samples[:, :, 1] > samples[:, :, 0])


_RULES: Final = (
    MaskRule("bright", "the brightest channel is at least half of full scale", bright_pixels),
    MaskRule("above-zero", "any channel is above zero", _above_zero),
    MaskRule("dark", "all channels are below half of full scale", _dark),
    MaskRule("dark-180", f"all channels are below {_NIST_LIMIT} of 255", _dark_180),
    MaskRule("above-10", f"any channel is above {_KORUS_LIMIT} of 255", _above_10),
    MaskRule("green-over-red", "green is above red", _green_over_red),
)
MASK_RULES: Final[dict[str, MaskRule]] = {rule.name: rule for rule in _RULES}
