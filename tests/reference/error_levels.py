"""Error levels block by block: SciPy's DCT and quantization tables out of a JPEG that OpenCV wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.fft import dctn, idctn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

# Place of the k-th coefficient of a JPEG segment in the block, row by row (ITU-T T.81, figure A.6).
ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))


def written_tables(quality: int) -> list[NDArray[np.float64]]:
    """Return the luminance and the chrominance table, each (8, 8), that OpenCV writes at a quality."""
    ok, encoded = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    data, tables, at = encoded.tobytes(), {}, 2
    while data[at + 1] != 0xDA:  # start of scan: no tables after it
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDB:
            segment = data[at + 4 : end]
            for start in range(0, len(segment), 65):
                assert segment[start] < 16, "a table of 16-bit steps"
                table = np.zeros(64)
                table[ZIGZAG] = list(segment[start + 1 : start + 65])
                tables[segment[start]] = table.reshape(8, 8)
        at = end
    return [tables[0], tables[1]]


def error_levels(
    pixels: NDArray[np.float64], *, qualities: Iterable[int], chroma_qualities: Iterable[int]
) -> NDArray[np.float64]:
    """Return the features (channels, H / 8, W / 8) of one RGB image (3, H, W) in [0, 1], by loops over the blocks."""
    red, green, blue = pixels * 255
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = [luma, (blue - luma) / 1.772, (red - luma) / 1.402]
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    features = []
    for row in range(rows):
        for column in range(columns):
            block = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            y, cb, cr = (dctn(plane[block], norm="ortho") for plane in planes)
            values = _bands(y)
            for quality in qualities:
                values += _bands(_error(y, written_tables(quality)[0]))
            for quality in chroma_qualities:
                values += [float((_error(c, written_tables(quality)[1]) ** 2).mean()) for c in (cb, cr)]
            features.append(np.log1p(values))
    return np.array(features).T.reshape(-1, rows, columns)


def saved_once(seed: int, *, quality: int, blocks: int) -> NDArray[np.float64]:
    """Return grey blocks side by side, RGB (3, 8, 8 * blocks) in [0, 1], their coefficients quantized at a quality."""
    table, generator = written_tables(quality)[0], np.random.default_rng(seed)
    plane = np.empty((8, 8 * blocks))
    for block in range(blocks):
        coefficients = generator.normal(0, 40, (8, 8)) / (1 + np.add.outer(np.arange(8), np.arange(8)))
        coefficients[0, 0] = 1024
        plane[:, 8 * block : 8 * block + 8] = idctn(np.round(coefficients / table) * table, norm="ortho")
    return np.stack([plane / 255] * 3)


def _error(coefficients: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.float64]:
    return coefficients - np.round(coefficients / table) * table


def _bands(coefficients: NDArray[np.float64]) -> list[float]:
    """Return the energies of the coefficients of order u + v from 1 to 4, and of those above."""
    low = high = 0.0
    for u in range(8):
        for v in range(8):
            if 1 <= u + v <= 4:
                low += float(coefficients[u, v]) ** 2
            elif u + v > 4:
                high += float(coefficients[u, v]) ** 2
    return [low, high]
