"""How many bytes the compressed data of a TIFF's strips and tiles unpacks to, before it turns out to be damaged.

libtiff fills what it cannot unpack with zeros, and OpenCV does not say so: a damaged strip would be analysed as a black
band in the photo. Deflate is unpacked here a second time, its checksum included; LZW and PackBits are only measured.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_PIECE: Final = 2**20  # bytes that are unpacked at a time: nothing of them is kept
_CLEAR, _END, _FIRST = 256, 257, 258  # LZW's codes, and the first that stands for more than a byte
_ENTRIES: Final = 5119  # of libtiff's table; after that many a stream has to clear it
_REPEATED: Final = 128  # PackBits' headers above it announce a repeated byte


def deflated_length(data: bytes, wanted: int) -> int:
    """Return the length of what Deflate data unpacks to, or `wanted` if it is no less; 0 if its checksum is wrong."""
    stream, length = zlib.decompressobj(), 0
    try:
        while length <= wanted and (part := stream.decompress(data, _PIECE)):
            data, length = stream.unconsumed_tail, length + len(part)
    except zlib.error:
        return 0
    return min(length, wanted)


def packbits_length(data: bytes, wanted: int) -> int:
    """Return the length of what PackBits data unpacks to, or `wanted` if it is no less."""
    place = length = 0
    while length < wanted and place + 1 < len(data):
        header = data[place]
        if header < _REPEATED:
            taken = min(header + 1, len(data) - place - 1)
            place, length = place + taken + 1, length + taken
        elif header > _REPEATED:
            place, length = place + 2, length + 257 - header
        else:
            place += 1
    return min(length, wanted)


def lzw_length(data: bytes, wanted: int) -> int:
    """Return the length of what TIFF's LZW data unpacks to up to the first impossible code, at most `wanted`.

    It has to begin with a cleared table. Data that is written from the lowest bit up, as before TIFF 6, is not looked
    at: `wanted` is returned.
    """
    if data[:1] == b"\0" and data[1:2] and data[1] & 1:  # how libtiff tells it
        return wanted
    octets, bits = np.frombuffer(data + bytes(2), np.uint8), 8 * len(data)
    if bits < _WIDTHS[0] or _codes(octets, 0, bits)[0] != _CLEAR:
        return 0
    start, length = int(_WIDTHS[0]), 0
    while length < wanted:
        codes = _codes(octets, start, bits)
        stops = np.flatnonzero(codes >> 1 == _CLEAR >> 1)  # a cleared table or the end
        count = int(stops[0]) if stops.size else len(codes)
        wrong = np.flatnonzero(codes[:count] > _LIMITS[:count])
        length += _bytes_of(codes[: int(wrong[0]) if wrong.size else count])
        if wrong.size or not stops.size or codes[count] == _END:
            break
        start += int(_STARTS[count] + _WIDTHS[count])
    return min(length, wanted)


def _code_widths() -> NDArray[np.int64]:
    """Return the number of bits of each code after the table was cleared."""
    entries = np.arange(_FIRST - 1, _ENTRIES + 1)  # in the table when the code is read; none is added for the first one
    return 9 + (entries > 510).astype(np.int64) + (entries > 1022) + (entries > 2046)  # noqa: PLR2004 - TIFF 6, LZW


_WIDTHS: Final = _code_widths()
_STARTS: Final = np.cumsum(_WIDTHS) - _WIDTHS
# The first code stands for a byte; each later one may also be the string that is only added with it.
_LIMITS: Final = np.array([_CLEAR - 1, *range(_FIRST, _FIRST - 1 + len(_WIDTHS))], np.int32)


@cache
def _places(phase: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Return the byte, shift and mask of each code after the table was cleared, from a bit of a byte on."""
    places = phase + _STARTS
    shifts, masks = 24 - (places & 7) - _WIDTHS, (1 << _WIDTHS) - 1
    return places >> 3, shifts.astype(np.int32), masks.astype(np.int32)


def _codes(octets: NDArray[np.uint8], start: int, bits: int) -> NDArray[np.int32]:
    """Return the codes from a bit on, up to the end of the data or of the largest table."""
    known = int(np.searchsorted(_STARTS + _WIDTHS, bits - start, side="right"))
    places, shifts, masks = _places(start & 7)
    near = octets[start >> 3 : (start >> 3) + int(places[-1]) + 3].astype(np.int32)
    windows = near[:-2] << 16 | near[1:-1] << 8 | near[2:]  # the 24 bits from each byte on
    return windows[places[:known]] >> shifts[:known] & masks[:known]


def _bytes_of(codes: NDArray[np.int32]) -> int:
    """Return how many bytes the codes stand for.

    Each string is that of an earlier code and one byte more, so its length is that of a path along these links.
    """
    nothing = len(codes)
    lengths = np.append(np.ones(nothing, np.int64), 0)
    earlier = np.append(np.where(codes < _CLEAR, nothing, codes.astype(np.int64) - _FIRST), nothing)
    while (earlier != nothing).any():  # twice as far along the paths each time
        lengths += lengths[earlier]
        earlier = earlier[earlier]
    return int(lengths.sum())


LENGTHS: Final[dict[int, Callable[[bytes, int], int]]] = {
    5: lzw_length,
    8: deflated_length,
    32773: packbits_length,
    32946: deflated_length,
}
