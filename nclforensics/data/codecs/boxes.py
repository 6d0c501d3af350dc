"""The first box of an ISO base media file (ISO/IEC 14496-12): HEIC, AVIF and some camera RAW formats begin with it."""

from __future__ import annotations

import struct


def brands(data: bytes) -> frozenset[bytes]:
    """Return the brands that a file declares itself compatible with; empty if it is no such file."""
    if data[4:8] != b"ftyp" or len(data) < 16:  # noqa: PLR2004 - the smallest box with a brand
        return frozenset()
    (length,) = struct.unpack_from(">I", data)
    listed = data[8:12] + data[16 : min(length, 256)]
    return frozenset(listed[at : at + 4] for at in range(0, len(listed) - 3, 4))
