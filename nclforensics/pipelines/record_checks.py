"""Whether the parts of a scan's record agree: findings with masks and settings, `run.json` with records and model.

Nothing is analysed again. A difference is returned in words.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from nclforensics.config import ScanConfig
from nclforensics.data.images import read_samples
from nclforensics.errors import ConfigError, MissingInputError, UnreadableImageError
from nclforensics.pipelines.resume import config_of
from nclforensics.pipelines.run_document import RUN_SCHEMA_VERSION, describe_threshold, digest_of_config, versions
from nclforensics.pipelines.scan_plan import digest_of_paths
from nclforensics.reports.scan_document import recorded_calibration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from nclforensics.networks.weights import LoadedModel
    from nclforensics.results import ScanFinding


def finding_difference(finding: ScanFinding, run: dict[str, Any]) -> str | None:
    """Return how a finding contradicts itself or the settings in `run.json`, None if it does not."""
    found = bool(finding.regions)
    for name in ("threshold", "min_region"):
        if getattr(finding, name) != run["config"].get(name):
            return f"{finding.path} has the {name} {getattr(finding, name):g}, the scan {run['config'].get(name)}"
    if finding.device != run.get("device"):
        return f"{finding.path} was computed on {finding.device}, the scan on {run.get('device')}"
    if finding.decision == ("no localized evidence" if found else "localized evidence"):
        return f'{finding.path} is said to be "{finding.decision}", with {len(finding.regions)} regions'
    if (finding.image_score > finding.threshold) != found:
        return (
            f"{finding.path} has {len(finding.regions)} regions, "
            f"with the score {finding.image_score:g} at the threshold {finding.threshold:g}"
        )
    return None


def mask_difference(finding: ScanFinding, file: Path, *, empty: set[tuple[str, int, int]]) -> str | None:
    """Return how a finding differs from what its mask shows: size, regions and share; None if it does not.

    Args:
        finding: From the records.
        file: The mask, whose digest is the recorded one.
        empty: Digest, height and width of masks that were seen to be empty, as most are; none is decoded twice.
    """
    key = (finding.mask_sha256, finding.height, finding.width)
    try:
        shown = [] if key in empty else _regions_of(file, finding.height, finding.width)
    except (UnreadableImageError, MissingInputError) as error:
        return f"{finding.mask} is no mask of {finding.width} x {finding.height} pixels: {error}"
    if not shown:
        empty.add(key)
    recorded = [(item.x, item.y, item.width, item.height, item.area) for item in finding.regions]
    marked = sum(area for *_, area in shown)
    if sorted(shown) != sorted(recorded) or marked / (finding.width * finding.height) != finding.tampered_share:
        return (
            f"{finding.mask} has {len(shown)} regions with {marked} pixels; the record of {finding.path} has "
            f"{len(recorded)} with {sum(area for *_, area in recorded)}, or other places, or another share of the image"
        )
    return None


def _regions_of(file: Path, height: int, width: int) -> list[tuple[int, int, int, int, int]]:
    """Return left and upper edge, width, height and area of each region of a mask."""
    mask = read_samples(file)
    if mask.shape != (height, width) or mask.dtype != np.uint8:
        raise UnreadableImageError(f"found {mask.dtype} of shape {mask.shape}")
    left, top, columns, rows = cv2.boundingRect(mask)  # regions are small, and labels take four bytes a pixel
    if not columns:
        return []
    window = np.ascontiguousarray(mask[top : top + rows, left : left + columns])
    _, _, stats, _ = cv2.connectedComponentsWithStats(window, connectivity=8, ltype=cv2.CV_32S)
    return [(left + int(x), top + int(y), int(w), int(h), int(area)) for x, y, w, h, area in stats[1:]]


def contents_difference(run: dict[str, Any]) -> str | None:
    """Return what no scan would have written into its `run.json`, None if there is nothing of the kind."""
    if run.get("schema_version") != RUN_SCHEMA_VERSION:
        return f"it has the schema version {run.get('schema_version')}, a scan writes {RUN_SCHEMA_VERSION}"
    if run.get("status") == "finished" and run.get("error") is not None:
        return f"the scan is finished, but with the error {run['error']!r:.80}"
    unknown = sorted(set(run["config"]) - {item.name for item in dataclasses.fields(ScanConfig)})
    return f"there are settings that no scan has: {', '.join(unknown)}" if unknown else None


def counts_difference(counts: Mapping[str, int], run: dict[str, Any]) -> str | None:
    """Return how the records differ from what `run.json` counted when the scan was finished, None if they do not."""
    if run.get("status") != "finished" or run.get("counts") == dict(counts):
        return None
    return f"it counts {_in_words(run.get('counts'))}; the records are {_in_words(dict(counts))}"


def _in_words(counts: object) -> str:
    if not isinstance(counts, dict) or not counts:
        return "none"
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def list_difference(paths: Sequence[str], run: dict[str, Any]) -> str | None:
    """Return how the images that have a record differ from those that were planned, None if they do not."""
    try:
        same = digest_of_paths(paths) == run.get("images_sha256") and len(paths) == run["images"]
    except UnicodeEncodeError:  # a path that no file can have, so none that was planned
        same = False
    if same:
        return None
    twice = sorted(path for path, count in Counter(paths).items() if count > 1)
    detail = f"; twice: {', '.join(twice)}" if twice else ""
    return f"expected the {run['images']} planned images once each, in order; found {len(paths)} records{detail}"


def inputs_difference(run: dict[str, Any]) -> str | None:
    """Return how the images of the inputs differ from all planned images in `run.json`, None if they do not."""
    counts = [item.get("images") for item in run["inputs"]]
    if all(type(count) is int for count in counts) and sum(counts) == run["images"]:
        return None
    return f"its inputs stand for {', '.join(map(str, counts)) or 'no'} images, the scan for {run['images']}"


def recorded_settings(run: dict[str, Any]) -> tuple[ScanConfig, str] | None:
    """Return the settings that `run.json` records, with their digest; None if they are none of this version."""
    try:
        config = config_of(run)
        return config, digest_of_config(config)
    except (ConfigError, ValueError, OverflowError):  # not finite, or more than a float can be
        return None


def model_differences(run: dict[str, Any], model: LoadedModel, config: ScanConfig) -> Iterator[str]:
    """Yield what `run.json` says about model, threshold and error rate that does not follow from the model.

    Args:
        run: Content of `run.json`.
        model: The one that was used, with the calibration that it has here.
        config: The settings of the scan.
    """
    if run["model"].get("name") != model.name:
        yield f"the model is called {run['model'].get('name')}, the one with these weights {model.name}"
    then = as_calibrated(model, run)
    if then is None:
        yield "the recorded calibration is no table of this version"
        then = model
    # Another version may come with the same weights calibrated on other photos.
    elif run["versions"].get("nclforensics") == versions()["nclforensics"] and then.calibration != model.calibration:
        yield "the calibration is not the model's: the record was changed, or the model was calibrated again"
    recorded = run["threshold"] if isinstance(run.get("threshold"), dict) else {}
    for name, value in describe_threshold(then, config).items():
        if recorded.get(name) != value:
            yield f"the {name} of the threshold is {recorded.get(name)}; by settings and calibration it is {value}"


def as_calibrated(model: LoadedModel, run: dict[str, Any]) -> LoadedModel | None:
    """Return the model with the calibration of that time: a record says what a score means by it, in its words.

    None if `run.json` holds no calibration that this version can read.
    """
    try:
        calibration = recorded_calibration(run["model"]["calibration"])
    except (KeyError, TypeError, ValueError):
        return None
    thresholds = dict(zip(calibration.false_positive_rates, calibration.thresholds, strict=True))
    return dataclasses.replace(model, calibration=calibration, thresholds=thresholds, min_region=calibration.min_region)
