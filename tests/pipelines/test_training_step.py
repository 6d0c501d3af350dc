"""The loss of one step is that of the method: each output meets the patches and pixels that it belongs to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nclforensics.config import LossConfig, PatchConfig, RunConfig, TrainConfig
from nclforensics.networks.pivot import PivotOutput
from nclforensics.pipelines.training_data import TrainingSample
from nclforensics.pipelines.training_step import TrainingStep, as_images
from tests.reference import contrastive as contrastive_reference
from tests.reference import image_term as image_reference
from tests.reference import localization as localization_reference
from tests.reference import pivot_consistency as pivot_reference
from tests.reference import roles as roles_reference

CPU = torch.device("cpu")
STRIDE, HEIGHT, WIDTH = 4, 10, 18  # 3 x 5 patches, of which the last row and column hang over the edge
IMAGES, ROWS, COLUMNS = 3, 3, 5
CONFIG = RunConfig(losses=LossConfig(edge=0.7, tau=0.2), train=TrainConfig(seed=3))


class FixedNetwork(nn.Module):
    """Gives what it was made with, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def drawn(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=torch.float64, generator=generator)

        logits, grid = drawn(IMAGES, 1, HEIGHT, WIDTH), (ROWS, COLUMNS)
        self.output = PivotOutput(
            logits=logits,
            features_plus=drawn(IMAGES, 6, *grid),
            features_minus=drawn(IMAGES, 6, *grid),
            embeddings_plus=F.normalize(drawn(IMAGES, 5, *grid), dim=1),
            embeddings_minus=F.normalize(drawn(IMAGES, 5, *grid), dim=1),
            cell_logits=drawn(IMAGES, 1, *grid),
            score_logits=drawn(IMAGES, 1, HEIGHT, WIDTH),  # held down by the image head: not what is trained
            image_logit=drawn(IMAGES),
        )
        self.seen: Tensor | None = None

    def forward(self, images: Tensor) -> PivotOutput:
        """Return the fixed output."""
        self.seen = images
        return self.output


def make_batch() -> TrainingSample:
    """Return a forgery with all roles, an authentic image, and one in which a band is not scored."""
    mask = torch.zeros(IMAGES, HEIGHT, WIDTH, dtype=torch.bool)
    mask[0, :6, 3:12] = True
    mask[2, 4:, 5:] = True
    valid = torch.ones_like(mask)
    valid[2, :2, :6] = False
    valid[2, 8:, 16:] = False
    pixels = torch.randint(256, (IMAGES, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return TrainingSample(pixels, mask, valid)


def expected_terms(output: PivotOutput, batch: TrainingSample, *, scope: str) -> dict[str, float]:
    """Return the terms by the slow loops, patch by patch and pixel by pixel."""
    patches = [(b, y, x) for b in range(IMAGES) for y in range(ROWS) for x in range(COLUMNS)]
    grids = [
        roles_reference.assign_roles(mask, STRIDE, valid=valid)
        for mask, valid in zip(batch.mask, batch.valid, strict=True)
    ]
    roles = [grids[b][y][x] for b, y, x in patches]
    assert set(roles) == {-1, 0, 1, 2}
    groups = [b if scope == "image" else 0 for b, _, _ in patches]

    def branch(embeddings: Tensor, contour: str) -> float:
        z = torch.stack([embeddings[b, :, y, x] for b, y, x in patches])
        options: Any = {"contour": contour, "form": CONFIG.losses.form, "tau": CONFIG.losses.tau}
        return float(contrastive_reference.contrastive_loss(z, roles, groups, **options))

    def at_contour(features: Tensor) -> list[list[float]]:
        places = zip(patches, roles, strict=True)
        return [features[b, :, y, x].tolist() for (b, y, x), role in places if role == 2]

    logits, masks, valid = output.logits[:, 0], batch.mask.tolist(), batch.valid.tolist()
    assert output.image_logit is not None
    return {
        "bce": float(localization_reference.bce(logits, masks, valid)),
        "dice": float(localization_reference.dice(logits, masks, valid)),
        "edge": float(localization_reference.edge(logits, masks, valid, 2)),
        "contrastive_plus": branch(output.embeddings_plus, "tampered"),
        "contrastive_minus": branch(output.embeddings_minus, "authentic"),
        "pivot_consistency": pivot_reference.pivot_consistency_loss(
            at_contour(output.features_plus), at_contour(output.features_minus)
        ),
        "image": image_reference.image_loss(output.image_logit.tolist(), masks, valid),
    }


@pytest.mark.parametrize("scope", ["image", "batch"])
def test_terms_equal_the_loops(scope: Literal["image", "batch"]) -> None:
    """With caps that take every patch: roles, positions, images and branches are those of the formulas."""
    network, batch, config = FixedNetwork(), make_batch(), replace(CONFIG, patches=PatchConfig(scope=scope))

    terms = TrainingStep(config, stride=STRIDE, device=CPU)(network, batch, 0).scalars()

    expected = expected_terms(network.output, batch, scope=scope)
    assert terms == pytest.approx({**expected, "total": terms["total"]}, rel=1e-5)
    assert network.seen is not None
    assert torch.equal(network.seen, as_images(batch.image, CPU))
    assert torch.equal(network.seen, batch.image.float() / 255)


def test_caps_and_step_decide_which_patches_enter() -> None:
    """With small caps fewer patches are compared, others in another step, the same ones in the same step."""
    patches = PatchConfig(scope="batch", contour_cap=2, tampered_cap=1, authentic_cap=2)
    step = TrainingStep(replace(CONFIG, patches=patches), stride=STRIDE, device=CPU)
    losses = [step(FixedNetwork(), make_batch(), number).scalars()["contrastive_plus"] for number in (0, 1, 2, 0)]
    assert losses[0] == losses[3]
    assert len(set(losses)) == 3
