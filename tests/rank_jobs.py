"""What several processes compute together in the tests of multi-GPU training; run by torchrun, not by pytest.

    torchrun --nproc-per-node 3 tests/rank_jobs.py OUT CONFIG [STOP_AFTER]

First losses and a network with batch norm, from seeds, so that the test can compute the same in one process; rank r
leaves OUT/r.pt. Then the training of the configuration, resumed if it was begun, and stopped after so many steps.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from nclforensics.config import LossConfig, load_config
from nclforensics.losses.combined import CombinedLoss, LossInputs
from nclforensics.losses.ranks import ALONE, Ranks
from nclforensics.pipelines import trainer
from nclforensics.pipelines.checkpoint import CHECKPOINT_FILE
from nclforensics.pipelines.synchronized_norm import synchronize_norms
from nclforensics.pipelines.train import run_training

if TYPE_CHECKING:
    from torch import Tensor

    from nclforensics.config import ContrastiveForm

IMAGES = 6
FORMS: tuple[ContrastiveForm, ...] = ("infonce", "supcon", "pixel")
# Patches of each image: images 1 and 4 are authentic, 2 has no contour, 3 has nothing, 5 is all contour.
ROLES: tuple[tuple[int, ...], ...] = (
    (0, 0, 1, 2, 2, -1, 0),
    (0, 0, 0),
    (1, 0, 1, 1),
    (),
    (0,) * 9,
    (2, 2, 2, 2),
)


def loss_inputs(images: tuple[int, ...], *, grouped: bool) -> LossInputs:
    """Return the inputs of some images of one fixed batch, in float64; every float is a leaf with gradient."""

    def drawn(name: int, image: int, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(100 * name + image)
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    def leaf(name: int, *shapes: tuple[int, ...]) -> Tensor:
        parts = [drawn(name, image, *shape) for image, shape in zip(images, shapes, strict=True)]
        return torch.cat(parts).requires_grad_()

    masks = torch.zeros(IMAGES, 1, 12, 12, dtype=torch.float64)
    for image, own in enumerate(ROLES):
        masks[image, :, 3:7, 2 : 2 + image] = float(any(role > 0 for role in own))
    valid = torch.ones(IMAGES, 1, 12, 12, dtype=torch.bool)
    valid[2, :, 8:] = False
    valid[3] = False
    patches = [(len(ROLES[image]), 5) for image in images]
    contour = [(ROLES[image].count(2), 6) for image in images]
    roles = [role for image in images for role in ROLES[image]]
    groups = [image for image in images for _ in ROLES[image]]
    chosen = list(images)
    return LossInputs(
        logits=leaf(0, *[(1, 1, 12, 12)] * len(images)),
        masks=masks[chosen],
        valid=valid[chosen],
        embeddings_plus=leaf(1, *patches),
        embeddings_minus=leaf(2, *patches),
        roles=torch.tensor(roles, dtype=torch.int64),
        groups=torch.tensor(groups, dtype=torch.int64) if grouped else None,
        contour_features_plus=leaf(3, *contour),
        contour_features_minus=leaf(4, *contour),
        image_logits=leaf(5, *[(1,)] * len(images)),
    )


LEAVES = (
    "logits",
    "embeddings_plus",
    "embeddings_minus",
    "contour_features_plus",
    "contour_features_minus",
    "image_logits",
)


def loss_and_gradients(
    images: tuple[int, ...], form: ContrastiveForm, *, grouped: bool, ranks: Ranks = ALONE
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return the terms, and the gradients of their total with respect to each input."""
    inputs = loss_inputs(images, grouped=grouped)
    unit = {name: F.normalize(getattr(inputs, name), dim=1) for name in ("embeddings_plus", "embeddings_minus")}
    config = LossConfig(form=form, tau=0.2, edge=0.3)
    terms = CombinedLoss(config, ranks=ranks)(replace(inputs, **unit))
    gradients = torch.autograd.grad(terms.total, [getattr(inputs, name) for name in LEAVES])
    return terms.scalars(), dict(zip(LEAVES, gradients, strict=True))


def norm_network() -> nn.Sequential:
    """Return two convolutions with batch norms, in float64."""
    torch.manual_seed(3)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))
    return nn.Sequential(*layers).double()


def norm_results(images: tuple[int, ...], ranks: Ranks = ALONE) -> dict[str, Tensor]:
    """Return outputs, gradients and buffers of the network after one step on some images."""
    network = synchronize_norms(norm_network(), ranks)
    batch = torch.randn(IMAGES, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pixels = batch[list(images)].requires_grad_()
    output = network(pixels)
    torch.autograd.backward((output.sin() * torch.arange(1, 3).view(1, 2, 1, 1)).sum())
    weights = {f"d {name}": value.grad for name, value in network.named_parameters() if value.grad is not None}
    buffers = {f"buffer {name}": value for name, value in network.named_buffers()}
    return {"output": output.detach(), "d pixels": pixels.grad, **weights, **buffers}


def share_of(rank: int, count: int) -> tuple[int, ...]:
    """Return a rank's images, in runs, so that patches, contour and valid pixels are spread unevenly."""
    size = IMAGES // count
    return tuple(range(rank * size, (rank + 1) * size))


def main() -> None:
    """Run both jobs."""
    out, config = Path(sys.argv[1]), load_config(Path(sys.argv[2]))
    dist.init_process_group("gloo")
    ranks = Ranks(dist.get_rank(), dist.get_world_size())
    images, results = share_of(ranks.index, ranks.count), {}
    for form in FORMS:
        for grouped in (False, True):
            results[form, grouped] = loss_and_gradients(images, form, grouped=grouped, ranks=ranks)
    torch.save({"losses": results, "norm": norm_results(images, ranks)}, out / f"{ranks.index}.pt")
    steps = itertools.count(1)
    last = int(sys.argv[3]) if len(sys.argv) > 3 and ranks.index == ranks.count - 1 else 0
    vars(trainer)["LOG_EVERY"] = 1  # every loss is to be compared
    resume = (Path(config.train.out) / CHECKPOINT_FILE).is_file()
    gc.disable()  # what only its next run would set free is not left to chance
    with contextlib.suppress(KeyboardInterrupt):
        run_training(config, resume=resume, should_stop=lambda: next(steps) == last)
    until = time.monotonic() + 20
    while left := gloo_threads():  # about one end in 40 is an abort then
        if time.monotonic() > until:
            raise RuntimeError(f"The training ended, finished or stopped, and left threads behind: {left}.")
        time.sleep(0.1)  # a thread that was waited for is listed a moment longer


def gloo_threads() -> list[str]:
    """Return the names of the threads of Gloo that this process has."""
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            names.append(path.read_text(encoding="utf-8").strip())
    return [name for name in names if "gloo" in name]


if __name__ == "__main__":
    main()
