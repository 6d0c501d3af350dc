"""Fit a model's image head anew on what scans see, all other weights left as they are, and calibrate the model anew.

    python -m scripts.fit_image_head MODEL --config FILE --photos DIR --out DIR [--samples 256:6000 512:1500]

The head reads sums over the cells of an image (`ImageHead.sums`), 388 numbers of `lite`. So the sums of samples from
the forge are computed once, as a scan computes them, on the picture's JPEG grid and with resizing undone (a training
sees samples as the forge makes them), and the head is trained on them for some epochs in less than a minute.

MODEL is one as for `nclf scan --weights`. Of the configuration, a run's, `[forge]` makes the samples, `[train] seed`
draws them, and `[model]` is the shape that the model has and is saved with. --samples says how many there are of each
side in pixels. Photos are those that the model was trained on; a tenth is held back as there, and calibrates. --out
gets a model folder without a card, whose name becomes the model's. Sums are kept in --out/sums until the model is
saved: an interrupted run goes on there.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from nclforensics.config import load_config
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.device import select_device
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.seeding import derived_seed
from nclforensics.pipelines.training_data import SPLIT_SEED
from scripts.average_models import calibrate_and_save

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from nclforensics.networks.image_head import ImageHead

CHUNK: Final = 250  # samples a file of --out/sums
EPOCHS: Final = 6
BATCH: Final = 64
LEARNING_RATE: Final = 2e-3
WEIGHT_DECAY: Final = 0.05


def main() -> None:
    """Compute the sums, fit, calibrate, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="whose head is fitted")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", nargs="+", type=_side_and_count, default=[(256, 6000), (512, 1500)])
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    model = load_model(arguments.model)
    model.network.block_grid = config.model.block_grid
    localizer = Localizer(model.network, device=select_device("auto"))
    pool, _ = PhotoPool.split_folder(arguments.photos, validation_share=config.train.validation_share, seed=SPLIT_SEED)
    parts: list[dict[str, Tensor]] = []
    for side, count in arguments.samples:
        shape = dataclasses.replace(config.forge, size=side)
        forge = Forge(pool, shape, derived_seed(config.train.seed, f"head {side}"))
        parts += chunks(localizer, forge, count, arguments.out / "sums" / f"{model.sha256[:12]}-{side}")
    sums, forged = (torch.cat([part[name] for part in parts]) for name in ("sums", "forged"))
    head = model.network.image_head
    assert head is not None  # `image_sums` has refused a network without one
    loss = fit(head, sums, forged, seed=config.train.seed)
    print(f"\nfitted on {len(sums)} samples, last epoch's loss {loss:.4f}", file=sys.stderr)
    fitted = {"image_head_samples": len(sums), "image_head_from_sha256": model.sha256}
    training = {**model.manifest["training"], **fitted}
    calibrate_and_save(model.network, config, arguments.photos, arguments.out, training=training)


def chunks(localizer: Localizer, forge: Forge, count: int, folder: Path) -> Iterator[dict[str, Tensor]]:
    """Yield the sums (CHUNK, K) and labels (CHUNK,) of a forge's samples; those on disk are read."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, CHUNK):
        path = folder / f"{first:06d}.safetensors"
        if not path.exists():
            samples = [forge.sample(index) for index in range(first, min(first + CHUNK, count))]
            chunk = {
                "sums": torch.cat([localizer.image_sums(sample.image) for sample in samples]),
                "forged": torch.tensor([bool(sample.mask.any()) for sample in samples], dtype=torch.float32),
            }
            save_file(chunk, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
        print(f"\r{forge.config.size} pixels: {min(first + CHUNK, count)} samples", end="", file=sys.stderr, flush=True)
        yield load_file(path)


def fit(head: ImageHead, sums: Tensor, forged: Tensor, *, seed: int) -> float:
    """Train a head in place: AdamW, cosine schedule to 0, binary cross-entropy.

    Args:
        head: Where it starts from counts.
        sums: Shape (N, K).
        forged: Shape (N,), 1 for a sample with any tampered pixel and 0 for an authentic one.
        seed: Orders the samples.

    Returns:
        The mean loss of the last epoch.
    """
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * -(-len(sums) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(seed)
    total = 0.0
    for _ in range(EPOCHS):
        total = 0.0
        for batch in torch.split(torch.from_numpy(rng.permutation(len(sums))), BATCH):
            loss = F.binary_cross_entropy_with_logits(head(sums[batch]), forged[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's annotation
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
    return total / len(sums)


def _side_and_count(text: str) -> tuple[int, int]:
    side, _, count = text.partition(":")
    return int(side), int(count)


if __name__ == "__main__":
    main()
