"""Input quality facts in words, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nclforensics.results import QualityFacts


def quality_in_words(quality: QualityFacts | None) -> list[tuple[str, str]]:
    """Return terms with their values; none where the facts were not asked for."""
    if quality is None:
        return []
    words = [("JPEG", _jpeg(quality))] if quality.jpeg_quality is not None else []
    return [
        *words,
        ("earlier JPEG", _earlier(quality)),
        ("resizing", _resizing(quality)),
        ("texture", f"softness {quality.softness:.2f} (1 noise to 4), {quality.textureless_share:.0%} without texture"),
        (
            "surfaces",
            f"{quality.flat_share:.0%} of one brightness, {quality.ruled_share:.1%} on straight edges of them",
        ),
        ("levels", _levels(quality)),
        ("hints", _hints(quality)),
    ]


def _jpeg(quality: QualityFacts) -> str:
    tables = "standard tables" if quality.jpeg_standard_tables else "nearest to its tables"
    parts = [f"quality {quality.jpeg_quality} ({tables})", quality.jpeg_subsampling]
    parts.append("progressive" if quality.jpeg_progressive else None)
    return ", ".join(part for part in parts if part)


def _earlier(quality: QualityFacts) -> str:
    gain = f"gain {quality.earlier_jpeg_gain:.3f} nats a coefficient"
    if quality.earlier_jpeg_quality is None:
        return f"no trace found ({gain})"
    return f"trace of a saving at about quality {quality.earlier_jpeg_quality} ({gain})"


def _resizing(quality: QualityFacts) -> str:
    if quality.resampling_frequency is None:
        return f"no trace found (peak {quality.resampling_peak:.1f})"
    return f"periodic trace at {quality.resampling_frequency:.3f} cycles a pixel (peak {quality.resampling_peak:.1f})"


def _levels(quality: QualityFacts) -> str:
    if quality.level_unevenness is None:
        return "not measured"
    return f"unevenness {quality.level_unevenness:.2f} (0 a smooth histogram)"


def _hints(quality: QualityFacts) -> str:
    named = (
        ("as if enlarged", quality.upscaled),
        ("nearly uniform", quality.near_uniform),
        ("like a screenshot", quality.screenshot_like),
        ("levels changed", quality.levels_changed),
    )
    return ", ".join(name for name, holds in named if holds) or "none"
