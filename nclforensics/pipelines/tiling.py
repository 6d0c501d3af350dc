"""Parts of an image, along one axis and along both: cores that cover it, and the halo that a core needs around it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of an image along one axis, in pixels: the core is kept, the extent (core and halo) is computed."""

    core_start: int
    core_stop: int
    start: int
    stop: int

    @classmethod
    def whole(cls, length: int) -> Span:
        """Return the span of a whole axis."""
        return cls(core_start=0, core_stop=length, start=0, stop=length)

    def cut(self, side: int, halo: int) -> list[Span]:
        """Cut the core into cores of at most `side` pixels, each with a halo as far as this span's extent reaches."""
        return [
            Span(
                core_start=start,
                core_stop=min(start + side, self.core_stop),
                start=max(start - halo, self.start),
                stop=min(min(start + side, self.core_stop) + halo, self.stop),
            )
            for start in range(self.core_start, self.core_stop, side)
        ]

    @property
    def core(self) -> Span:
        """The core as a span of its own."""
        return Span(core_start=self.core_start, core_stop=self.core_stop, start=self.core_start, stop=self.core_stop)

    @property
    def core_in_extent(self) -> slice:
        """Where the core lies in an array of the extent."""
        return slice(self.core_start - self.start, self.core_stop - self.start)

    def cells(self, origin: int, stride: int, scale: int = 1) -> slice:
        """Return where the extent lies on a map with `scale` cells for each patch of `stride` pixels.

        Args:
            origin: The pixel where the map's first cell starts; it and the extent's start are multiples of the stride.
            stride: Side of a patch; a last patch that the image only begins counts in whole.
            scale: Cells a patch, along one side.
        """
        return slice((self.start - origin) // stride * scale, -(-(self.stop - origin) // stride) * scale)


Area = tuple[Span, Span]
"""Rows and columns."""


def cut_area(area: Area, side: int, halo: int) -> list[Area]:
    """Cut an area's core into squares of at most `side` pixels, each with a halo as far as the area reaches."""
    return list(product(area[0].cut(side, halo), area[1].cut(side, halo)))


def widened(area: Area, margin: int, shape: tuple[int, ...]) -> Area:
    """Return an area with `margin` pixels more around it, as far as an image of that shape reaches."""
    rows, columns = (
        Span(
            core_start=span.core_start,
            core_stop=span.core_stop,
            start=max(span.start - margin, 0),
            stop=min(span.stop + margin, length),
        )
        for span, length in zip(area, shape[:2], strict=True)
    )
    return rows, columns
