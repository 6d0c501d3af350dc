"""What computes score maps fastest on a CPU, and by how much their scores differ.

    python benchmarks/inference.py [--megapixels 1 12] [--seconds 300] [--threads N] [--weights NAME|DIR]

Every engine gets the same photo as uint8 pixels and returns the network's score map, without the copy matcher, the
search for the JPEG grid and the one for blown-out highlights. "at once fp32" is the network as it was trained, layer
by layer on the whole photo; "Localizer" is what `nclf scan` computes with, in strips; the engines called "whole" hold
whole maps too. All engines take turns, round after round, so that a machine that is busy for a while slows all of
them: the ratio is the median over the rounds of the seconds of "at once fp32" over an engine's own. Engines that are
not installed are named with the reason. Last, `nclf scan` of one 24-megapixel JPEG runs in a process of its own, for
its peak of resident memory. No round is begun after --seconds; one is always made.
"""

# ruff: noqa: E402 - the environment comes before the imports that read it
from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nclforensics.cli.torch_environment import prepare_torch

prepare_torch()  # before torch and NumPy are loaded, as the command does

import cv2
import numpy as np
import torch

from nclforensics.networks.fused import fold_batch_norms
from nclforensics.networks.weights import load_model
from nclforensics.pipelines.device import processor_name
from nclforensics.pipelines.export import WholeImage, onnx_bytes
from nclforensics.pipelines.inference import Localizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nclforensics.networks.weights import LoadedModel

    Engine = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

CPU = torch.device("cpu")
BASELINE = "at once fp32"
PACKAGES = ("torch", "onnxruntime", "openvino")
# Runs a command and prints seconds, kilobytes resident at most, and exit code.
MEASURE = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[1:])
seconds = time.perf_counter() - started
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code]))
"""


@dataclass
class Measured:
    """The seconds of an engine's first call and of each round, and its scores' largest difference from the baseline."""

    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    difference: float = 0.0


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1.0, 12.0], help="sizes of the photo")
    parser.add_argument("--seconds", type=float, default=300.0, help="when no further round is begun")
    parser.add_argument("--threads", type=int, default=max(2, os.cpu_count() or 2), help="threads of each engine")
    parser.add_argument("--weights", help="a model, as for nclf scan")
    parser.add_argument("--no-memory", action="store_true", help="leave out the scan of 24 megapixels")
    arguments = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.weights)
    model.network.copy_matcher = model.network.block_grid = False  # no parts of the network
    model.network.calibrated_pixels = 0  # nor is what leaves blown-out highlights out of large photos
    print_origin(model, arguments.threads)
    engines = make_engines(model, arguments.threads)
    for index, megapixels in enumerate(arguments.megapixels, start=1):
        # Small sizes need few seconds: they get an equal part of what is left, and leave most of it to the next.
        left = arguments.seconds - (time.perf_counter() - started)
        limit = left / (len(arguments.megapixels) - index + 1) / (4 if index < len(arguments.megapixels) else 1)
        measured = run_rounds(engines, make_photo(megapixels), seconds=limit)
        if index == 1:  # engines that fail do so before
            print("\n| engine | megapixels | MP/s | ratio | rounds | first call, s | largest score difference |")
            print("|---|---|---|---|---|---|---|")
        print_rows(measured, megapixels)
    if not arguments.no_memory:
        print(f"\n{scan_memory(arguments.weights)}\n{scan_memory(arguments.weights, reduced=0.8)}")


def print_origin(model: LoadedModel, threads: int) -> None:
    """Print the machine, the versions, the model and the date."""
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {processor_name()}, {threads} threads of {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, "
        f"{', '.join(f'{package} {installed(package)}' for package in PACKAGES)}; {model.name} {model.sha256[:12]}"
    )


def make_engines(model: LoadedModel, threads: int) -> dict[str, Engine]:
    """Return the engines that this machine has; the others are printed with the reason."""
    makers: dict[str, Callable[[], Engine]] = {
        BASELINE: lambda: at_once(model),
        "Localizer fp32": lambda: Localizer(model.network, device=CPU).localize,
        "Localizer bf16": lambda: Localizer(model.network, device=CPU, precision="bf16").localize,
        "torch.compile, whole": lambda: compiled(model),
        "onnxruntime, whole": lambda: with_onnxruntime(onnx_bytes(model), threads),
        "OpenVINO fp32, whole": lambda: with_openvino(onnx_bytes(model), threads, "f32"),
        "OpenVINO bf16, whole": lambda: with_openvino(onnx_bytes(model), threads, "bf16"),
    }
    engines: dict[str, Engine] = {}
    for name, make in makers.items():
        try:
            engines[name] = make()
        except Exception as error:  # noqa: BLE001 - whatever an engine cannot do here is its line of the report
            print_failure(name, error)
    return engines


def print_failure(name: str, error: Exception) -> None:
    """Say why an engine has no rows."""
    print(f"{name}: not measured, {type(error).__name__}: {str(error).splitlines()[0][:120]}")


def at_once(model: LoadedModel) -> Engine:
    """Return the network as it is built, each layer on the whole image."""
    network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return of_module(WholeImage(network).eval())


def compiled(model: LoadedModel) -> Engine:
    """Return the folded network compiled by TorchInductor for images of any size."""
    network = fold_batch_norms(model.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return of_module(torch.compile(WholeImage(network).eval(), dynamic=True))


def of_module(module: Callable[[torch.Tensor], torch.Tensor]) -> Engine:
    """Return a module that maps an image (1, H, W, 3) to its scores as an engine."""

    def localize(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            scores: NDArray[np.float32] = module(torch.from_numpy(image)[None]).numpy()
        return scores

    return localize


def with_onnxruntime(content: bytes, threads: int) -> Engine:
    """Return the exported model in onnxruntime."""
    import onnxruntime  # noqa: PLC0415 - an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda image: np.asarray(session.run(None, {"image": image[None]})[0])


def with_openvino(content: bytes, threads: int, precision: str) -> Engine:
    """Return the exported model in OpenVINO."""
    import openvino  # noqa: PLC0415 - not a dependency

    core: Any = openvino.Core()
    properties = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    network = core.compile_model(core.read_model(content), "CPU", properties)
    return lambda image: np.asarray(network([image[None]])[0])


def run_rounds(engines: dict[str, Engine], image: NDArray[np.uint8], *, seconds: float) -> dict[str, Measured]:
    """Return what each engine took, round after round; no round is begun that is likely to end too late.

    The first call is counted apart: in it, torch.compile compiles for this size. An engine that fails in it is taken
    out of `engines`.
    """
    measured = {}
    for name, engine in list(engines.items()):
        try:
            measured[name] = Measured(first=timed(engine, image)[0])
        except Exception as error:  # noqa: BLE001 - as in make_engines
            print_failure(name, error)
            del engines[name]
    began, rounds = time.perf_counter(), 0
    while rounds == 0 or (time.perf_counter() - began) * (rounds + 1) / rounds < seconds:
        expected = None
        for name, engine in engines.items():
            seconds_taken, scores = timed(engine, image)
            measured[name].seconds.append(seconds_taken)
            expected = scores if expected is None else expected  # the baseline comes first
            measured[name].difference = float(np.abs(scores - expected).max())
        rounds += 1
    return measured


def timed(engine: Engine, image: NDArray[np.uint8]) -> tuple[float, NDArray[np.float32]]:
    """Return the seconds that an engine took, and its scores."""
    started = time.perf_counter()
    scores = engine(image)
    return time.perf_counter() - started, scores


def print_rows(measured: dict[str, Measured], megapixels: float) -> None:
    """Print the rows of one size."""
    for name, figures in measured.items():
        ratio = statistics.median(
            base / own for base, own in zip(measured[BASELINE].seconds, figures.seconds, strict=True)
        )
        print(
            f"| {name} | {megapixels:g} | {megapixels / statistics.median(figures.seconds):.2f} | {ratio:.2f} "
            f"| {len(figures.seconds)} | {figures.first:.1f} | {figures.difference:.1e} |",
            flush=True,
        )


def make_photo(megapixels: float) -> NDArray[np.uint8]:
    """Return smooth noise with grain, 4:3, through a JPEG of quality 90."""
    decoded = np.asarray(cv2.imdecode(make_jpeg(megapixels), cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[:, :, ::-1])


def make_jpeg(megapixels: float) -> NDArray[np.uint8]:
    """Return the bytes of that JPEG."""
    generator = np.random.default_rng(0)
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    coarse = generator.integers(0, 256, (9, 12, 3)).astype(np.float32)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels += generator.normal(0, 6, (height, width, 3)).astype(np.float32)
    return np.asarray(cv2.imencode(".jpg", pixels.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def scan_memory(weights: str | None, megapixels: float = 24.0, *, reduced: float = 1.0) -> str:
    """Return, in words, the time and the peak of resident memory of scanning one photo; decoding is another process.

    A photo that was reduced, by less than 1, and then saved as a PNG is analysed at the size that it had before.
    """
    with tempfile.TemporaryDirectory(prefix="nclf-benchmark-") as folder:
        photo = Path(folder) / ("photo.jpg" if reduced == 1 else "photo.png")
        content = make_jpeg(megapixels / reduced**2)
        if reduced != 1:
            before = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))
            pixels = cv2.resize(before, None, fx=reduced, fy=reduced, interpolation=cv2.INTER_AREA)
            content = cv2.imencode(".png", pixels)[1]
        photo.write_bytes(content.tobytes())
        command = [sys.executable, "-m", "nclforensics", "scan", str(photo), "--out", f"{folder}/out", "--quiet"]
        command += ["--overlay", "--device", "cpu", *(["--weights", weights] if weights else [])]
        # A process of its own starts the scan: the kernel counts what a parent held when it forked as the child's peak.
        measured = subprocess.run([sys.executable, "-c", MEASURE, *command], check=True, stdout=subprocess.PIPE)  # noqa: S603
    seconds, kilobytes, code = json.loads(measured.stdout)
    return (
        f"nclf scan of one {photo.suffix[1:].upper()} of {megapixels:g} megapixels"
        f"{'' if reduced == 1 else f', reduced to {reduced:g} before'}, with overlay: {seconds:.1f} s with start-up, "
        f"{kilobytes / 1024:.0f} MB resident at most, exit code {code}"
    )


def installed(package: str) -> str:
    """Return the version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
