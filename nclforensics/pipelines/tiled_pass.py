"""One network's pass over an image of any size: in one piece, or in tiles that agree with the one piece.

The decoder uses statistics of the whole image (`context_statistics`), so an image is encoded, its statistics are
averaged, and then it is decoded with that average. The encoder's layers run in strips and the decoder in squares:
memory goes to the features that are kept, not to what is computed on the way.

An image whose features would take too much is cut into tiles. Their cores cover it without overlap; the halo around a
core lets every pixel of the core see what it sees in one piece. Each tile is encoded twice, first for the statistics,
then to be decoded, so that only one tile's features are held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

import numpy as np
import torch

from nclforensics.errors import UsageError
from nclforensics.networks.encoder import EncoderFeatures
from nclforensics.networks.pivot import FINE
from nclforensics.networks.strips import CELL_STRIP, in_strips
from nclforensics.pipelines.heap import release_free_memory
from nclforensics.pipelines.left_out import cells_left_out, without_evidence
from nclforensics.pipelines.tiling import Area, Span, cut_area, widened

if TYPE_CHECKING:
    from types import EllipsisType

    from numpy.typing import NDArray

    from nclforensics.networks.pivot import Encoder, PivotNetwork
    from nclforensics.networks.strips import Layer

# Pixels of an image up to which its skip map is held, 12 bytes a pixel of `lite`; beyond, a square's is computed twice.
SKIP_HELD: Final = 13_000_000
SQUARE: Final = 1024  # side in pixels of what is decoded at once; a multiple of every network's alignment
STRIP: Final = 256  # rows of the score map that are worked on at once


class Features(NamedTuple):
    """What is held of an encoded image or tile: `skip` only where there is memory for it, `deep` in parts."""

    skip: torch.Tensor | None
    deep: list[torch.Tensor]


class Seen(NamedTuple):
    """How an image was analysed: into how many tiles it was cut, and what share of it was left out as blown out."""

    tiles: int
    left_out: float


class TiledPass:
    """Computes one network's scores of images, from their first pixel on.

    Args:
        network: In eval mode, on the device.
        device: Where to compute.
        tile: Side in pixels of the largest square whose features are held at once, 13 bytes a pixel of `lite`.

    Raises:
        UsageError: If the tile has no core left beside the network's halo.

    Attributes:
        largest_whole: Pixels of the largest image that is not cut.
    """

    def __init__(self, network: PivotNetwork, *, device: torch.device, tile: int) -> None:
        self._halo = _round_up(network.halo, network.alignment)
        self._core = (tile - 2 * self._halo) // network.alignment * network.alignment
        if self._core <= 0:
            smallest = 2 * self._halo + network.alignment
            raise UsageError(f"Expected a tile of at least {smallest} pixels for this network, got {tile}.")
        self._network, self._device = network, device
        self._skip_halo = _round_up(cast("Encoder", network.encoder).fine_reach, network.stride)
        self.largest_whole = tile * tile

    def write_scores(self, image: NDArray[np.uint8], score_map: NDArray[np.float32]) -> Seen:
        """Write the scores of an image, uint8 (H, W, 3), into a map of its size, in [0, 1]."""
        sums, seen = self.write_logits(image, score_map)
        image_logit = self._network.image_logit(None if sums is None else sums.float())
        for start in range(0, len(score_map), STRIP):  # in strips: the whole map may take gigabytes
            logits = torch.from_numpy(score_map[start : start + STRIP])[None, None].to(self._device)
            scores = self._network.score_logits(logits, image_logit)[0, 0].sigmoid()
            score_map[start : start + STRIP] = scores.cpu().numpy()
        return seen

    def write_logits(self, image: NDArray[np.uint8], logits: NDArray[np.float32]) -> tuple[torch.Tensor | None, Seen]:
        """Write an image's logits into a map of its size, and return the image head's sums; None without a head."""
        tiles = self._tiles(*image.shape[:2])
        blown = cells_left_out(image, self._network)
        left_out = 0.0 if blown is None else float(blown.float().mean())
        blown = blown if blown is None else blown.to(self._device)
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
        total, cells = torch.zeros(1, 1, dtype=torch.float64, device=self._device), 0
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
                total = total + self._network.context_statistics(part).double() * count
                cells += count
            del part
        return (total / cells).float(), features if len(tiles) == 1 else None

    def _encode(self, image: NDArray[np.uint8], tile: Area) -> Features:
        pixels = self._pixels(image, tile)
        if pixels.shape[2] * pixels.shape[3] > SKIP_HELD:
            return Features(None, self._network.encode_deep(pixels, _in_strips_sparingly))
        skip, deep = self._network.encode(pixels, in_strips)
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
        for square in cut_area(tile, SQUARE, halo=self._network.decode_halo):
            rows, columns = square
            skip = (
                self._skip(image, square) if features.skip is None else features.skip[self._cells(square, tile, FINE)]
            )
            part = EncoderFeatures(skip, self._deep(features, square, tile))
            size = (rows.stop - rows.start, columns.stop - columns.start)
            output = self._network.decode(part, statistics, size=size)
            if blown is not None:
                output = without_evidence(output, self._of(blown, square), self._network.stride)
            core = output.logits[0, 0, rows.core_in_extent, columns.core_in_extent]
            logits[rows.core_start : rows.core_stop, columns.core_start : columns.core_stop] = (
                core.float().cpu().numpy()
            )
            read = self._cells((rows.core, columns.core), square)[1:]
            sums = _added(sums, self._network.image_sums(output, *read))
            del skip, part, output
            if features.skip is None:
                release_free_memory()
        return sums

    def _skip(self, image: NDArray[np.uint8], square: Area) -> torch.Tensor:
        """Compute the skip map of a square again."""
        wider = widened(square, self._skip_halo, image.shape)
        return self._network.encode_fine(self._pixels(image, wider), _in_strips_sparingly)[
            self._cells(square, wider, FINE)
        ]

    def _pixels(self, image: NDArray[np.uint8], area: Area) -> torch.Tensor:
        """Return an area's extent as uint8 (1, 3, h, w)."""
        rows, columns = area
        pixels = np.ascontiguousarray(image[rows.start : rows.stop, columns.start : columns.stop])
        return torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None]

    def _cells(self, part: Area, area: Area, side: int | None = None) -> tuple[EllipsisType, slice, slice]:
        """Return where a part lies on a map of the area, whose cells have `side` pixels a side; patches by default."""
        stride = self._network.stride
        scale = stride // (side or stride)
        rows, columns = (span.cells(whole.start, stride, scale) for span, whole in zip(part, area, strict=True))
        return ..., rows, columns

    def _of(self, cells: torch.Tensor, area: Area) -> torch.Tensor:
        """Return an area's extent of the whole image's cells, (h, w)."""
        rows, columns = (span.cells(0, self._network.stride) for span in area)
        return cells[rows, columns]

    def _tiles(self, height: int, width: int) -> list[Area]:
        whole = (Span.whole(height), Span.whole(width))
        return [whole] if height * width <= self.largest_whole else cut_area(whole, self._core, self._halo)


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
