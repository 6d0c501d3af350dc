"""Megapixels a second of the default model beside the learned methods on PyPI (IMDL-BenCo's models), side by side.

    pip install torch==2.14.1 torchvision==0.29.1 timm fvcore albumentations scikit-learn
    pip install --no-deps imdlbenco && pip install . && python benchmarks/learned_speed.py [--side 512] [--rounds 5]

Every network gets the same square in fp32 on the CPU, all take turns, and the ratio is the median over the rounds of
its seconds over ours. Their weights are random, since they are not on PyPI: that does not change the work. The loss
that IMDL-BenCo's models compute in each call is a small part of their time. Ours is timed twice, as `nclf scan`
computes: the network alone, and with the copy matcher, on a square like a photo, since the matcher's work depends on
the content. A method that cannot be built here is a line that says why.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import statistics
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

from nclforensics.cli.torch_environment import prepare_torch

prepare_torch()  # before torch is loaded, as the command does

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from nclforensics.networks.weights import load_model  # noqa: E402
from nclforensics.pipelines.device import processor_name  # noqa: E402
from nclforensics.pipelines.inference import Localizer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Method = Callable[[], object]

CPU: Final = torch.device("cpu")
OURS: Final = "network of the default model"
# Of `IMDLBenCo.model_zoo`: arguments that build it without a download, for a square of that side.
LEARNED: Final[dict[str, Callable[[int], dict[str, Any]]]] = {
    "MantraNet": lambda _side: {},
    "MVSSNet": lambda _side: {"pretrained_base": False},
    "PSCC_Net": lambda side: {"input_size": side},
    "Mesorch": lambda _side: {},
    "SparseViT": lambda side: {"img_size": side},
    "IML_ViT": lambda side: {"input_size": side},
}


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="of the square in pixels, a multiple of 32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=max(2, os.cpu_count() or 2))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {processor_name()}, {arguments.threads} threads, "
        f"load {os.getloadavg()[0]:.1f}; torch {version('torch')}; {arguments.side} x {arguments.side}, fp32"
    )
    methods = {**ours(arguments.side), **learned(arguments.side)}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(arguments.rounds):
        for name, method in methods.items():
            started = time.perf_counter()
            method()
            seconds[name].append(time.perf_counter() - started)
    print("\n| method | MP/s | seconds, times ours |\n|---|---|---|")
    for name, own in seconds.items():
        ratio = statistics.median(theirs / base for theirs, base in zip(own, seconds[OURS], strict=True))
        print(f"| {name} | {arguments.side**2 / 1e6 / statistics.median(own):.3f} | {ratio:.2f} |")


def ours(side: int) -> dict[str, Method]:
    """Return the default model's network, and the same with the matcher."""
    square = make_square(side)
    alone, joined = (Localizer(load_model().network, device=CPU) for _ in range(2))
    alone.network.copy_matcher = False
    for localizer in (alone, joined):
        localizer.localize(square)
    return {OURS: lambda: alone.localize(square), "the same with the copy matcher": lambda: joined.localize(square)}


def make_square(side: int) -> NDArray[np.uint8]:
    """Return smooth noise with grain, uint8 (side, side, 3)."""
    rng = np.random.default_rng(0)
    pixels = cv2.resize(rng.integers(0, 256, (9, 9, 3)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray((pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255), np.uint8)


def learned(side: int) -> dict[str, Method]:
    """Return those that this machine can build, warmed up; the others are printed with the reason."""
    methods: dict[str, Method] = {}
    for name, arguments in LEARNED.items():
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                methods[name] = forward(name, arguments(side), side)
                methods[name]()
        except Exception as error:  # noqa: BLE001 - whatever it cannot do here is its line of the report
            methods.pop(name, None)
            print(f"{name}: not measured, {type(error).__name__}: {(str(error) or '-').splitlines()[0][:120]}")
    return methods


def forward(name: str, arguments: dict[str, Any], side: int) -> Method:
    """Return one call of a model, on an image, a mask and a label as its own tests give it."""
    with without_downloads():
        network = getattr(importlib.import_module("IMDLBenCo.model_zoo"), name)(**arguments).eval()
    image, mask, label = torch.rand(1, 3, side, side), torch.zeros(1, 1, side, side), torch.zeros(1)

    def call() -> object:
        with torch.inference_mode():
            return network(image=image, mask=mask, edge_mask=mask, label=label, shape=torch.tensor([[side, side]]))

    return call


@contextlib.contextmanager
def without_downloads() -> Iterator[None]:
    """Let pre-trained weights that a model asks for be an empty dictionary: nothing is fetched."""
    load = torch.nn.Module.load_state_dict

    def load_what_is_there(module: torch.nn.Module, state: dict[str, Any], *rest: Any, **options: Any) -> object:  # noqa: ANN401 - as torch's
        return load(module, state, *rest, **options) if state else None

    with (
        mock.patch("torch.utils.model_zoo.load_url", return_value={}),
        mock.patch.object(torch.nn.Module, "load_state_dict", load_what_is_there),
    ):
        yield


if __name__ == "__main__":
    main()
