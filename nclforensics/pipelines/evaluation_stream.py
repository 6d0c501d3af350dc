"""Reading and scoring beside the network: worker threads fill the time in which the network computes.

Decoding, degrading and scoring spend their time in OpenCV and numpy, which release Python's global lock, so threads are
enough. Results come back in the order of the set, whatever finished first, and only a few images are ever held.
"""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

import cv2
import numpy as np

from nclforensics.data.images import read_image, sha256_of
from nclforensics.errors import UnreadableImageError
from nclforensics.metrics.regions import evidence_score
from nclforensics.pipelines.dataset_check import ground_truth_of_size
from nclforensics.pipelines.protocols import prepare
from nclforensics.reports.document import ImageRow, SkippedItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from types import TracebackType

    from numpy.typing import NDArray

    from nclforensics.config import EvalConfig
    from nclforensics.data.manifest import ImagePair
    from nclforensics.pipelines.protocols import EvaluationProtocol

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD: Final = 2  # images in work beyond the one asked for: enough to keep the network busy, little to hold
_MOST_WORKERS: Final = 4


class ImageLocalizer(Protocol):
    """Anything that gives an image's score map, such as `nclforensics.pipelines.inference.Localizer`."""

    def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return scores (H, W) in [0, 1] of an RGB image (H, W, 3)."""
        ...


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth, decoded.

    Attributes:
        pair: Where they came from.
        image: RGB, uint8 (H, W, 3), as stored or as degraded.
        mask: bool, True = tampered, of the image's size; empty for an authentic image.
        width: Pixels a row of the file.
        height: Rows of the file.
        sha256: SHA-256 of the image's file.
        mask_sha256: SHA-256 of the mask's file, "" where there is none.
    """

    pair: ImagePair
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    width: int
    height: int
    sha256: str
    mask_sha256: str


class WorkAhead:
    """A pool of threads whose results come in order and are computed only a little ahead; a context manager."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(_MOST_WORKERS, os.cpu_count() or 1), thread_name_prefix="nclf-eval")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `function(item)` of every item, in order.

        The items are drawn in the calling thread, at most `AHEAD` further than what was yielded; so maps can be
        chained, and the network, which computes while items are drawn, runs beside the workers.
        """
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(self._pool.submit(function, item))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def read_sample(pair: ImagePair) -> Sample | SkippedItem:
    """Read an image and its mask; an image that cannot be decoded becomes a skipped item."""
    try:
        loaded = read_image(pair.image)
        height, width = loaded.pixels.shape[:2]
        mask = ground_truth_of_size(pair, (height, width))
        mask_sha256 = sha256_of(pair.mask) if pair.mask is not None else ""
    except UnreadableImageError as error:
        return SkippedItem(str(pair.image), str(error))
    return Sample(pair, loaded.pixels, mask, width=width, height=height, sha256=loaded.sha256, mask_sha256=mask_sha256)


def prepare_sample(sample: Sample, protocol: EvaluationProtocol) -> Sample:
    """Return the sample at the sizes that a protocol analyses and scores at."""
    image, mask = prepare(protocol, sample.image, sample.mask)
    return dataclasses.replace(sample, image=image, mask=mask)


def localize_at_mask_size(
    localizer: ImageLocalizer, image: NDArray[np.uint8], size: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return an image's score map, scaled (bilinear) to the size that it is scored at where that differs."""
    score_map = localizer.localize(image)
    if score_map.shape == size:
        return score_map
    resized = cv2.resize(score_map, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def row_of(
    sample: Sample, score_map: NDArray[np.float32], config: EvalConfig, *, figures: dict[str, float | None]
) -> ImageRow:
    """Return the report's row of an image."""
    return ImageRow(
        image=str(sample.pair.image),
        authentic=sample.pair.authentic,
        width=sample.width,
        height=sample.height,
        sha256=sample.sha256,
        mask_sha256=sample.mask_sha256,
        evidence=evidence_score(score_map, min_region=config.min_region),
        max_score=float(score_map.max()),
        tampered_share=float(sample.mask.mean()),
        figures=figures,
    )
