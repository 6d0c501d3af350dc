"""From an image of any size to its score map: on its own JPEG grid, by the network for its kind, with its copies.

What the network sees is whole blocks of the JPEG grid: it reads traces block by block from the first pixel on, and of a
picture that was cropped or resized after it was saved it would see them all out of place (docs/experiments.md, rows 28
and 30). A resized picture is brought back to blocks of 8 x 8 pixels, and its scores are mapped onto its own pixels.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from nclforensics.data.quality.block_grid import BLOCK, BlockGrid, find_grid
from nclforensics.data.quality.resized_grid import find_resized_grid
from nclforensics.data.quality.restoration import Restoration
from nclforensics.data.quality.whole_saving import whole_saving
from nclforensics.errors import ShapeError, UsageError
from nclforensics.matching.copies import WORKING_THRESHOLD, find_copies
from nclforensics.networks.fused import fold_batch_norms
from nclforensics.pipelines.device import exact_convolutions
from nclforensics.pipelines.tiled_pass import STRIP, TiledPass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nclforensics.matching.copies import CopiedRegion, CopyMoveMap
    from nclforensics.networks.pivot import PivotNetwork
    from nclforensics.pipelines.tiled_pass import Seen

COPY_SCORE: Final = 0.995  # of a copy at the matcher's working threshold: above what 5 % of authentic photos reach


class Localization(NamedTuple):
    """What was found in one image.

    Attributes:
        score_map: Float32 (H, W) in [0, 1].
        copies: The copies whose places it marks, surest first.
        grid: Where the blocks lie that were analysed.
        tiles: Into how many the image was cut.
        left_out: Share of what was analysed that was left out, as blown-out highlights.
        saving: JPEG quality of the saving that every block shows, where the second network read the image for it.
    """

    score_map: NDArray[np.float32]
    copies: tuple[CopiedRegion, ...]
    grid: BlockGrid
    tiles: int
    left_out: float = 0.0
    saving: int | None = None


class Localizer:
    """Computes score maps with one network on one device; equal input gives equal bytes.

    Args:
        network: Left as it is: a copy in eval mode, its batch norms folded, computes.
        device: Where to compute.
        tile: Side in pixels of the largest square whose features are held at once, 13 bytes a pixel of `lite`; an
            image of at most `tile` squared pixels is not cut.
        precision: "fp32" or "bf16" (autocast).
        both_places: Mark the original of a copy too.

    Raises:
        UsageError: If the tile has no core left beside the network's halo, or the precision is unknown.
    """

    def __init__(
        self,
        network: PivotNetwork,
        *,
        device: torch.device,
        tile: int = 6400,
        precision: str = "fp32",
        both_places: bool = False,
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise UsageError(f'Expected the precision "fp32" or "bf16", got {precision!r}.')
        folded = fold_batch_norms(network).to(device)
        self.network: PivotNetwork = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.device = device
        self.precision = precision
        self._both_places = both_places
        self._first = TiledPass(self.network, device=device, tile=tile)
        second = self.network.low_quality
        self._second = None if second is None else TiledPass(second, device=device, tile=tile)

    def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the score map of `localize_with_copies`, shape (H, W), float32, in [0, 1]."""
        return self.localize_with_copies(image).score_map

    @torch.inference_mode()
    def localize_with_copies(self, image: NDArray[np.uint8]) -> Localization:
        """Return the score map of an image and the copies in it.

        Args:
            image: RGB, shape (H, W, 3), uint8.

        Returns:
            Score map and copies; no copies if the network was calibrated without the copy matcher.

        Raises:
            ShapeError: If the array is no such image.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:  # noqa: PLR2004
            raise ShapeError(f"Expected an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}.")
        grid = self._grid(image)
        reader, saving = self._reader(image, grid)
        with self._arithmetic():
            score_map, seen = (self._restored if grid.resized else self._cut)(image, grid, reader)
        if not self.network.copy_matcher:
            return Localization(score_map, (), grid, *seen, saving)
        found = find_copies(image, scores=score_map, both_places=self._both_places)
        copies = tuple(copy for copy in found.regions if copy.score > WORKING_THRESHOLD)
        return Localization(with_copies(score_map, found), copies, grid, *seen, saving)

    @torch.inference_mode()
    def image_sums(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Return what the image head reads of an image, RGB (H, W, 3) uint8: shape (1, 4 + 6F), float32, on the CPU.

        Raises:
            UsageError: If the network has no image head.
        """
        grid = self._grid(image)
        if grid.resized:
            seen = Restoration(grid, image.shape).restored(image)
        else:
            seen = image[self._whole_blocks(image, grid)]
        with self._arithmetic():
            sums, _ = self._first.write_logits(seen, np.empty(seen.shape[:2], dtype=np.float32))
        if sums is None:
            raise UsageError("Expected a network with an image head, found one without.")
        return sums.float().cpu()

    def _arithmetic(self) -> ExitStack:
        """Return the context in which the network computes."""
        stack = ExitStack()
        if self.precision == "bf16":
            stack.enter_context(torch.autocast(self.device.type, dtype=torch.bfloat16))
        if self.device.type == "cuda":
            stack.enter_context(exact_convolutions())
        return stack

    def _grid(self, image: NDArray[np.uint8]) -> BlockGrid:
        if not self.network.block_grid:
            return BlockGrid.starting_at(0, 0)
        return find_resized_grid(image) or BlockGrid.starting_at(*find_grid(image))

    def _reader(self, image: NDArray[np.uint8], grid: BlockGrid) -> tuple[TiledPass, int | None]:
        """Return what reads an image, and the quality of its last saving where that is the second network."""
        if self._second is None or grid.resized:
            return self._first, None
        quality = whole_saving(image, (int(grid.rows.start), int(grid.columns.start)))
        if quality is None or quality > self.network.low_quality_limit:
            return self._first, None
        return self._second, quality

    def _restored(
        self, image: NDArray[np.uint8], grid: BlockGrid, reader: TiledPass
    ) -> tuple[NDArray[np.float32], Seen]:
        """Return the score map of a resized picture."""
        restoration = Restoration(grid, image.shape)
        restored = restoration.restored(image)
        scores = np.empty(restored.shape[:2], dtype=np.float32)
        seen = reader.write_scores(restored, scores)
        return restoration.mapped_back(scores), seen

    def _cut(self, image: NDArray[np.uint8], grid: BlockGrid, reader: TiledPass) -> tuple[NDArray[np.float32], Seen]:
        """Return the score map of a picture that is analysed as it is."""
        rows, columns = self._whole_blocks(image, grid)
        score_map = np.empty(image.shape[:2], dtype=np.float32)
        seen = reader.write_scores(image[rows, columns], score_map[rows, columns])
        _repeat_border(score_map, rows, columns)
        return score_map, seen

    def _whole_blocks(self, image: NDArray[np.uint8], grid: BlockGrid) -> tuple[slice, slice]:
        """Return the rows and the columns of an image that the network sees."""
        rows, columns = (
            self._analysed(length, int(axis.start)) for length, axis in zip(image.shape[:2], grid, strict=True)
        )
        return rows, columns

    def _analysed(self, length: int, start: int) -> slice:
        """Return the part of an axis that the network sees: whole blocks from `start` on, or all of a short axis."""
        whole = (length - start) // BLOCK * BLOCK if self.network.block_grid else 0
        return slice(start, start + whole) if whole > 0 else slice(0, length)


def _repeat_border(scores: NDArray[np.float32], rows: slice, columns: slice) -> None:
    """Give the pixels outside of the analysed part, less than a block wide, the score of the nearest one inside."""
    scores[rows, : columns.start] = scores[rows, columns.start, None]
    scores[rows, columns.stop :] = scores[rows, columns.stop - 1, None]
    scores[: rows.start] = scores[rows.start]
    scores[rows.stop :] = scores[rows.stop - 1]


def with_copies(score_map: NDArray[np.float32], found: CopyMoveMap) -> NDArray[np.float32]:
    """Return the score map, changed in place: what the matcher marks is raised above COPY_SCORE.

    What a copy leaves, two places with the same noise, is as good as never found in authentic photos, and the network
    cannot see it. Which of the two places is the copy the network's scores say; where they do not, both are raised:
    docs/copy_move.md.
    """
    for start in range(0, len(score_map) if found.regions else 0, STRIP):  # the whole map may take gigabytes
        strip, copies = score_map[start : start + STRIP], found.score_map[start : start + STRIP]
        # From the matcher's working threshold ... 1 to COPY_SCORE ... 1.
        share = (copies - WORKING_THRESHOLD) / (1 - WORKING_THRESHOLD)
        raised = (COPY_SCORE + (1 - COPY_SCORE) * share).astype(np.float32)
        np.maximum(strip, np.where(copies > WORKING_THRESHOLD, raised, np.float32(0)), out=strip)
    return score_map
