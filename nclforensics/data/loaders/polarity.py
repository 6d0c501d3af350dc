"""Which of two polarities the masks of a copy have: some sets are published inverted, and circulate converted too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from nclforensics.data.ground_truth import MASK_RULES
from nclforensics.data.images import read_samples
from nclforensics.data.loaded_set import Anomaly
from nclforensics.errors import MissingInputError, UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nclforensics.data.manifest import ImagePair

_LOOKED_AT: Final = 32  # so many masks, spread over the set, decide
_HALF: Final = 0.5


def with_polarity(
    pairs: Sequence[ImagePair], *, published: str, otherwise: str
) -> tuple[list[ImagePair], list[Anomaly]]:
    """Set the mask rule of all pairs to one of two opposite rules.

    A forgery is smaller than what it was put into: the published rule holds unless it marks more than half of the
    median image.

    Args:
        pairs: Pairs whose masks were all made alike.
        published: Rule of the owners' masks.
        otherwise: The opposite rule.

    Returns:
        The pairs with their rule, and a warning if the copy is not as published.
    """
    masks = sorted({pair.mask for pair in pairs if pair.mask is not None})
    spread = np.linspace(0, len(masks) - 1, min(_LOOKED_AT, len(masks))).round().astype(int)
    shares = [share for at in spread if (share := _share(masks[at], published)) is not None]
    median = float(np.median(shares)) if shares else 0.0
    rule = otherwise if median > _HALF else published
    ruled = [pair if pair.mask is None else replace(pair, mask_rule=rule) for pair in pairs]
    if rule == published:
        return ruled, []
    message = (
        f'Read as published ("{MASK_RULES[published].meaning}"), the masks mark {median:.0%} of the median image '
        f'({len(shares)} looked at). So this is a converted copy, and "{MASK_RULES[otherwise].meaning}" was used.'
    )
    return ruled, [Anomaly("inverted", "warning", message)]


def _share(mask: Path, rule: str) -> float | None:
    try:
        return float(MASK_RULES[rule].tampered(read_samples(mask)).mean())
    except (MissingInputError, UnreadableImageError):
        return None  # reported by whoever reads the mask for its pixels
