"""From an image of any size to its score map: in one piece, or in tiles that agree with the one piece.

The decoder uses statistics of the whole image (`context_statistics`), so an image is encoded, its statistics are
averaged, and then it is decoded with that average. The encoder's layers run in strips and the decoder in squares:
memory goes to the features that are kept, not to what is computed on the way.

An image whose features would take too much is cut into tiles. Their cores cover it without overlap; the halo around a
core lets every pixel of the core see what it sees in one piece. Each tile is encoded twice, first for the statistics,
then to be decoded, so that only one tile's features are held.

What the network sees is whole blocks of the JPEG grid: it reads traces block by block from the first pixel on, and of a
picture that was cropped or resized after it was saved it would see them all out of place (docs/experiments.md, rows 28
and 30). A resized picture is brought back to blocks of 8 x 8 pixels, and its scores are mapped onto its own pixels.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import numpy as np
import torch

from nclforensics.data.quality.block_grid import BLOCK, BlockGrid, find_grid
from nclforensics.data.quality.resized_grid import find_resized_grid
from nclforensics.data.quality.restoration import Restoration
from nclforensics.data.quality.whole_saving import whole_saving
from nclforensics.errors import ShapeError, UsageError
from nclforensics.matching.copies import WORKING_THRESHOLD, find_copies
from nclforensics.networks.encoder import EncoderFeatures
from nclforensics.networks.fused import fold_batch_norms
from nclforensics.networks.pivot import FINE
from nclforensics.networks.strips import CELL_STRIP, in_strips
from nclforensics.pipelines.device import exact_convolutions
from nclforensics.pipelines.heap import release_free_memory
from nclforensics.pipelines.left_out import cells_left_out, without_evidence
from nclforensics.pipelines.tiling import Area, Span, cut_area, widened

if TYPE_CHECKING:
    from types import EllipsisType

    from numpy.typing import NDArray

    from nclforensics.matching.copies import CopiedRegion, CopyMoveMap
    from nclforensics.networks.pivot import Encoder, PivotNetwork
    from nclforensics.networks.strips import Layer

COPY_SCORE: Final = 0.995  # of a copy at the matcher's working threshold: above what 5 % of authentic photos reach
# Pixels of an image up to which its skip map is held, 12 bytes a pixel of `lite`; beyond, a square's is computed twice.
SKIP_HELD: Final = 13_000_000
SQUARE: Final = 1024  # side in pixels of what is decoded at once; a multiple of every network's alignment
STRIP: Final = 256  # rows of the score map that are worked on at once


class Features(NamedTuple):
    """What is held of an encoded image or tile: `skip` only where there is memory for it, `deep` in parts."""

    skip: torch.Tensor | None
    deep: list[torch.Tensor]


class Seen(NamedTuple):
    """How an image was analysed: the two last fields of `Localization`."""

    tiles: int
    left_out: float


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
        self._halo = _round_up(network.halo, network.alignment)
        self._core = (tile - 2 * self._halo) // network.alignment * network.alignment
        if self._core <= 0:
            smallest = 2 * self._halo + network.alignment
            raise UsageError(f"Expected a tile of at least {smallest} pixels for this network, got {tile}.")
        folded = fold_batch_norms(network).to(device)
        self.network: PivotNetwork = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.device = device
        self._skip_halo = _round_up(cast("Encoder", network.encoder).fine_reach, network.stride)
        self._whole = tile * tile
        self.precision = precision
        self._both_places = both_places
        second = network.low_quality
        self._low_quality: Localizer | None = None
        if second is not None:
            self._low_quality = Localizer(second, device=device, tile=tile, precision=precision)

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
            score_map, seen = reader.read_on(grid, image)
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
            sums, _ = self._decoded(seen, np.empty(seen.shape[:2], dtype=np.float32))
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

    def _reader(self, image: NDArray[np.uint8], grid: BlockGrid) -> tuple[Localizer, int | None]:
        """Return what reads an image, and the quality of its last saving where that is the second network."""
        if self._low_quality is None or grid.resized:
            return self, None
        quality = whole_saving(image, (int(grid.rows.start), int(grid.columns.start)))
        if quality is None or quality > self.network.low_quality_limit:
            return self, None
        return self._low_quality, quality

    def read_on(self, grid: BlockGrid, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Seen]:
        """Return the score map of this network alone for an image whose blocks lie on a grid."""
        return (self._restored if grid.resized else self._cut)(image, grid)

    def _restored(self, image: NDArray[np.uint8], grid: BlockGrid) -> tuple[NDArray[np.float32], Seen]:
        """Return the score map of a resized picture."""
        restoration = Restoration(grid, image.shape)
        restored = restoration.restored(image)
        scores = np.empty(restored.shape[:2], dtype=np.float32)
        seen = self._localize(restored, scores)
        return restoration.mapped_back(scores), seen

    def _cut(self, image: NDArray[np.uint8], grid: BlockGrid) -> tuple[NDArray[np.float32], Seen]:
        """Return the score map of a picture that is analysed as it is."""
        rows, columns = self._whole_blocks(image, grid)
        score_map = np.empty(image.shape[:2], dtype=np.float32)
        seen = self._localize(image[rows, columns], score_map[rows, columns])
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

    def _localize(self, image: NDArray[np.uint8], logits: NDArray[np.float32]) -> Seen:
        """Write the scores of an image into a map of its size."""
        sums, seen = self._decoded(image, logits)
        image_logit = self.network.image_logit(None if sums is None else sums.float())
        for start in range(0, len(logits), STRIP):  # in strips: the whole map may take gigabytes
            strip = torch.from_numpy(logits[start : start + STRIP])[None, None].to(self.device)
            scores = self.network.score_logits(strip, image_logit)[0, 0].sigmoid()
            logits[start : start + STRIP] = scores.cpu().numpy()
        return seen

    def _decoded(self, image: NDArray[np.uint8], logits: NDArray[np.float32]) -> tuple[torch.Tensor | None, Seen]:
        """Write an image's logits into a map of its size, and return the image head's sums."""
        tiles = self._tiles(*image.shape[:2])
        blown = cells_left_out(image, self.network)
        left_out = 0.0 if blown is None else float(blown.float().mean())
        blown = blown if blown is None else blown.to(self.device)
        statistics, whole = self._statistics(image, tiles, blown)
        sums: torch.Tensor | None = None
        for tile in tiles:
            features = whole or self._encode(image, tile)
            sums = _added(sums, self._decode(image, tile, features, statistics, logits, blown))
            del features  # before the next ones are computed
        return sums, Seen(len(tiles), left_out)

    def _statistics(
        self, image: NDArray[np.uint8], tiles: list[Area], blown: torch.Tensor | None
    ) -> tuple[torch.Tensor, Features | None]:
        """Return the mean of the context statistics over the cells, (1, K), and the features where one tile is all."""
        total, cells = torch.zeros(1, 1, dtype=torch.float64, device=self.device), 0
        features: Features | None = None
        for tile in tiles:
            features = None  # before the next ones are computed
            features = self._encode(image, tile)
            for square in cut_area(tile, SQUARE, halo=0):
                part = self._deep(features, square, tile)
                if blown is not None:
                    part = part[:, :, ~self._of(blown, square)][:, :, None]
                count = part.shape[2] * part.shape[3]
                if not count:
                    continue
                # float64: the sum over many parts must not depend on how they were cut.
                total = total + self.network.context_statistics(part).double() * count
                cells += count
            del part
        return (total / cells).float(), features if len(tiles) == 1 else None

    def _encode(self, image: NDArray[np.uint8], tile: Area) -> Features:
        pixels = self._pixels(image, tile)
        if pixels.shape[2] * pixels.shape[3] > SKIP_HELD:
            return Features(None, self.network.encode_deep(pixels, _in_strips_sparingly))
        skip, deep = self.network.encode(pixels, in_strips)
        return Features(skip, [deep])

    def _deep(self, features: Features, square: Area, tile: Area) -> torch.Tensor:
        """Return a square of a tile's deep map."""
        parts = [part[self._cells(square, tile)] for part in features.deep]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _decode(
        self,
        image: NDArray[np.uint8],
        tile: Area,
        features: Features,
        statistics: torch.Tensor,
        logits: NDArray[np.float32],
        blown: torch.Tensor | None,
    ) -> torch.Tensor | None:
        """Write the logits of a tile's core into the image's, and return the sums that the image head reads of it."""
        sums: torch.Tensor | None = None
        for square in cut_area(tile, SQUARE, halo=self.network.decode_halo):
            rows, columns = square
            skip = (
                self._skip(image, square) if features.skip is None else features.skip[self._cells(square, tile, FINE)]
            )
            part = EncoderFeatures(skip, self._deep(features, square, tile))
            size = (rows.stop - rows.start, columns.stop - columns.start)
            output = self.network.decode(part, statistics, size=size)
            if blown is not None:
                output = without_evidence(output, self._of(blown, square), self.network.stride)
            core = output.logits[0, 0, rows.core_in_extent, columns.core_in_extent]
            logits[rows.core_start : rows.core_stop, columns.core_start : columns.core_stop] = (
                core.float().cpu().numpy()
            )
            read = self._cells((rows.core, columns.core), square)[1:]
            sums = _added(sums, self.network.image_sums(output, *read))
            del skip, part, output
            if features.skip is None:
                release_free_memory()
        return sums

    def _skip(self, image: NDArray[np.uint8], square: Area) -> torch.Tensor:
        """Compute the skip map of a square again."""
        wider = widened(square, self._skip_halo, image.shape)
        return self.network.encode_fine(self._pixels(image, wider), _in_strips_sparingly)[
            self._cells(square, wider, FINE)
        ]

    def _pixels(self, image: NDArray[np.uint8], area: Area) -> torch.Tensor:
        """Return an area's extent as uint8 (1, 3, h, w)."""
        rows, columns = area
        pixels = np.ascontiguousarray(image[rows.start : rows.stop, columns.start : columns.stop])
        return torch.from_numpy(pixels).to(self.device).permute(2, 0, 1)[None]

    def _cells(self, part: Area, area: Area, side: int | None = None) -> tuple[EllipsisType, slice, slice]:
        """Return where a part lies on a map of the area, whose cells have `side` pixels a side; patches by default."""
        stride = self.network.stride
        scale = stride // (side or stride)
        rows, columns = (span.cells(whole.start, stride, scale) for span, whole in zip(part, area, strict=True))
        return ..., rows, columns

    def _of(self, cells: torch.Tensor, area: Area) -> torch.Tensor:
        """Return an area's extent of the whole image's cells, (h, w)."""
        rows, columns = (span.cells(0, self.network.stride) for span in area)
        return cells[rows, columns]

    def _tiles(self, height: int, width: int) -> list[Area]:
        whole = (Span.whole(height), Span.whole(width))
        return [whole] if height * width <= self._whole else cut_area(whole, self._core, self._halo)


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


def _in_strips_sparingly(
    layer: Layer, cells: torch.Tensor, *, reach: int, stride: int = 1, strip: int = CELL_STRIP, consume: bool = False
) -> torch.Tensor:
    """Return what `in_strips` does, and give back after each strip what that needed on the way."""

    def released(piece: torch.Tensor) -> torch.Tensor:
        given = layer(piece)
        release_free_memory()
        return given

    return in_strips(released, cells, reach=reach, stride=stride, strip=strip, consume=consume)


def _added(total: torch.Tensor | None, sums: torch.Tensor | None) -> torch.Tensor | None:
    """Add a tile's sums in float64: the result must not depend on how the image was cut."""
    if sums is None:
        return None
    return sums.double() if total is None else total + sums.double()


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
