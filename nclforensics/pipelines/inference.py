"""From an image of any size to its score map: in one pass, or in tiles that agree with the one pass.

The decoder uses statistics of the whole image (`context_statistics`), so tiles take two passes: the first encodes each
tile and averages the statistics over the tiles' cores, the second decodes with that average. Cores cover the image
without overlap; the halo around a core lets every pixel of the core see what it sees in one pass. The features of the
first pass are kept while the image is small enough (`KEEP_FEATURES`), beyond that each tile is encoded a second time:
memory stays bounded by the tile.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from nclforensics.errors import ShapeError, UsageError
from nclforensics.matching.copies import WORKING_THRESHOLD, find_copies
from nclforensics.networks.image_head import combine_logits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nclforensics.networks.encoder import EncoderFeatures
    from nclforensics.networks.pivot import PivotNetwork

COPY_SCORE: Final = 0.995  # of a copy at the matcher's working threshold: above what 5 % of authentic photos reach
# Features take a tenth of the memory that computing them takes, so this many tiles' worth of them may be kept.
KEEP_FEATURES: Final = 4
STRIP: Final = 256  # rows that the copies are joined at once


@dataclass(frozen=True, kw_only=True)
class Span:
    """One tile along one axis, in pixels: the core is kept, the extent (core and halo) is computed."""

    core_start: int
    core_stop: int
    start: int
    stop: int


class Localizer:
    """Computes score maps with one network on one device; equal input gives equal bytes.

    Args:
        network: Moved to the device and put into eval mode.
        device: Where to compute.
        tile: Side in pixels of the largest square computed at once; an image of at most `tile` squared pixels is not
            cut.
        precision: "fp32" or "bf16" (autocast).

    Raises:
        UsageError: If the tile has no core left beside the network's halo, or the precision is unknown.
    """

    def __init__(
        self, network: PivotNetwork, *, device: torch.device, tile: int = 2048, precision: str = "fp32"
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise UsageError(f'Expected the precision "fp32" or "bf16", got {precision!r}.')
        self._halo = _round_up(network.halo, network.alignment)
        self._core = (tile - 2 * self._halo) // network.alignment * network.alignment
        if self._core <= 0:
            smallest = 2 * self._halo + network.alignment
            raise UsageError(f"Expected a tile of at least {smallest} pixels for this network, got {tile}.")
        network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.network = network.eval()
        self.device = device
        self._whole = tile * tile
        self._kept = KEEP_FEATURES * tile * tile
        self.precision = precision

    @torch.inference_mode()
    def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the score map of an image.

        Args:
            image: RGB, shape (H, W, 3), uint8.

        Returns:
            Scores, shape (H, W), float32, in [0, 1].

        Raises:
            ShapeError: If the array is no such image.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:  # noqa: PLR2004
            raise ShapeError(f"Expected an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}.")
        with ExitStack() as stack:
            if self.precision == "bf16":
                stack.enter_context(torch.autocast(self.device.type, dtype=torch.bfloat16))
            if self.device.type == "cuda":
                # Benchmarking would choose kernels by timing, and TF32 would drop half of the digits.
                flags = torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False)
                stack.enter_context(flags)
            height, width = image.shape[:2]
            if height * width <= self._whole:
                score_map = self._scores(self.network(self._tensor(image)).score_logits)
            else:
                score_map = self._localize_tiles(image)
        return with_copies(score_map, image) if self.network.copy_matcher else score_map

    def number_of_tiles(self, height: int, width: int) -> int:
        """Return into how many tiles an image of that size is cut; 1 if it is not cut."""
        return 1 if height * width <= self._whole else len(self._spans(height)) * len(self._spans(width))

    def _localize_tiles(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        keep = image.shape[0] * image.shape[1] <= self._kept
        statistics, kept = self._global_statistics(image, keep=keep)
        logits = np.empty(image.shape[:2], dtype=np.float32)
        sums: torch.Tensor | None = None
        for index, (rows, columns) in enumerate(self._tiles(image)):
            features = kept[index] if keep else self._encode(image, rows, columns)
            output = self.network.decode(
                features, statistics, size=(rows.stop - rows.start, columns.stop - columns.start)
            )
            core = output.logits[0, 0, _core_of(rows), _core_of(columns)].float().cpu().numpy()
            logits[rows.core_start : rows.core_stop, columns.core_start : columns.core_stop] = core
            cells = self._cells_of(rows, image.shape[0]), self._cells_of(columns, image.shape[1])
            sums = _added(sums, self.network.image_sums(output, *cells))
        image_logit = self.network.image_logit(None if sums is None else sums.float())
        for start in range(0, len(logits), self._core):  # in strips: the whole map may take gigabytes
            strip = torch.from_numpy(logits[start : start + self._core])[None, None].to(self.device)
            combined = strip if image_logit is None else combine_logits(strip, image_logit)
            logits[start : start + self._core] = self._scores(combined)
        return logits

    def _global_statistics(self, image: NDArray[np.uint8], *, keep: bool) -> tuple[torch.Tensor, list[EncoderFeatures]]:
        """Return the mean of the context statistics over all cells, each counted once, (1, K), and kept features."""
        kept: list[EncoderFeatures] = []
        total: torch.Tensor | None = None
        cells = 0
        for rows, columns in self._tiles(image):
            features = self._encode(image, rows, columns)
            core = features.deep[:, :, self._cells_of(rows, image.shape[0]), self._cells_of(columns, image.shape[1])]
            count = core.shape[2] * core.shape[3]
            # float64: the sum over many tiles must not depend on how they were cut.
            weighted = self.network.context_statistics(core).double() * count
            total = weighted if total is None else total + weighted
            cells += count
            if keep:
                kept.append(features)
        assert total is not None
        return (total / cells).float(), kept

    def _encode(self, image: NDArray[np.uint8], rows: Span, columns: Span) -> EncoderFeatures:
        return self.network.encode(self._tensor(image[rows.start : rows.stop, columns.start : columns.stop]))

    def _cells_of(self, span: Span, length: int) -> slice:
        """Return a span's core on the grid of cells; at the image's end the core takes the padded cells too."""
        stride = self.network.stride
        first = (span.core_start - span.start) // stride
        return slice(first, None if span.core_stop == length else first + (span.core_stop - span.core_start) // stride)

    def _tiles(self, image: NDArray[np.uint8]) -> Iterator[tuple[Span, Span]]:
        height, width = image.shape[:2]
        return product(self._spans(height), self._spans(width))

    def _spans(self, length: int) -> list[Span]:
        return [
            Span(
                core_start=start,
                core_stop=min(start + self._core, length),
                start=max(start - self._halo, 0),
                stop=min(start + self._core + self._halo, length),
            )
            for start in range(0, length, self._core)
        ]

    def _tensor(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Return an image as (1, 3, H, W), float32 in [0, 1], channels last."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        return pixels.permute(2, 0, 1)[None].float().div_(255).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def _scores(logits: torch.Tensor) -> NDArray[np.float32]:
        return logits[0, 0].float().sigmoid().cpu().numpy()


def with_copies(score_map: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the score map, changed in place: both places of each copy that is found are raised above COPY_SCORE.

    A copy leaves no statistical trace for the network to see, and what it leaves, two places with the same noise, is
    as good as never found in authentic photos: docs/copy_move.md.
    """
    found = find_copies(image)
    for start in range(0, len(score_map) if found.regions else 0, STRIP):  # the whole map may take gigabytes
        strip, copies = score_map[start : start + STRIP], found.score_map[start : start + STRIP]
        # From the matcher's working threshold ... 1 to COPY_SCORE ... 1.
        share = (copies - WORKING_THRESHOLD) / (1 - WORKING_THRESHOLD)
        raised = (COPY_SCORE + (1 - COPY_SCORE) * share).astype(np.float32)
        np.maximum(strip, np.where(copies > WORKING_THRESHOLD, raised, np.float32(0)), out=strip)
    return score_map


def _added(total: torch.Tensor | None, sums: torch.Tensor | None) -> torch.Tensor | None:
    """Add a tile's sums in float64: the result must not depend on how the image was cut."""
    if sums is None:
        return None
    return sums.double() if total is None else total + sums.double()


def _core_of(span: Span) -> slice:
    return slice(span.core_start - span.start, span.core_stop - span.start)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
