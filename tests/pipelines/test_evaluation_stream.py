from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from nclforensics.data.manifest import ImagePair
from nclforensics.pipelines.evaluation_stream import AHEAD, Sample, WorkAhead, localize_at_mask_size, read_sample
from nclforensics.reports.document import SkippedItem
from tests.factories import make_image, make_mask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


def test_results_come_in_order_whatever_finishes_first() -> None:
    """The first item takes longest."""

    def work(item: int) -> int:
        time.sleep(0.03 if item == 0 else 0)
        return item * item

    with WorkAhead() as ahead:
        assert [n * n for n in range(20)] == list(ahead.map(work, range(20)))


def test_only_a_few_items_are_held() -> None:
    """However long the set, no more items are drawn than were yielded and a fixed number."""
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(1000):
            drawn += 1
            yield item

    most = 0
    with WorkAhead() as ahead:
        for number, _ in enumerate(ahead.map(str, items())):
            most = max(most, drawn - number)
    assert most <= AHEAD + 1


def test_workers_run_beside_the_caller() -> None:
    """While the caller holds an item (as the network does), the next one is already being worked on."""
    started = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            started.set()
        return item

    with WorkAhead() as ahead:
        results = ahead.map(work, range(3))
        next(results)
        assert started.wait(5)
        results.close()  # type: ignore[attr-defined]  # a generator


def test_maps_can_be_chained_and_errors_pass_through() -> None:
    """Decoding feeds scoring from one pool; the first error ends both."""
    with WorkAhead() as ahead:
        chained = ahead.map(float, ahead.map(lambda item: "no number" if item == 3 else str(item), range(50)))
        with pytest.raises(ValueError, match="no number"):
            list(chained)


def test_sample_has_mask_and_digests(tmp_path: Path) -> None:
    """A mask of half the size is brought to the image's; an authentic image has an empty one."""
    cv2.imwrite(str(tmp_path / "a.png"), make_image(48, 64))
    cv2.imwrite(str(tmp_path / "m.png"), make_mask(24, 32, box=(4, 4, 10, 12)).astype(np.uint8) * 255)
    sample = read_sample(ImagePair(tmp_path / "a.png", tmp_path / "m.png", authentic=False))
    plain = read_sample(ImagePair(tmp_path / "a.png", None, authentic=True))
    assert isinstance(sample, Sample)
    assert isinstance(plain, Sample)
    assert (sample.mask.shape, int(sample.mask.sum())) == ((48, 64), 4 * 6 * 8)
    assert (int(plain.mask.sum()), plain.mask_sha256, plain.sha256) == (0, "", sample.sha256)
    assert len(sample.mask_sha256) == 64


def test_broken_image_becomes_a_skipped_item(tmp_path: Path) -> None:
    """With its path and the reason."""
    (tmp_path / "a.png").write_bytes(b"no image")
    item = read_sample(ImagePair(tmp_path / "a.png", None, authentic=True))
    assert isinstance(item, SkippedItem)
    assert (item.image, "Cannot decode" in item.reason) == (str(tmp_path / "a.png"), True)


def test_score_map_is_brought_to_the_size_of_scoring() -> None:
    """A constant map stays constant; a map of the right size is returned as it is."""

    class Constant:
        def localize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.full(image.shape[:2], 0.25, dtype=np.float32)

    image = make_image(48, 64)
    assert localize_at_mask_size(Constant(), image, (48, 64)).shape == (48, 64)
    scaled = localize_at_mask_size(Constant(), image, (30, 90))
    assert scaled.shape == (30, 90)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, 0.25)
