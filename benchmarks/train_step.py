"""How long a training step takes: the contrastive loss, the whole step, and the data it waits for.

    python -m benchmarks.train_step [--device cuda] [--seconds 10] [--photos DIR] [--precision bf16]

Prints one Markdown table with device, versions and date. "dense" is the same network with the contrastive loss written
out over the whole matrix of similarities, in plain PyTorch, with the same values. A contender that cannot run here is a
row that says why. The step is forward, loss, backward, clipping and AdamW, on a batch that is in memory; the data row
is the time in which one worker process of the forge makes a batch, as a share of the step.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import importlib.util
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from nclforensics.config import ForgeConfig, LossConfig, PatchConfig, RunConfig, TrainConfig
from nclforensics.data.forge import Forge
from nclforensics.data.photos import PhotoPool
from nclforensics.losses import combined
from nclforensics.losses.contrastive import contrastive_loss
from nclforensics.networks.build import build_network
from nclforensics.pipelines.device import describe_device, processor_name, select_device
from nclforensics.pipelines.training_data import TrainingSample
from nclforensics.pipelines.training_step import TrainingStep, as_images

if TYPE_CHECKING:
    from collections.abc import Callable

GPU_COUNTS, CPU_COUNTS = (4096, 16384, 32768), (1024, 4096)
WIDTH, TAU, SIZE = 64, 0.1, 256
FEWEST, MOST = 3, 100


@dataclass(frozen=True)
class Row:
    """One line: what was measured, its median time, and what it is compared with."""

    case: str
    milliseconds: float | None
    note: str = ""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="timed runs of one case take about this long")
    parser.add_argument("--photos", type=Path, help="photos for the forge; without, made-up ones of 640 x 480")
    arguments = parser.parse_args()
    device = select_device(arguments.device)
    timed = Timer(device, arguments.seconds)
    config = RunConfig(train=TrainConfig(precision=arguments.precision), forge=ForgeConfig(size=SIZE))
    rows = loss_rows(timed, arguments.precision)
    rows += step_rows(timed, config, arguments.batch_size)
    step = next(row.milliseconds for row in rows if row.case.startswith("whole step") and row.milliseconds)
    rows += data_rows(timed, config, arguments, step)
    rows += imdlbenco_rows(timed, arguments.batch_size, step)
    print(markdown(rows, device, arguments))


class Timer:
    """Returns the median time of a call in milliseconds.

    Args:
        device: What to wait for.
        seconds: About how long the timed runs may take.
    """

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device = device
        self.seconds = seconds

    def __call__(self, run: Callable[[], object]) -> float:
        """Time a call, after one that is not timed."""
        self._once(run)
        times: list[float] = []
        while len(times) < FEWEST or (sum(times) < self.seconds and len(times) < MOST):
            times.append(self._once(run))
        return 1e3 * statistics.median(times)

    def _once(self, run: Callable[[], object]) -> float:
        self._wait()
        started = time.perf_counter()
        run()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def attempted(case: str, measure: Callable[[], float], note: str = "") -> Row:
    """Return the row of a case; what fails is a row that says how."""
    try:
        return Row(case, measure(), note)
    except torch.OutOfMemoryError:
        return Row(case, None, "out of memory")
    except Exception as error:  # noqa: BLE001 - the other cases go on
        return Row(case, None, f"failed: {type(error).__name__}: {str(error)[:120]}")


def dense_contrastive_loss(
    embeddings: torch.Tensor,
    roles: torch.Tensor,
    *,
    contour: str,
    tau: float,
    groups: torch.Tensor | None = None,
    **_: object,
) -> torch.Tensor:
    """Return `contrastive_loss` in its "infonce" form, over the whole matrix of similarities."""
    sides = roles.masked_fill(roles == 2, {"tampered": 1, "authentic": 0, "drop": -1}[contour])  # noqa: PLR2004 - contour
    pairs = embeddings @ embeddings.T / tau
    usable = (sides[:, None] >= 0) & (sides >= 0) & ~torch.eye(len(sides), dtype=torch.bool, device=sides.device)
    if groups is not None:
        usable &= groups[:, None] == groups
    same = sides[:, None] == sides
    anchors = (usable & same).any(1) & (usable & ~same).any(1)
    positive = pairs.masked_fill(~(usable & same), -torch.inf)[anchors].logsumexp(1)
    negative = pairs.masked_fill(~(usable & ~same), -torch.inf)[anchors].logsumexp(1)
    return F.softplus(negative - positive).float().sum() / anchors.sum().clamp(min=1)


def loss_rows(timed: Timer, precision: str) -> list[Row]:
    """Return the contrastive loss of one branch, forward and backward, ours and dense."""
    rows = []
    for count in GPU_COUNTS if timed.device.type == "cuda" else CPU_COUNTS:
        generator = torch.Generator().manual_seed(0)
        z = F.normalize(torch.randn(count, WIDTH, generator=generator), dim=1).to(timed.device).requires_grad_()
        shares = torch.tensor([0.7, 0.2, 0.1])
        roles = torch.multinomial(shares, count, replacement=True, generator=generator).to(timed.device)
        for name, loss in (("ours", contrastive_loss), ("dense", dense_contrastive_loss)):

            def run(loss: Any = loss, z: torch.Tensor = z, roles: torch.Tensor = roles) -> None:  # noqa: ANN401 - two forms
                with torch.autocast(timed.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                    value = loss(z, roles, contour="tampered", form="infonce", tau=TAU)
                torch.autograd.grad(value, z)

            rows.append(
                attempted(f"contrastive loss, one branch, N = {count}, {name}", lambda run=run: timed(run))  # type: ignore[misc]
            )
    return rows


def made_batch(size: int) -> TrainingSample:
    """Return a batch in memory: noise, with a rectangle of other noise in two of three images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size, 3, SIZE, SIZE), np.uint8)
    masks = np.zeros((size, SIZE, SIZE), bool)
    masks[np.arange(size) % 3 > 0, 60:150, 70:190] = True
    return TrainingSample(torch.from_numpy(images), torch.from_numpy(masks), torch.ones(size, SIZE, SIZE).bool())


def step_rows(timed: Timer, config: RunConfig, batch_size: int) -> list[Row]:
    """Return whole steps: pairs within images, over the batch, over the batch and dense, and no pairs."""
    rows = []
    everywhere = PatchConfig(scope="batch", contour_cap=512, tampered_cap=512, authentic_cap=1024)
    cases: tuple[tuple[str, RunConfig, bool], ...] = (
        ("whole step, pairs within images (default)", config, False),
        ("whole step, all cells of the batch, ours", replace(config, patches=everywhere), False),
        ("whole step, all cells of the batch, dense", replace(config, patches=everywhere), True),
        ("whole step, no contrastive loss", replace(config, losses=LossConfig(contrastive=0.0)), False),
    )
    for name, settings, dense in cases:
        # The step has no switch for a loss that only this comparison wants.
        vars(combined)["contrastive_loss"] = dense_contrastive_loss if dense else contrastive_loss
        rows.append(
            attempted(name, lambda settings=settings: timed(one_step(settings, timed.device, batch_size)))  # type: ignore[misc]
        )
    vars(combined)["contrastive_loss"] = contrastive_loss
    return rows


def one_step(config: RunConfig, device: torch.device, batch_size: int) -> Callable[[], None]:
    """Return a function that takes a training step on a fixed batch."""
    torch.manual_seed(0)
    network = build_network(config.model).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # documented, not in the stub
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    step, batch = TrainingStep(config, stride=network.stride, device=device), made_batch(batch_size)

    def autocast_network(images: torch.Tensor) -> Any:  # noqa: ANN401 - the network's output
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.train.precision == "bf16"):
            return network(images)

    def run() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(step(autocast_network, batch, 0).total)  # type: ignore[arg-type]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()

    return run


def data_rows(timed: Timer, config: RunConfig, arguments: argparse.Namespace, step: float) -> list[Row]:
    """Return how long the forge works on a batch in one process, and the batch's way to the device."""
    with tempfile.TemporaryDirectory() as folder:
        photos = arguments.photos or made_photos(Path(folder))
        pool, _ = PhotoPool.split_folder(photos, validation_share=0.1, seed=0)
        forge = Forge(pool, config.forge, 0)
        numbers = iter(range(10**9))
        per_sample = timed(lambda: forge.sample(next(numbers)))
    per_batch = per_sample * arguments.batch_size
    moved = timed(lambda: as_images(made_batch(arguments.batch_size).image, timed.device))
    note = f"{per_batch / step:.0%} of a step with one worker, so {np.ceil(per_batch / step):.0f} workers keep up"
    return [
        Row("data: one batch of the forge, one process", per_batch, note),
        Row("data: making and moving a batch in memory", moved, f"{moved / step:.1%} of a step at most"),
    ]


def made_photos(folder: Path) -> Path:
    """Write a few JPEG photos of smooth noise and return the folder."""
    for number in range(12):
        small = np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8)
        photo = cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.jpg"), photo)
    return folder


def imdlbenco_rows(timed: Timer, batch_size: int, step: float) -> list[Row]:
    """Return a step of MVSS-Net, the model of IMDLBenCo nearest in shape: convolutions, two branches, an image term."""
    case = "IMDLBenCo MVSS-Net, whole step"
    if importlib.util.find_spec("IMDLBenCo") is None:
        return [Row(case, None, "imdlbenco is not installed (pip install imdlbenco)")]

    def measure() -> float:
        from benchmarks.learned_speed import without_downloads  # noqa: PLC0415 - only where IMDLBenCo is installed

        with without_downloads():  # its ResNet asks for pre-trained weights: it starts from random ones, as ours does
            network = importlib.import_module("IMDLBenCo.model_zoo").MVSSNet(pretrained_base=False)
        network.to(timed.device).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
        batch = made_batch(batch_size)
        image, mask = as_images(batch.image, timed.device), batch.mask.unsqueeze(1).float().to(timed.device)
        label = mask.flatten(1).amax(1)

        def run() -> None:
            optimizer.zero_grad()
            torch.autograd.backward(network(image, mask, mask, label)["backward_loss"])
            optimizer.step()

        return timed(run)

    row = attempted(case, measure)
    share = "" if row.milliseconds is None else f"{row.milliseconds / step:.2f} x our default step per image; fp32"
    return [replace(row, note=row.note or share)]


def markdown(rows: list[Row], device: torch.device, arguments: argparse.Namespace) -> str:
    """Return the table."""
    facts = {
        "device": describe_device(device) if device.type == "cuda" else f"{processor_name()}",
        "threads": str(torch.get_num_threads()),
        "precision": arguments.precision,
        "batch": f"{arguments.batch_size} of {SIZE} x {SIZE}",
        **{name: installed(name) for name in ("torch", "nclforensics", "imdlbenco")},
        "Python": platform.python_version(),
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    lines = ["# A training step", "", ", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    lines += ["| case | ms (median) | note |", "|---|--:|---|"]
    for row in rows:
        figure = "" if row.milliseconds is None else f"{row.milliseconds:.1f}"
        lines.append(f"| {row.case} | {figure} | {row.note.replace('|', '/')} |")
    return "\n".join(lines)


def installed(package: str) -> str:
    """Return the version of a package, or that it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
