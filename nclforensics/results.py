"""What the tool finds: frozen records that pipelines build and that every report, file and caller reads.

A skipped image is a result like any other: silence about it would read as "authentic".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

from nclforensics.errors import UsageError

RESULTS_SCHEMA_VERSION: Final = 1

Decision = Literal["localized evidence", "no localized evidence", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class Region:
    """One connected region of elevated score, in pixels of the scanned image.

    Attributes:
        x: Left edge of the bounding box.
        y: Upper edge of the bounding box.
        width: Width of the bounding box.
        height: Height of the bounding box.
        area: Number of pixels of the region itself.
        mean_score: Mean of the score map over the region, in [0, 1].
        max_score: Largest score of the region, in [0, 1].
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    mean_score: float
    max_score: float


@dataclass(frozen=True, kw_only=True)
class ScanFinding:
    """What was found in one image.

    Attributes:
        path: The image as the user named it, or as found in the folder that the user named.
        sha256: Digest of the bytes that were decoded.
        sha256_after: Digest of the file after the scan; always equal to `sha256`, else the image counts as skipped.
        size_bytes: Size of the file.
        width: Pixels, as stored: an orientation tag is not applied.
        height: Pixels, as stored.
        format: Container format from the content, such as "JPEG".
        notes: What the decoder had to do or the examiner should know.
        decision: Neutral wording of the outcome.
        reason: Why the outcome is inconclusive, else None.
        image_score: The threshold at which the last region vanishes, in [0, 1].
        threshold: Score above which a pixel counts as tampered.
        min_region: Smallest region reported, as a share of the image's area.
        tampered_share: Share of the image's pixels in the mask, in [0, 1].
        regions: Largest first.
        mask: Mask file, relative to the output folder.
        mask_sha256: Digest of the mask file.
        overlay: Overlay file, relative to the output folder, or None.
        score_map: Score-map file, relative to the output folder, or None.
        seconds: Wall-clock time for reading, localizing and writing.
        device: The device that computed the scores.
    """

    path: str
    sha256: str
    sha256_after: str
    size_bytes: int
    width: int
    height: int
    format: str
    notes: tuple[str, ...]
    decision: Decision
    reason: str | None
    image_score: float
    threshold: float
    min_region: float
    tampered_share: float
    regions: tuple[Region, ...]
    mask: str
    mask_sha256: str
    overlay: str | None
    score_map: str | None
    seconds: float
    device: str

    def to_record(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data, one line of `results.jsonl`."""
        return {"schema_version": RESULTS_SCHEMA_VERSION, "status": "scanned", **dataclasses.asdict(self)}


@dataclass(frozen=True, kw_only=True)
class SkippedImage:
    """An image that could not be scanned.

    Attributes:
        path: As in `ScanFinding`.
        reason: What was expected, what was found.
        error: Name of the error's class.
        sha256: Digest of the file, None where not even its bytes could be read.
        size_bytes: Size of the file, None where not even its bytes could be read.
    """

    path: str
    reason: str
    error: str
    sha256: str | None
    size_bytes: int | None

    def to_record(self) -> dict[str, Any]:
        """Return the skipped image as JSON-ready data, one line of `results.jsonl`."""
        return {"schema_version": RESULTS_SCHEMA_VERSION, "status": "skipped", **dataclasses.asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Which threshold flags which share of authentic photos; measured, and part of every model.

    Attributes:
        false_positive_rates: Shares of authentic photos that show any region, ascending, each in (0, 1).
        thresholds: The score threshold that belongs to each rate, in [0, 1].
        min_region: Region size, as a share of the image's area, that the rates hold for.
        authentic: Number of authentic photos measured; 0 means that the model was never calibrated.
        source: Which photos, in words.
    """

    false_positive_rates: tuple[float, ...]
    thresholds: tuple[float, ...]
    min_region: float
    authentic: int
    source: str

    def threshold_at(self, rate: float) -> float:
        """Return the threshold measured for a false-positive rate.

        Raises:
            UsageError: If the model was not measured at that rate: between two rates nothing was measured.
        """
        table = dict(zip(self.false_positive_rates, self.thresholds, strict=True))
        if rate not in table:
            known = ", ".join(f"{known:g}" for known in self.false_positive_rates) or "none"
            raise UsageError(
                f"The model has no threshold for a false-positive rate of {rate:g}; it was calibrated at: {known}. "
                "Choose one of these or set --threshold."
            )
        return table[rate]
