"""One training step's loss: network, roles, mining and losses put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from nclforensics.losses.combined import CombinedLoss, LossInputs, LossTerms
from nclforensics.losses.ranks import ALONE
from nclforensics.patches.mining import MinedPatches, mine_patches
from nclforensics.patches.roles import CONTOUR, IGNORED, assign_roles
from nclforensics.pipelines.seeding import derived_seed

if TYPE_CHECKING:
    from nclforensics.config import RunConfig
    from nclforensics.losses.ranks import Ranks
    from nclforensics.networks.pivot import PivotOutput
    from nclforensics.pipelines.training_data import TrainingSample


class TrainingStep:
    """Computes the loss of a batch.

    Args:
        config: Of the run.
        stride: Side of a patch in pixels.
        device: Where to compute.
        ranks: The processes that share the batch, each with as many images: image i of rank r is image i R + r of all.
    """

    def __init__(self, config: RunConfig, *, stride: int, device: torch.device, ranks: Ranks = ALONE) -> None:
        self.config = config
        self.stride = stride
        self.device = device
        self.ranks = ranks
        self.loss = CombinedLoss(config.losses, ranks=ranks)
        self.generator = torch.Generator()

    def __call__(self, network: nn.Module, batch: TrainingSample, step: int) -> LossTerms:
        """Return the loss terms of a batch; the draw of patches depends on the run's seed and the step alone."""
        output = cast("PivotOutput", network(as_images(batch.image, self.device)))
        masks, valid = batch.mask.to(self.device), batch.valid.to(self.device)
        roles = assign_roles(masks, self.stride, valid=valid)
        mined = self._mined(roles, step)
        contour = (roles == CONTOUR).flatten().nonzero().squeeze(1)
        inputs = LossInputs(
            logits=output.logits,
            masks=masks.unsqueeze(1).float(),
            valid=valid.unsqueeze(1),
            embeddings_plus=cells(output.embeddings_plus, mined.index),
            embeddings_minus=cells(output.embeddings_minus, mined.index),
            roles=mined.roles,
            groups=mined.groups if self.config.patches.scope == "image" else None,
            contour_features_plus=cells(output.features_plus, contour).float(),
            contour_features_minus=cells(output.features_minus, contour).float(),
            image_logits=output.image_logit,
        )
        # Autocast changes nothing in the losses, which take float32; it allows the pair kernels bfloat16 products.
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.train.precision == "bf16"):
            return self.loss(inputs)

    def _mined(self, roles: Tensor, step: int) -> MinedPatches:
        """Return this rank's patches of those that one process would mine from the whole batch."""
        self.generator.manual_seed(derived_seed(self.config.train.seed, "mining", step))
        (images, height, width), count, rank = roles.shape, self.ranks.count, self.ranks.index
        if count == 1:
            return mine_patches(roles, self.config.patches, generator=self.generator)
        if self.config.patches.scope == "batch":
            everywhere = self.ranks.gather(roles).view(count, images, height, width).transpose(0, 1).flatten(0, 1)
        else:  # images do not compete for patches: those of the others only take their part of the draw
            everywhere = roles.new_full((images * count, height, width), IGNORED)
            everywhere[rank::count] = roles
        mined = mine_patches(everywhere, self.config.patches, generator=self.generator)
        own = mined.groups % count == rank
        groups = mined.groups[own] // count
        return MinedPatches(mined.index[own] % (height * width) + groups * height * width, mined.roles[own], groups)


def as_images(pixels: Tensor, device: torch.device) -> Tensor:
    """Return uint8 pixels (B, 3, H, W) as float32 images in [0, 1] on the device, channels last."""
    return pixels.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)


def cells(grid: Tensor, index: Tensor) -> Tensor:
    """Return the cells of (B, C, h, w) at flat positions of the (B, h, w) grid, shape (N, C)."""
    return grid.permute(0, 2, 3, 1).flatten(0, 2)[index]
