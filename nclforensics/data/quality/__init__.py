"""What an image's own traces say about its quality: hints for whoever reads a finding, and no findings themselves.

Computed from the file's bytes and its decoded pixels, at a bounded cost (see `sampling`). docs/decision.md has the
error rates of every hint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nclforensics.data.quality.block_grid import grid_corner
from nclforensics.data.quality.earlier_jpeg import GAIN_LIMIT, UNQUANTIZED, earlier_jpeg
from nclforensics.data.quality.jpeg_coding import read_jpeg_coding
from nclforensics.data.quality.levels import UNEVENNESS_LIMIT, level_unevenness
from nclforensics.data.quality.resampling import PEAK_LIMIT, resampling_peak, softness
from nclforensics.data.quality.sampling import luma_of, windows
from nclforensics.data.quality.surfaces import flat_share, grey_of, ruled_share, textureless_share
from nclforensics.results import QualityFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nclforensics.data.quality.jpeg_coding import JpegCoding
    from nclforensics.data.quality.sampling import Luma

SOFTNESS_LIMIT: Final = 2.7
UNIFORM_LIMIT: Final = 0.95
FLAT_LIMIT: Final = 0.05
RULED_LIMIT: Final = 0.0002
NARROW_RANGE: Final = "WebP"  # stores 220 levels of brightness: spread over 256, they are uneven in every photo
DIGITS: Final = 4


def image_quality(content: bytes, pixels: NDArray[np.uint8], file_format: str) -> QualityFacts:
    """Return the quality facts of an image; equal arguments give equal facts.

    Args:
        content: The file's bytes, already decoded once without an error.
        pixels: What they were decoded to, uint8 (H, W, 3) RGB, as stored.
        file_format: From the content, such as "JPEG".
    """
    coding = read_jpeg_coding(content) if file_format == "JPEG" else None
    parts = windows(pixels)
    planes = [luma_of(part) for part in parts]
    greys = [grey_of(part) for part in parts]
    gain, earlier = _earlier_jpeg(planes, coding)
    peak, frequency = resampling_peak(planes)
    soft = softness(planes)
    uneven = None if file_format == NARROW_RANGE else level_unevenness(parts)
    textureless, flat, ruled = textureless_share(greys), flat_share(greys), ruled_share(greys)
    return QualityFacts(
        jpeg_quality=coding.quality if coding else None,
        jpeg_standard_tables=coding.standard if coding else None,
        jpeg_subsampling=coding.subsampling if coding else None,
        jpeg_progressive=coding.progressive if coding else None,
        earlier_jpeg_gain=round(gain, DIGITS),
        earlier_jpeg_quality=earlier if gain >= GAIN_LIMIT else None,
        resampling_peak=round(peak, DIGITS),
        resampling_frequency=round(frequency, DIGITS) if peak >= PEAK_LIMIT else None,
        softness=round(soft, DIGITS),
        upscaled=peak >= PEAK_LIMIT and soft >= SOFTNESS_LIMIT,
        textureless_share=round(textureless, DIGITS),
        near_uniform=textureless >= UNIFORM_LIMIT,
        flat_share=round(flat, DIGITS),
        ruled_share=round(ruled, DIGITS + 2),
        screenshot_like=ruled >= RULED_LIMIT and flat >= FLAT_LIMIT,
        level_unevenness=None if uneven is None else round(uneven, DIGITS),
        levels_changed=uneven is not None and uneven >= UNEVENNESS_LIMIT,
    )


def _earlier_jpeg(planes: list[Luma], coding: JpegCoding | None) -> tuple[float, int]:
    if coding is not None:
        return earlier_jpeg(planes, steps=coding.luma)
    return earlier_jpeg(planes, steps=UNQUANTIZED, corner=grid_corner(planes))
