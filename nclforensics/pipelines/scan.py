"""The scan: photos in; masks, records and one result per photo out.

Inputs are opened read-only and hashed before and after. A photo that cannot be scanned becomes a `SkippedImage`; only
what concerns the whole run (no model, no device, no place to write) is raised.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nclforensics.data.images import LoadedImage, find_images, read_image, sha256_of
from nclforensics.errors import MissingInputError, OutputError, UnreadableImageError, UsageError
from nclforensics.metrics.regions import evidence_score, regions_above
from nclforensics.pipelines.device import describe_device, select_device
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.outputs import (
    MASK_SUFFIX,
    OVERLAY_SUFFIX,
    SCORE_SUFFIX,
    SUFFIXES,
    OutputNames,
    cannot_write,
    check_output_folder,
    encode_mask,
    encode_png,
    is_inside,
    write_atomic,
)
from nclforensics.pipelines.records import ScanRecords, run_document
from nclforensics.reports.overlay import render_overlay, score_map_to_uint16
from nclforensics.results import Decision, Region, ScanFinding, SkippedImage

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel

# Below this side the network sees a handful of patches: its scores say nothing either way.
SMALLEST_SIDE: Final = 64


@dataclass(frozen=True)
class PlannedImage:
    """One image to scan: where it is, and the name of its outputs below the output folder, without their suffix."""

    path: Path
    name: str


@dataclass(frozen=True)
class ScanPlan:
    """What a scan will read and write, fixed before the first image is opened.

    Attributes:
        images: In the order given; a folder's images sorted by path.
        inputs: The paths as given, each with the number of images it stands for.
        out: The output folder.
        replace: Whether outputs of an earlier run may be replaced.
    """

    images: tuple[PlannedImage, ...]
    inputs: tuple[tuple[str, int], ...]
    out: Path
    replace: bool


def plan_scan(inputs: Sequence[Path], *, out: Path, force: bool = False) -> ScanPlan:
    """Expand folders, drop duplicates, name the outputs, and check everything that can be checked before reading.

    Args:
        inputs: Folders, searched recursively for image suffixes, and files, tried whatever their suffix.
        out: The output folder; images below it are never inputs of a folder that contains it.
        force: Allow an output folder inside an input folder, and replace an earlier run's results.

    Raises:
        MissingInputError: If a path does not exist, or there is no image at all.
        OutputError: If the output folder is refused.
    """
    missing = [path for path in inputs if not path.exists()]
    if missing:
        raise MissingInputError(f"Expected a file or a folder at {missing[0]}, found nothing. No image was scanned.")
    check_output_folder(out, [path for path in inputs if path.is_dir()], force=force)
    names = OutputNames()
    seen: set[Path] = set()
    images: list[PlannedImage] = []
    counts: list[tuple[str, int]] = []
    for path in inputs:
        before = len(images)
        for image, relative in _expand(path, out=out):
            resolved = image.resolve()
            if resolved not in seen:
                seen.add(resolved)
                images.append(PlannedImage(image, names.claim(relative)))
        counts.append((str(path), len(images) - before))
    if not images:
        looked_in = ", ".join(map(str, inputs)) or "an empty list of paths"
        raise MissingInputError(f"Expected at least one image, found none in {looked_in}.")
    _refuse_to_overwrite(images, seen, out=out)
    return ScanPlan(tuple(images), tuple(counts), out, force)


def scan_images(
    plan: ScanPlan, model: LoadedModel, config: ScanConfig, *, command: Sequence[str] = ()
) -> Generator[ScanFinding | SkippedImage]:
    """Scan the planned images; each result is on disk before it is yielded.

    Args:
        plan: From `plan_scan`.
        model: From `nclforensics.networks.weights.load_model`; its calibrated threshold is used if `config` has none.
        config: Settings.
        command: The command line, for the record.

    Raises:
        DeviceUnavailableError: If this machine does not have the device.
        UsageError: If the tile is too small for the network, or threshold or region size are no shares.
        OutputError: If a result cannot be written.
    """
    scanner = Scanner(plan.out, model, config, replace=plan.replace)
    run = run_document(
        command=list(command),
        inputs=[{"path": path, "images": count} for path, count in plan.inputs],
        config=config,
        model=model,
        threshold=describe_threshold(model, config),
        device=scanner.device,
    )
    return _recorded(plan, scanner, run)


def describe_threshold(model: LoadedModel, config: ScanConfig) -> dict[str, Any]:
    """Return the threshold in force and the false-positive rate measured for it, None if it was not measured."""
    threshold = model.threshold if config.threshold is None else config.threshold
    rates = [rate for rate, value in model.thresholds.items() if value == threshold]
    measured = bool(rates) and config.min_region == model.min_region
    return {
        "value": threshold,
        "min_region": config.min_region,
        "false_positive_rate": min(rates) if measured else None,
        "authentic_images": model.calibration.authentic if measured else None,
    }


class Scanner:
    """Scans one image after the other with one model.

    Args:
        out: The output folder.
        model: The loaded model.
        config: Settings.
        replace: Remove an earlier run's outputs of an image before it is scanned, so that none outlives its record.
    """

    def __init__(self, out: Path, model: LoadedModel, config: ScanConfig, *, replace: bool = False) -> None:
        device = select_device(config.device)
        self.device = describe_device(device)
        self._out = out
        self._config = config
        self._replace = replace
        self._threshold = model.threshold if config.threshold is None else config.threshold
        for name, share in (("threshold", self._threshold), ("min_region", config.min_region)):
            if not 0 <= share <= 1:
                raise UsageError(f"Expected a {name} from 0 to 1, got {share:g}.")
        self._localizer = Localizer(model.network, device=device, tile=config.tile, precision=config.precision)

    def scan(self, image: PlannedImage) -> ScanFinding | SkippedImage:
        """Scan one image and write its mask and pictures.

        Raises:
            OutputError: If one of them cannot be written.
        """
        start = time.perf_counter()
        if self._replace:
            self._remove_earlier(image)
        try:
            loaded = read_image(image.path, max_pixels=self._config.max_pixels)
            score_map = self._localize(loaded)
            after = _unchanged(image.path, loaded)
        except (UnreadableImageError, MissingInputError, MemoryError, OSError) as error:
            return _skipped(image.path, error)
        finding = self._write(image, loaded, score_map)
        return dataclasses.replace(finding, sha256_after=after, seconds=round(time.perf_counter() - start, 4))

    def _localize(self, loaded: LoadedImage) -> NDArray[np.float32]:
        height, width = loaded.pixels.shape[:2]
        try:
            score_map = self._localizer.localize(loaded.pixels)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise MemoryError(
                f"Not enough memory for {width} x {height} pixels; a smaller --tile needs less."
            ) from error
        if not np.isfinite(score_map).all():
            raise UnreadableImageError(
                "The network's scores of this image are not finite numbers: no finding is possible."
            )
        return score_map

    def _write(self, image: PlannedImage, loaded: LoadedImage, score_map: NDArray[np.float32]) -> ScanFinding:
        config = self._config
        prediction, boxes = regions_above(score_map, threshold=self._threshold, min_region=config.min_region)
        regions = tuple(Region(**dataclasses.asdict(box)) for box in boxes)
        decision, reason = _decide(prediction)
        overlay = score = None
        if config.overlay:
            overlay = image.name + OVERLAY_SUFFIX
            picture = render_overlay(loaded.pixels, score_map, prediction)
            write_atomic(self._target(image, OVERLAY_SUFFIX), encode_png(picture))
        if config.score_map:
            score = image.name + SCORE_SUFFIX
            write_atomic(self._target(image, SCORE_SUFFIX), encode_png(score_map_to_uint16(score_map)))
        height, width = score_map.shape
        return ScanFinding(
            path=str(image.path),
            sha256=loaded.sha256,
            sha256_after=loaded.sha256,
            size_bytes=loaded.size_bytes,
            width=width,
            height=height,
            format=loaded.format,
            notes=loaded.notes,
            decision=decision,
            reason=reason,
            image_score=evidence_score(score_map, min_region=config.min_region),
            threshold=self._threshold,
            min_region=config.min_region,
            tampered_share=float(prediction.mean()),
            regions=regions,
            mask=image.name + MASK_SUFFIX,
            mask_sha256=write_atomic(self._target(image, MASK_SUFFIX), encode_mask(prediction)),
            overlay=overlay,
            score_map=score,
            seconds=0.0,
            device=self.device,
        )

    def _remove_earlier(self, image: PlannedImage) -> None:
        for suffix in SUFFIXES:
            target = self._target(image, suffix)
            try:
                target.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(target, error) from error

    def _target(self, image: PlannedImage, suffix: str) -> Path:
        return self._out / (image.name + suffix)


def _recorded(plan: ScanPlan, scanner: Scanner, run: dict[str, Any]) -> Generator[ScanFinding | SkippedImage]:
    with ScanRecords(plan.out, run) as records:
        for image in plan.images:
            outcome = scanner.scan(image)
            records.add(outcome)
            yield outcome


def _expand(path: Path, *, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the images that an input stands for, each with its path below that input."""
    if not path.is_dir():
        yield path, Path(path.name)
        return
    for image in find_images(path):
        if not (is_inside(out, path) and is_inside(image, out)):
            yield image, image.relative_to(path)


def _refuse_to_overwrite(images: list[PlannedImage], inputs: set[Path], *, out: Path) -> None:
    folder = out.resolve()
    for image in images:
        for suffix in SUFFIXES:
            if folder / (image.name + suffix) in inputs:
                target = out / (image.name + suffix)
                raise OutputError(
                    f"The output {target} of {image.path} would overwrite an input. Choose another --out."
                )


def _decide(prediction: NDArray[np.bool_]) -> tuple[Decision, str | None]:
    height, width = prediction.shape
    if min(height, width) < SMALLEST_SIDE:
        return "inconclusive", f"The image is {width} x {height} pixels; below {SMALLEST_SIDE} nothing can be said."
    return ("localized evidence" if prediction.any() else "no localized evidence"), None


def _unchanged(path: Path, loaded: LoadedImage) -> str:
    after = sha256_of(path)
    if after != loaded.sha256:
        raise UnreadableImageError(
            f"{path} changed while it was scanned: sha256 {loaded.sha256[:12]}... before, {after[:12]}... after."
        )
    return after


def _skipped(path: Path, error: Exception) -> SkippedImage:
    try:
        sha256, size = sha256_of(path), path.stat().st_size
    except OSError:
        return SkippedImage(path=str(path), reason=str(error), error=type(error).__name__, sha256=None, size_bytes=None)
    return SkippedImage(path=str(path), reason=str(error), error=type(error).__name__, sha256=sha256, size_bytes=size)


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text
