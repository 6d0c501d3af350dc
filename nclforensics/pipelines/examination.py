"""One image: from its pixels to the finding and the bytes of its output files. Nothing is written here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, Self

import cv2
import numpy as np
import torch

from nclforensics.data.quality.block_grid import BLOCK, BlockGrid
from nclforensics.errors import UnreadableImageError, UsageError
from nclforensics.metrics.regions import evidence_score, regions_above
from nclforensics.pipelines.decision import decide, score_meaning
from nclforensics.pipelines.device import describe_device, select_device
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.outputs import MASK_SUFFIX, OVERLAY_SUFFIX, SCORE_SUFFIX, digest_of, encode_mask, encode_png
from nclforensics.reports.overlay import render_overlay, score_map_to_uint16
from nclforensics.reports.upright import upright
from nclforensics.results import Box, Copy, ScanFinding

if TYPE_CHECKING:
    from nclforensics.config import ScanConfig
    from nclforensics.data.images import LoadedImage
    from nclforensics.matching.copies import CopiedRegion
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.inference import Localization
    from nclforensics.pipelines.scan_plan import PlannedImage

# With one thread PyTorch takes another algorithm for 1 x 1 convolutions, and the last bits of the scores differ. From
# two threads on the bytes do not depend on their number (torch 2.13.0), so a scan never computes with fewer.
FEWEST_THREADS: Final = 2


class Examiner:
    """Examines images with one model and fixed settings: equal pixels give an equal finding and equal bytes.

    A context manager: torch's number of threads is raised to two meanwhile, where it is one.

    Args:
        model: Its calibrated threshold is used if `config` has none.
        config: Settings.

    Raises:
        DeviceUnavailableError: If this machine does not have the device.
        UsageError: If the tile is too small for the network, or threshold or region size are no shares.

    Attributes:
        config: The settings with the threshold and the device that are in force.
        device: The device's name, for records.
        threads: Number of threads that a CPU computes with.
    """

    def __init__(self, model: LoadedModel, config: ScanConfig) -> None:
        device = select_device(config.device)
        threshold = model.threshold if config.threshold is None else config.threshold
        for name, share in (("threshold", threshold), ("min_region", config.min_region)):
            if not 0 <= share <= 1:
                raise UsageError(f"Expected a {name} from 0 to 1, got {share:g}.")
        self.config = dataclasses.replace(config, threshold=threshold, device=str(device))
        self.device = describe_device(device)
        self.threads = max(FEWEST_THREADS, torch.get_num_threads())
        self._threshold = threshold
        self._calibration = model.calibration
        self._localizer = Localizer(model.network, device=device, tile=config.tile, precision=config.precision)

    def __enter__(self) -> Self:
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads_before)

    def localize(self, loaded: LoadedImage) -> Localization:
        """Return the score map of an image and the copies in it.

        Raises:
            MemoryError: If there is not enough of it; the message names what helps.
            UnreadableImageError: If the scores are not finite numbers.
        """
        try:
            localization = self._localizer.localize_with_copies(loaded.pixels)
        except (MemoryError, RuntimeError, cv2.error) as error:
            if not _is_out_of_memory(error):
                raise
            raise _not_enough_memory(loaded) from error
        if not np.isfinite(localization.score_map).all():
            raise UnreadableImageError(
                "The network's scores of this image are not finite numbers: no finding is possible."
            )
        return localization

    def conclude(
        self, image: PlannedImage, loaded: LoadedImage, localization: Localization
    ) -> tuple[ScanFinding, dict[str, bytes]]:
        """Return what a score map says about its image, and the output files, by their names in the output folder.

        Raises:
            MemoryError: If there is not enough of it.
        """
        try:
            return self._conclude(image, loaded, localization)
        except (MemoryError, cv2.error) as error:
            if not _is_out_of_memory(error):
                raise
            raise _not_enough_memory(loaded) from error

    def _conclude(
        self, image: PlannedImage, loaded: LoadedImage, localization: Localization
    ) -> tuple[ScanFinding, dict[str, bytes]]:
        score_map, min_region = localization.score_map, self.config.min_region
        prediction, regions = regions_above(score_map, threshold=self._threshold, min_region=min_region)
        files = {image.name + MASK_SUFFIX: encode_mask(prediction)}
        copies = tuple(_copy(copy) for copy in localization.copies)
        if self.config.overlay:
            overlay = render_overlay(loaded.pixels, score_map, prediction, copies)
            files[image.name + OVERLAY_SUFFIX] = encode_png(upright(overlay, loaded.orientation))
        if self.config.score_map:
            files[image.name + SCORE_SUFFIX] = encode_png(score_map_to_uint16(score_map))
        decision, reason = decide(
            prediction,
            loaded.quality,
            file_format=loaded.format,
            largest_pixels=self._calibration.largest_pixels,
        )
        score = evidence_score(score_map, min_region=min_region)
        height, width = score_map.shape
        finding = ScanFinding(
            path=str(image.path),
            sha256=loaded.sha256,
            sha256_after=loaded.sha256,
            size_bytes=loaded.size_bytes,
            width=width,
            height=height,
            format=loaded.format,
            decoder=loaded.decoder,
            orientation=loaded.orientation,
            notes=(*loaded.notes, *_notes_of(localization)),
            decision=decision,
            reason=reason,
            image_score=score,
            threshold=self._threshold,
            min_region=min_region,
            tampered_share=float(prediction.mean()),
            regions=tuple(regions),
            copies=copies,
            tiles=localization.tiles,
            device=self.device,
            quality=loaded.quality,
            score_meaning=score_meaning(
                score, self._calibration, min_region=min_region, precision=self.config.precision
            ),
            **_names_and_digests(image, files),
        )
        return finding, files


def _notes_of(localization: Localization) -> tuple[str, ...]:
    """Return how an image was analysed, where it was not simply read as it is."""
    parts = _grid_notes(localization.grid), _saving_notes(localization.saving), _highlight_notes(localization.left_out)
    return tuple(note for notes in parts for note in notes)


def _saving_notes(quality: int | None) -> tuple[str, ...]:
    if quality is None:
        return ()
    return (
        f"Every block shows a JPEG saving at quality {quality} or so: read by the model's network for such pictures",
    )


def _grid_notes(grid: BlockGrid) -> tuple[str, ...]:
    if grid.resized:
        across, down = (f"{axis.period / BLOCK:.3f}" for axis in (grid.columns, grid.rows))
        return (f"JPEG blocks were resized, {across} x {down}, after a saving: analysed at the size they had",)
    if grid == BlockGrid.starting_at(0, 0):
        return ()
    row, column = int(grid.rows.start), int(grid.columns.start)
    return (f"JPEG blocks start at row {row}, column {column}, as after a crop: analysed on that grid",)


def _highlight_notes(share: float) -> tuple[str, ...]:
    return (f"Blown-out highlights, {share:.1%} of the image, hold no traces: left out",) if share else ()


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out: torch and OpenCV say so in words only."""
    text = str(error).lower()
    words = ("out of memory", "allocate memory", "insufficient memory", "failed to allocate")
    return isinstance(error, MemoryError) or any(phrase in text for phrase in words)


def _not_enough_memory(loaded: LoadedImage) -> MemoryError:
    height, width = loaded.pixels.shape[:2]
    return MemoryError(f"Not enough memory for {width} x {height} pixels; a smaller --tile needs less.")


def _copy(found: CopiedRegion) -> Copy:
    source, target = (Box(x=x, y=y, width=width, height=height) for x, y, width, height in (found.source, found.target))
    return Copy(
        source=source,
        target=target,
        directed=found.directed,
        matches=found.matches,
        correlation=found.correlation,
        score=found.score,
    )


def _names_and_digests(image: PlannedImage, files: dict[str, bytes]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for field, suffix in (("mask", MASK_SUFFIX), ("overlay", OVERLAY_SUFFIX), ("score_map", SCORE_SUFFIX)):
        name = image.name + suffix
        fields[field] = name if name in files else None
        fields[f"{field}_sha256"] = digest_of(files[name]) if name in files else None
    return fields
