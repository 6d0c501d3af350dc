"""How fast `lite` is: megapixels a second of the network and of the whole analysis of an image.

    python benchmarks/lite_speed.py [--side 1024] [--repeats 5] [--threads N] [--device cpu]

The weights are random: speed does not depend on them. "network" is the forward pass on a tensor; "localizer" is what
`nclf scan` does with a decoded image, from uint8 pixels to the score map.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch

from nclforensics.config import ModelConfig
from nclforensics.networks.build import build_network
from nclforensics.pipelines.device import describe_device, processor_name, select_device
from nclforensics.pipelines.inference import Localizer

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure and print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="side of the square image in pixels")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each case, after one that is not timed")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 leaves its own choice")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = select_device(arguments.device)
    torch.manual_seed(0)
    network = build_network(ModelConfig())
    print(
        f"{describe_device(device)}, {processor_name()}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}; torch {version('torch')}, Python {platform.python_version()}\n"
        f"lite: {sum(parameter.numel() for parameter in network.parameters()):,} parameters; "
        f"{arguments.side} x {arguments.side}, median of {arguments.repeats}"
    )
    image = np.random.default_rng(0).integers(0, 256, (arguments.side, arguments.side, 3), np.uint8)
    for precision in ("fp32", "bf16"):
        localizer = Localizer(network, device=device, precision=precision)
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].to(device).float().div(255)
        tensor = tensor.contiguous(memory_format=torch.channels_last)

        def forward(tensor: torch.Tensor = tensor, localizer: Localizer = localizer) -> None:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=localizer.precision == "bf16"):
                localizer.network(tensor)

        def localize(localizer: Localizer = localizer) -> None:
            localizer.localize(image)

        for name, run in (("network", forward), ("localizer", localize)):
            seconds = timed(run, device, arguments.repeats)
            print(
                f"{name:>9} {precision}: {image.shape[0] * image.shape[1] / 1e6 / seconds:7.2f} MP/s, {seconds:.3f} s"
            )


@torch.inference_mode()
def timed(run: Callable[[], None], device: torch.device, repeats: int) -> float:
    """Return the median time of a call in seconds."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
