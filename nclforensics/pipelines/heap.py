"""Memory that the C library has taken back from freed tensors, and keeps."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def release_free_memory() -> None:
    """Give what glibc keeps for later back to the system; elsewhere, do nothing.

    Blocks of up to 32 MB are kept, in places that the next, larger one does not fit into: on a photo of 24 megapixels
    that was a quarter of the peak.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or no way to ask this one
        return lambda _kept: None
    trim.argtypes = [ctypes.c_size_t]
    return trim
