"""Validation during training: the averaged network on a fixed set of held-out samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, cast

import torch
from torch import nn

from nclforensics.losses.localization import localization_loss
from nclforensics.metrics.confusion import confusion_at
from nclforensics.metrics.image import threshold_at_rate
from nclforensics.metrics.pixel import auc, level_counts
from nclforensics.metrics.regions import evidence_score
from nclforensics.pipelines.training_step import as_images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch.utils.data import Dataset

    from nclforensics.networks.pivot import PivotOutput
    from nclforensics.pipelines.training_data import TrainingSample

MIN_REGION: Final = 0.005
RATE: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class ValidationScores:
    """Means over the valid pixels of the tampered samples, except where said; 0 where there is no such sample.

    Attributes:
        f1_at_fpr: Mean f1 at the threshold that flags 5 % of the authentic samples.
        f1: Mean f1 at threshold 0.5.
        pixel_auc: Mean area under the pixel ROC curve.
        loss: Binary cross-entropy, over all samples.
        threshold: The threshold of `f1_at_fpr`.
        flagged: Share of the authentic samples with a region above threshold 0.5.
    """

    f1_at_fpr: float
    f1: float
    pixel_auc: float
    loss: float
    threshold: float
    flagged: float

    @property
    def score(self) -> float:
        """The figure that chooses the best weights: the mean of `f1_at_fpr` and `f1`.

        Of a few dozen authentic samples two or three set the threshold of f1_at_fpr, so alone it jumps from one
        validation to the next; f1 at a fixed threshold steadies it.
        """
        return (self.f1_at_fpr + self.f1) / 2

    def scalars(self) -> dict[str, float]:
        """Return the scores by name."""
        return cast("dict[str, float]", asdict(self))


class Validation:
    """A fixed validation set, kept in memory.

    Args:
        samples: Sample by index.
        count: Number of samples, the indices 0 ... count - 1.
        batch_size: Samples computed at once.
        device: Where to compute.
    """

    def __init__(self, samples: Dataset[TrainingSample], *, count: int, batch_size: int, device: torch.device) -> None:
        drawn = [samples[index] for index in range(count)]
        self.images = torch.stack([sample.image for sample in drawn])
        self.masks = torch.stack([sample.mask for sample in drawn])
        self.valid = torch.stack([sample.valid for sample in drawn])
        self.batch_size = batch_size
        self.device = device

    def score_maps(self, network: nn.Module) -> NDArray[np.float32]:
        """Return the score maps of all samples, shape (N, S, S)."""
        return cast("NDArray[np.float32]", torch.sigmoid(self._logits(network)).squeeze(1).numpy())

    def __call__(self, network: nn.Module) -> ValidationScores:
        """Return the network's scores; it is in eval mode afterwards as it was before."""
        logits = self._logits(network)
        masks = self.masks.unsqueeze(1).float()
        loss = localization_loss(logits, masks, bce=1.0, dice=0.0, edge=0.0, valid=self.valid.unsqueeze(1)).bce
        maps = cast("NDArray[np.float32]", torch.sigmoid(logits).squeeze(1).numpy())
        truth, valid = self.masks.numpy(), self.valid.numpy()
        tampered = [index for index in range(len(maps)) if truth[index].any()]
        authentic = [index for index in range(len(maps)) if not truth[index].any()]
        evidence = [_evidence(maps[index], valid[index]) for index in authentic]
        threshold = threshold_at_rate(evidence, rate=RATE) if evidence else 0.5
        areas = [
            auc(level_counts(maps[index, valid[index]][None], truth[index, valid[index]][None])) for index in tampered
        ]
        return ValidationScores(
            f1_at_fpr=_mean_f1(maps, truth, valid, tampered, threshold),
            f1=_mean_f1(maps, truth, valid, tampered, 0.5),
            pixel_auc=_mean([area for area in areas if area is not None]),
            loss=float(loss),
            threshold=threshold,
            flagged=_mean([float(score > 0.5) for score in evidence]),  # noqa: PLR2004 - see `flagged`
        )

    @torch.inference_mode()
    def _logits(self, network: nn.Module) -> torch.Tensor:
        parts = []
        for start in range(0, len(self.images), self.batch_size):
            images = self.images[start : start + self.batch_size]
            output = cast("PivotOutput", network(as_images(images, self.device)))
            parts.append(output.score_logits.float().cpu())
        return torch.cat(parts)


def _mean_f1(
    maps: NDArray[np.float32],
    truth: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    indices: list[int],
    threshold: float,
) -> float:
    found = [confusion_at(maps[index], truth[index], threshold=threshold, scored=valid[index]) for index in indices]
    return _mean([counts.f1 for counts in found])


def _evidence(score_map: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Return the evidence score of the valid pixels: a region's share is one of them."""
    return evidence_score(score_map * valid, min_region=MIN_REGION * float(valid.mean()))


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
