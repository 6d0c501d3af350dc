"""What a JPEG file says about how it was saved: quantization tables, chroma subsampling, progressive or not.

Source: ISO/IEC 10918-1, annex B (segments) and annex K.1 (the tables that the quality scale of the Independent JPEG
Group's library, `jpeg_quality_scaling` of jcparam.c, multiplies).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

Table = NDArray[np.int64]

_LUMA: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_CORNER: Final = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
_QUALITIES: Final = np.arange(1, 101)
_DQT, _SOS, _FILL = 0xDB, 0xDA, 0xFF
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SAMPLINGS: Final = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG file is coded.

    Attributes:
        luma: Quantization steps of the first component, int64 (8, 8), row = vertical frequency.
        quality: Of those steps, on the IJG scale, 1 to 100; the nearest one if no quality has exactly these steps.
        standard: Whether a quality has exactly these steps for the first component and for the others.
        subsampling: Such as "4:2:0"; "4:0:0" is a picture without colour.
        progressive: Whether it is coded in progressive scans.
    """

    luma: Table
    quality: int
    standard: bool
    subsampling: str
    progressive: bool


def read_jpeg_coding(content: bytes) -> JpegCoding | None:
    """Return how a JPEG file is coded, from the segments before its picture data; None if it has no tables there.

    Args:
        content: The file, already found to be a whole JPEG.
    """
    tables: dict[int, Table] = {}
    frame: tuple[int, list[tuple[int, int, int]]] | None = None
    for marker, body in _segments(content):
        if marker == _DQT:
            tables.update(_tables(body))
        elif marker in _FRAMES and frame is None:
            frame = marker, _components(body)
    if frame is None or not frame[1] or any(component[2] not in tables for component in frame[1]):
        return None
    marker, components = frame
    luma = tables[components[0][2]]
    quality, exact = ijg_quality(luma)
    chroma = [tables[component[2]] for component in components[1:3]]
    standard = exact and all(ijg_quality(table, chroma=True)[1] or ijg_quality(table)[1] for table in chroma)
    return JpegCoding(luma, quality, standard, _subsampling(components), marker in _PROGRESSIVE)


def ijg_tables(*, chroma: bool = False) -> Table:
    """Return the quantization steps of the qualities 1 to 100, int64 (100, 8, 8)."""
    base = np.full((8, 8), 99, np.int64)
    if chroma:
        base[:4, :4] = _CHROMA_CORNER
    else:
        base[:] = _LUMA
    scale = np.where(_QUALITIES < 50, 5000 // _QUALITIES, 200 - 2 * _QUALITIES)  # noqa: PLR2004 - the scale's own bend
    return np.clip((base * scale[:, None, None] + 50) // 100, 1, 255)


def ijg_quality(table: Table, *, chroma: bool = False) -> tuple[int, bool]:
    """Return the quality whose table is nearest, in the mean ratio of the steps, and whether it is that very table."""
    distance = np.abs(np.log(ijg_tables(chroma=chroma) / np.maximum(table, 1))).mean(axis=(1, 2))
    best = int(distance.argmin())
    return best + 1, bool(distance[best] == 0)


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and contents of the segments before the first scan."""
    position = 2
    while position + 4 <= len(content):
        marker = content[position + 1]
        if marker == _FILL:
            position += 1
            continue
        if content[position] != _FILL or marker == _SOS:
            return
        (length,) = struct.unpack_from(">H", content, position + 2)
        yield marker, content[position + 4 : position + 2 + length]
        position += 2 + length


def _tables(body: bytes) -> Iterator[tuple[int, Table]]:
    position = 0
    while position < len(body):
        wide, number = divmod(body[position], 16)
        kind = np.dtype(">u2" if wide else "u1")
        if position + 1 + 64 * kind.itemsize > len(body):
            return
        steps = np.zeros(64, np.int64)
        steps[_zigzag()] = np.maximum(np.frombuffer(body, kind, 64, position + 1), 1)  # 0 is not allowed, but occurs
        yield number, steps.reshape(8, 8)
        position += 1 + 64 * kind.itemsize


def _zigzag() -> Table:
    """Return where the n-th step of a table lies in its rows, one after the other: along the diagonals, to and fro."""
    row, column = np.divmod(np.arange(64), 8)
    diagonal = row + column
    return np.lexsort((np.where(diagonal % 2, row, column), diagonal))


def _components(body: bytes) -> list[tuple[int, int, int]]:
    """Return horizontal and vertical sampling factor and table number of each component of a frame header."""
    count = body[5] if len(body) > 5 else 0  # noqa: PLR2004 - precision, height and width come first
    rows = [body[start : start + 3] for start in range(6, 6 + 3 * count, 3)]
    return [(row[1] >> 4, row[1] & 15, row[2]) for row in rows if len(row) == 3]  # noqa: PLR2004 - id, factors, table


def _subsampling(components: list[tuple[int, int, int]]) -> str:
    if len(components) == 1:
        return "4:0:0"
    (across, down, _), (chroma_across, chroma_down, _) = components[:2]
    if chroma_across and chroma_down and across % chroma_across == 0 and down % chroma_down == 0:
        ratio = (across // chroma_across, down // chroma_down)
        return _SAMPLINGS.get(ratio, f"{ratio[0]} x {ratio[1]}")
    return ", ".join(f"{across} x {down}" for across, down, _ in components)
