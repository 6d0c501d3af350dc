"""What the tool finds: frozen records that pipelines build and that every report, file and caller reads.

A skipped image is a result like any other: silence about it would read as "authentic".
"""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from nclforensics.errors import UsageError

RESULTS_SCHEMA_VERSION: Final = 4
# Versions that are still read: 3 knew nothing of levels, 2 nothing of copies either.
OLDER_VERSIONS: Final = (2, 3)

Decision = Literal["localized evidence", "no localized evidence", "inconclusive"]


# How many times the pixels of the largest photo that a model was calibrated on an image may have before it is not known
# to behave on it as on those: docs/decision.md, "Large photos".
MUCH_LARGER: Final = 4


def is_much_larger(size: int, largest: int) -> bool:
    """Tell whether an image of `size` pixels is much larger than the largest of the calibration, 0 if unknown."""
    return 0 < MUCH_LARGER * largest < size


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
class Box:
    """A box in pixels of the scanned image: left and upper edge, and size."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Content that the image shows at two places.

    Attributes:
        source: Where it was copied from if `directed`, else one of the places.
        target: Where the copy is if `directed`, else the other place.
        directed: Whether other traces tell the copy from its original (docs/copy_move.md).
        matches: Keypoints that agree.
        correlation: Of the fine detail of both places, in [-1, 1].
        score: In [0, 1]; above 0.5, as all that are reported, a copy is more likely than a repetition.
    """

    source: Box
    target: Box
    directed: bool
    matches: int
    correlation: float
    score: float


@dataclass(frozen=True, kw_only=True)
class QualityFacts:
    """What an image's own traces say about its quality: hints with error rates (docs/decision.md), and no findings.

    Attributes:
        jpeg_quality: Quality of a JPEG's brightness table on the IJG scale, 1 to 100; the nearest one where the tables
            are not of that scale. None where the file is no JPEG, as for the next three.
        jpeg_standard_tables: Whether all its tables are exactly those of the IJG scale.
        jpeg_subsampling: Such as "4:2:0".
        jpeg_progressive: Whether it is coded in progressive scans.
        earlier_jpeg_gain: How much better an earlier JPEG saving explains the pixels, in nats a DCT coefficient.
        earlier_jpeg_quality: Quality of that earlier saving, estimated; None where the gain says nothing.
        resampling_peak: Strength of the periodic trace that resizing leaves, relative to its surroundings, >= 0.
        resampling_frequency: Of that trace, in cycles a pixel, in (0, 0.5]; None where the peak says nothing.
        softness: Smoothness from pixel to pixel, from 1 (noise) to 4.
        upscaled: Whether the picture has traces of resizing and is soft, as if it had been enlarged.
        textureless_share: Share of blocks without texture, in [0, 1].
        near_uniform: Whether nearly all blocks are without texture.
        flat_share: Share of blocks of one brightness, in [0, 1].
        ruled_share: Share of pixels on straight edges of surfaces of one brightness, in [0, 1].
        screenshot_like: Whether the picture has such surfaces with such edges: a screen's, or a frame's.
        level_unevenness: How much rarer or more common levels are than those beside them, as a share of the pixels,
            >= 0; None of a WebP, whose own coding leaves it, and in records before schema version 4.
        levels_changed: Whether levels were mapped to others in 8 bits, as brightness, contrast and curves do.
    """

    jpeg_quality: int | None
    jpeg_standard_tables: bool | None
    jpeg_subsampling: str | None
    jpeg_progressive: bool | None
    earlier_jpeg_gain: float
    earlier_jpeg_quality: int | None
    resampling_peak: float
    resampling_frequency: float | None
    softness: float
    upscaled: bool
    textureless_share: float
    near_uniform: bool
    flat_share: float
    ruled_share: float
    screenshot_like: bool
    level_unevenness: float | None
    levels_changed: bool


@dataclass(frozen=True, kw_only=True)
class ScoreMeaning:
    """How many of the authentic photos that the model was calibrated on have an image score as high as an image's.

    Attributes:
        lowest_rate: More than this share of them, in [0, 1].
        highest_rate: At most this share of them, in [0, 1].
        authentic: Number of photos; 0 if nothing is known, and the shares are 0 and 1.
        text: The same in words, or why nothing is known.
    """

    lowest_rate: float
    highest_rate: float
    authentic: int
    text: str


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
        decoder: The packages that decode this format, with versions.
        orientation: How viewers are asked to turn the picture, EXIF's 1 (upright) to 8; boxes and mask are as stored.
        notes: What the decoder had to do or the examiner should know.
        decision: Neutral wording of the outcome.
        reason: Why the outcome is inconclusive, or what weakens the evidence found, else None.
        image_score: The threshold at which the last region vanishes, in [0, 1].
        threshold: Score above which a pixel counts as tampered.
        min_region: Smallest region reported, as a share of the image's area.
        tampered_share: Share of the image's pixels in the mask, in [0, 1].
        regions: Largest first.
        copies: Content that occurs twice, surest first; none where the model does without the copy matcher.
        mask: Mask file, relative to the output folder.
        mask_sha256: Digest of the mask file.
        overlay: Overlay file, relative to the output folder, or None; turned upright by the orientation.
        overlay_sha256: Digest of the overlay file, or None.
        score_map: Score-map file, relative to the output folder, or None.
        score_map_sha256: Digest of the score-map file, or None.
        tiles: Number of tiles that the image was cut into; 1 if it was not cut.
        device: The device that computed the scores.
        quality: What the image's own traces say about its quality, or None where that was not asked.
        score_meaning: How many authentic photos have such an image score, or None where that was not asked.
    """

    path: str
    sha256: str
    sha256_after: str
    size_bytes: int
    width: int
    height: int
    format: str
    decoder: str
    orientation: int
    notes: tuple[str, ...]
    decision: Decision
    reason: str | None
    image_score: float
    threshold: float
    min_region: float
    tampered_share: float
    regions: tuple[Region, ...]
    copies: tuple[Copy, ...]
    mask: str
    mask_sha256: str
    overlay: str | None
    overlay_sha256: str | None
    score_map: str | None
    score_map_sha256: str | None
    tiles: int
    device: str
    quality: QualityFacts | None = None
    score_meaning: ScoreMeaning | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data, one line of `results.jsonl`."""
        return {"schema_version": RESULTS_SCHEMA_VERSION, "status": "scanned", **dataclasses.asdict(self)}

    def output_files(self) -> dict[str, str]:
        """Return the files written for the image, relative to the output folder, each with its digest."""
        pairs = (
            (self.mask, self.mask_sha256),
            (self.overlay, self.overlay_sha256),
            (self.score_map, self.score_map_sha256),
        )
        return {name: digest for name, digest in pairs if name is not None and digest is not None}


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


Outcome: TypeAlias = ScanFinding | SkippedImage


def outcome_of_record(record: object) -> Outcome:
    """Return what `to_record` made a record of; tuples may have become lists, as JSON makes them.

    Raises:
        ValueError: If it is no such record: another schema version, a field that is missing, unknown or of the wrong
            type.
    """
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, found {type(record).__name__}")  # noqa: TRY004 - a value of a file
    values = dict(record)
    version = values.pop("schema_version", None)
    if version not in (RESULTS_SCHEMA_VERSION, *OLDER_VERSIONS):
        raise ValueError(f"expected schema version {RESULTS_SCHEMA_VERSION}, found {version!r}")
    kinds: dict[object, type[Outcome]] = {"scanned": ScanFinding, "skipped": SkippedImage}
    status = values.pop("status", None)
    if not isinstance(status, str) or status not in kinds:
        raise ValueError(f'expected the status "scanned" or "skipped", found {status!r}')
    if version in OLDER_VERSIONS and status == "scanned":
        values = _completed(values, version)
    outcome = _from_json(values, kinds[status], where="record")
    assert isinstance(outcome, ScanFinding | SkippedImage)
    return outcome


def as_older_record(record: dict[str, Any], version: int) -> dict[str, Any]:
    """Return what `to_record` gives as one of `OLDER_VERSIONS` wrote it."""
    older = {name: value for name, value in record.items() if name != "copies" or version >= _WITH_COPIES}
    if isinstance(older.get("quality"), dict):
        older["quality"] = {name: value for name, value in older["quality"].items() if name not in _LEVELS}
    return older | {"schema_version": version}


_WITH_COPIES: Final = 3  # the first version
_LEVELS: Final = {"level_unevenness": None, "levels_changed": False}  # as they are read where they were not written


def _completed(values: dict[str, Any], version: int) -> dict[str, Any]:
    """Return the fields of an older finding with those that its version did not have."""
    if version < _WITH_COPIES:
        values.setdefault("copies", [])
    if isinstance(values.get("quality"), dict):
        values["quality"] = values["quality"] | _LEVELS
    return values


def _from_json(value: object, hint: Any, *, where: str) -> object:  # noqa: ANN401 - type hints have no common type
    """Return a JSON value as the type that a field of the classes above declares."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        fields = _field_types(hint)
        if not isinstance(value, dict) or value.keys() != fields.keys():
            raise ValueError(f"{where} does not have exactly the fields {', '.join(fields)}")
        return hint(**{name: _from_json(value[name], fields[name], where=name) for name in fields})
    origin = get_origin(hint)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_from_json(item, get_args(hint)[0], where=where) for item in value)
    if origin is Literal and isinstance(value, str) and value in get_args(hint):
        return value
    options = get_args(hint) if origin in (Union, types.UnionType) else (hint,)
    nested = [option for option in options if dataclasses.is_dataclass(option)]
    if nested and isinstance(value, dict):
        return _from_json(value, nested[0], where=where)
    if type(value) not in options:
        raise ValueError(f"{where} has the value {value!r:.80}")
    return value


@cache
def _field_types(record: type) -> dict[str, Any]:
    """Return the types of a class's fields; to evaluate them anew took most of the time of reading a record."""
    return get_type_hints(record)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Which threshold flags which share of authentic photos; measured, and part of every model.

    Attributes:
        false_positive_rates: Shares of authentic photos that show any region, ascending, each in (0, 1).
        thresholds: The score threshold that belongs to each rate, in [0, 1].
        min_region: Region size, as a share of the image's area, that the rates hold for.
        authentic: Number of authentic photos measured; 0 means that the model was never calibrated.
        source: Which photos, in words.
        versions: How many images were measured of each photo: as it is, and saved again. They are no independent
            photos, so an interval for a rate follows from the number of photos.
        largest_pixels: Pixels of the largest photo; 0 where that is not known.
    """

    false_positive_rates: tuple[float, ...]
    thresholds: tuple[float, ...]
    min_region: float
    authentic: int
    source: str
    versions: int = 1
    largest_pixels: int = 0

    @property
    def sample(self) -> str:
        """What the rates were measured on, in words."""
        photos = f"{self.authentic:,} authentic photos"
        return photos if self.versions == 1 else f"{self.versions * self.authentic:,} images of {photos}"

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
