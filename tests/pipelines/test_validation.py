"""What a validation scores: the pixels that the loss sees, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import nn

from nclforensics.pipelines.training_data import TrainingSample
from nclforensics.pipelines.validation import Validation

if TYPE_CHECKING:
    from torch.utils.data import Dataset

SIDE = 64
CUT = 24  # columns of the image; the rest is padding


class Brightness(nn.Module):
    """Takes what is bright for tampered."""

    def forward(self, images: torch.Tensor) -> Any:  # noqa: ANN401 - the one field that is read
        """Return logits of 10 where an image is white, -10 where it is black."""
        return SimpleNamespace(score_logits=20 * images[:, :1] - 10)


def padded_sample(*, tampered: bool) -> TrainingSample:
    """Return an image whose tampered box and padding are white, the rest black."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[8:24, 4:20] = tampered
    valid = torch.ones_like(mask)
    valid[:, CUT:] = False
    image = (255 * (mask | ~valid)).byte().expand(3, SIDE, SIDE)
    return TrainingSample(image, mask, valid)


@pytest.fixture
def validation() -> Validation:
    """Return a validation of two tampered and two authentic images that are mostly padding."""
    samples = [padded_sample(tampered=index % 2 == 0) for index in range(4)]
    dataset = cast("Dataset[TrainingSample]", samples)
    return Validation(dataset, count=4, batch_size=2, device=torch.device("cpu"))


def test_padding_counts_nowhere(validation: Validation) -> None:
    """A network that is right about every pixel of the images is perfect, whatever it says about the padding."""
    scores = validation(Brightness())
    assert (scores.f1, scores.f1_at_fpr, scores.pixel_auc, scores.flagged) == (1, 1, 1, 0)


def test_a_regions_share_is_of_the_valid_pixels(validation: Validation) -> None:
    """Eight pixels are more than half a percent of 64 x 24, though not of 64 x 64; they flag the authentic images."""
    validation.images[1::2, :, 40, :8] = 255
    assert validation(Brightness()).flagged == 1
