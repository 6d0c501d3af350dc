"""How fast the log-sum-exp over all pairs of patches is, beside other ways to compute it.

    python benchmarks/pair_similarity.py [--device cuda] [--out build/pair_similarity] [--minutes 6]

Writes one table (Markdown, CSV and JSON, with device, versions and date) and one plot, and prints the table. TFLOP/s is
2 N^2 D (forward) or 6 N^2 D (forward and backward: the pairs, and both gradients by one product) over the median time,
whatever a contender really computes; "peak" is a bfloat16 product of 8192 x 8192 matrices measured here, on a CPU a
float32 one of 2048 x 2048. Memory is what is allocated beside the embeddings. Running out of memory is a row, and so is
every contender that this machine does not have.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import functools
import importlib.util
import json
import platform
import statistics
import time
from dataclasses import asdict, astuple, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from nclforensics.ops.class_lse import class_lse
from nclforensics.ops.class_lse.backend_choice import device_obstacle
from nclforensics.pipelines.device import processor_name

if TYPE_CHECKING:
    from collections.abc import Callable

TAU = 0.1
NUM_ROLES = 3
GPU_COUNTS, CPU_COUNTS = (4096, 8192, 16384, 32768, 65536, 131072), (1024, 2048, 4096)
WIDTHS = (64, 128, 256)
WARM_UPS, FEWEST, MOST = 3, 5, 50  # timed runs of a cell: as many as its time allows, within these bounds
PLOTTED_WIDTH = 128


@dataclass(frozen=True)
class Contender:
    """One way to compute.

    Attributes:
        name: In the table.
        start: Given embeddings and roles, returns the function from embeddings to a scalar that is timed.
        obstacle: Given the device, returns why it cannot run there, or None.
        note: What a reader must know to compare.
    """

    name: str
    start: Callable[[torch.Tensor, torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]
    obstacle: Callable[[torch.device], str | None]
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table; the figures are None where `note` says why."""

    contender: str
    patches: int | None
    width: int | None
    direction: str
    milliseconds: float | None = None
    runs: int | None = None
    tflops: float | None = None
    share_of_peak: float | None = None
    peak_mib: float | None = None
    note: str = ""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("build/pair_similarity"), help="folder for table and plot")
    parser.add_argument("--counts", type=int, nargs="*", help="numbers of patches")
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS, help="lengths of an embedding")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="contenders whose name begins so")
    parser.add_argument("--seconds", type=float, default=0.5, help="timed runs of one cell take about this long")
    parser.add_argument("--minutes", type=float, default=6.0, help="what is not measured by then is a row that says so")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --device cpu measures the part that needs none.")
    counts = arguments.counts or (GPU_COUNTS if device.type == "cuda" else CPU_COUNTS)
    contenders = [c for c in CONTENDERS if not arguments.only or c.name.startswith(tuple(arguments.only))]
    peak, facts = matmul_tflops(device), facts_of(device)
    limits = peak, arguments.seconds, time.monotonic() + 60 * arguments.minutes
    obstacles = {contender.name: contender.obstacle(device) for contender in contenders}
    rows = [Row(name, None, None, "", note=obstacle) for name, obstacle in obstacles.items() if obstacle]
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out, rows, markdown(rows, facts, peak), {**facts, "matmul_tflops": peak})
    # The plotted width of every contender first: if the time is used up, it is the other widths that are missing.
    for width in sorted(arguments.widths, key=lambda width: width != PLOTTED_WIDTH):
        for contender in contenders:
            if not obstacles[contender.name]:
                for count in counts:
                    rows += measured(contender, count, width, device, limits)
                # Again and again: what is measured stays, should a later contender hang or take the process with it.
                write(arguments.out, rows, markdown(rows, facts, peak), {**facts, "matmul_tflops": peak})
    print(markdown(rows, facts, peak))


def measured(
    contender: Contender, count: int, width: int, device: torch.device, limits: tuple[float, float, float]
) -> list[Row]:
    """Return the rows of one contender, number of patches and width: forward, and forward with backward."""
    peak, seconds, deadline = limits
    generator = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(count, width, generator=generator), dim=1).to(device)
    roles = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), count, replacement=True, generator=generator).to(device)
    rows = []
    for direction, products in (("forward", 2), ("both", 6)):
        row = Row(contender.name, count, width, direction, note=contender.note)
        if time.monotonic() > deadline:
            rows.append(replace(row, note="not measured: the time was used up"))
            continue
        try:
            run = timed_call(contender.start(z, roles), z, backward=direction == "both")
            times, memory = timed(run, device, seconds)
        except torch.cuda.OutOfMemoryError:
            rows.append(replace(row, note="out of memory"))
        except Exception as error:  # noqa: BLE001 - a contender that fails is a result, and others go on
            rows.append(replace(row, note=f"failed: {type(error).__name__}: {str(error)[:160]}"))
        else:
            median = statistics.median(times)
            tflops = products * count**2 * width / median / 1e12
            figures = replace(row, milliseconds=1e3 * median, runs=len(times), tflops=tflops, peak_mib=memory)
            rows.append(replace(figures, share_of_peak=tflops / peak))
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return rows


def timed_call(
    compute: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor, *, backward: bool
) -> Callable[[], None]:
    """Return the function that is timed."""

    def forward() -> None:
        with torch.no_grad():
            compute(z)

    def forward_and_backward() -> None:
        leaf = z.detach().requires_grad_()
        torch.autograd.grad(compute(leaf), leaf)

    return forward_and_backward if backward else forward


def timed(run: Callable[[], None], device: torch.device, seconds: float) -> tuple[list[float], float | None]:
    """Return the times of the runs in seconds, and the most MiB allocated during one (None on a CPU)."""
    if device.type == "cpu":
        number = _number_of_runs(run, device, seconds)
        return [_clocked(run, device) for _ in range(number)], None
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()  # loads or compiles
    number = _number_of_runs(run, device, seconds)
    memory = (torch.cuda.max_memory_allocated(device) - before) / 2**20
    events = [(_event(), _event()) for _ in range(number)]
    for start, end in events:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize(device)
    return [start.elapsed_time(end) / 1e3 for start, end in events], memory


def _number_of_runs(run: Callable[[], None], device: torch.device, seconds: float) -> int:
    """Warm up, and return how many runs fit into the time."""
    spent: list[float] = []
    while len(spent) < WARM_UPS and sum(spent) < seconds:
        spent.append(_clocked(run, device))
    return max(FEWEST, min(MOST, int(seconds / max(min(spent), 1e-6))))


def _clocked(run: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch ships it so


def matmul_tflops(device: torch.device) -> float:
    """Return the rate of a large matrix product here."""
    side, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (2048, torch.float32)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def multiply() -> None:
        torch.matmul(a, b)

    times, _ = timed(multiply, device, 1.0)
    return 2 * side**3 / statistics.median(times) / 1e12


def _op(backend: str) -> Callable[[torch.Tensor, torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
    def start(_: torch.Tensor, roles: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda z: class_lse(z, roles, tau=TAU, backend=backend).sum()

    return start


def _dense(dtype: torch.dtype) -> Callable[[torch.Tensor, torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
    return lambda _, roles: lambda z: dense_sum(z, roles, dtype)


def dense_sum(z: torch.Tensor, roles: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the formula as it is written: all pairs at once, three masked log-sum-exps."""
    pairs = z.to(dtype) @ z.to(dtype).T / TAU
    pairs = pairs.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    columns = [pairs.masked_fill(roles != role, -torch.inf).logsumexp(1) for role in range(NUM_ROLES)]
    return torch.stack(columns).float().sum()


@functools.cache
def _compiled(function: Callable[..., Any], _width: int) -> Callable[..., Any]:
    """Return the function compiled, once a width; sizes that change then become variables of one graph.

    With fullgraph, giving up on compiling is an error and not a silent eager run under the compiler's name.
    """
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True)


def _compiled_dense(z: torch.Tensor, roles: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    compute = _compiled(dense_sum, z.shape[1])
    return lambda z: compute(z, roles, torch.bfloat16)


def _flex(z: torch.Tensor, roles: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """One FlexAttention a role, for its log-sum-exp; its output, which nobody needs, is 16 numbers wide."""
    from torch.nn.attention.flex_attention import AuxRequest, flex_attention  # noqa: PLC0415 - one contender's own

    attend = _compiled(flex_attention, z.shape[1])
    partners = [(roles == role).nonzero().flatten() for role in range(NUM_ROLES)]

    def apart_from(own: torch.Tensor) -> Callable[..., torch.Tensor]:
        def apart(score: torch.Tensor, _b: Any, _h: Any, query: Any, key: Any) -> torch.Tensor:  # noqa: ANN401 - FlexAttention's protocol
            return torch.where(own[key] == query, -torch.inf, score)

        return apart

    masks = [apart_from(own) for own in partners]

    def compute(z: torch.Tensor) -> torch.Tensor:
        queries, total = z.bfloat16()[None, None], z.new_zeros(())
        for own, mask in zip(partners, masks, strict=True):
            keys, aux = queries[:, :, own], AuxRequest(lse=True)
            _, found = attend(queries, keys, keys[..., :16], score_mod=mask, scale=1 / TAU, return_aux=aux)
            total = total + found.lse.sum()
        return total

    return compute


def _inf_cl(_: torch.Tensor, __: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    from inf_cl import cal_flash_loss  # type: ignore[import-not-found]  # noqa: PLC0415 - one contender's own

    def compute(z: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = cal_flash_loss(z, z, scale=1 / TAU, head_dim=z.shape[1]).sum()
        return loss

    return compute


def _anywhere(_: torch.device) -> None:
    return None


def _gpu_only(device: torch.device) -> str | None:
    return None if device.type == "cuda" else "needs an NVIDIA GPU"


def _needs_inf_cl(device: torch.device) -> str | None:
    if device.type == "cuda" and importlib.util.find_spec("inf_cl") is None:
        return "inf-cl is not installed (pip install inf-cl)"
    return _gpu_only(device)


# Ours first: if the time is used up, it is others that are missing.
CONTENDERS = (
    Contender("kernels", _op("cuda"), device_obstacle, "bf16 products, fp32 sums"),
    Contender("chunked torch", _op("torch"), _anywhere, "fp32"),
    Contender("dense fp32", _dense(torch.float32), _anywhere, "fp32"),
    Contender("dense bf16", _dense(torch.bfloat16), _gpu_only, "bf16, pairs too"),
    Contender("inf-cl", _inf_cl, _needs_inf_cl, "tf32; no roles, own pair counts"),
    Contender("compiled dense bf16", _compiled_dense, _gpu_only, "bf16, pairs too"),
    Contender("FlexAttention", _flex, _gpu_only, "bf16; three calls"),
)


def facts_of(device: torch.device) -> dict[str, str]:
    """Return what the figures depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    packages = ("nclforensics", "torch", "triton", "cuda-bindings", "nvidia-cuda-nvrtc", "inf-cl")
    found = {package: _installed(package) for package in packages}
    return {
        "device": name,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "torch threads": str(torch.get_num_threads()) if device.type == "cpu" else "",
        "CUDA of torch": str(torch.version.cuda),
        "Python": platform.python_version(),
        **{package: number for package, number in found.items() if number},
    }


def _installed(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""


def markdown(rows: list[Row], facts: dict[str, str], peak: float) -> str:
    """Return facts and rows for readers."""
    lines = [
        "# Log-sum-exp over all pairs of patches",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items() if value),
        f"measured matrix product: {peak:.3g} TFLOP/s; tau {TAU}; roles 70, 20 and 10 %; median of the runs",
        "",
        "| contender | N | D | pass | ms | runs | TFLOP/s | of peak | MiB | note |",
        "|---|--:|--:|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        cells = (
            row.contender,
            row.patches,
            row.width,
            row.direction,
            _figure(row.milliseconds, ".3f"),
            row.runs,
            _figure(row.tflops, ".3g"),
            _figure(row.share_of_peak, ".1%"),
            _figure(row.peak_mib, ".1f"),
            row.note.replace("|", "/").replace("\n", " "),
        )
        lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def write(folder: Path, rows: list[Row], table: str, facts: dict[str, Any]) -> None:
    """Write the table in three forms, and the plot."""
    (folder / "pair_similarity.md").write_text(table, encoding="utf-8")
    document = {"facts": facts, "rows": [asdict(row) for row in rows]}
    (folder / "pair_similarity.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    with (folder / "pair_similarity.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(astuple(row) for row in rows)
    plot(folder / "pair_similarity.png", rows, facts)


def plot(path: Path, rows: list[Row], facts: dict[str, Any]) -> None:
    """Draw time against the number of patches at the width of 128, or at the first that was measured."""
    import matplotlib as mpl  # noqa: PLC0415 - only the plot needs it
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    mpl.use("agg")
    done = [row for row in rows if row.milliseconds is not None]
    widths = {row.width for row in done if row.width is not None}
    if not widths:
        return
    width = PLOTTED_WIDTH if PLOTTED_WIDTH in widths else min(widths)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, direction in zip(figure.subplots(1, 2, sharey=True), ("forward", "both"), strict=True):
        for name in dict.fromkeys(row.contender for row in done):
            mine = [row for row in done if (row.contender, row.width, row.direction) == (name, width, direction)]
            points = [(row.patches, row.milliseconds) for row in mine]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(title="forward" if direction == "forward" else "forward and backward", xlabel="patches N")
        axes.grid(visible=True, which="major", alpha=0.3)
    figure.axes[0].set_ylabel(f"median time in ms, D = {width}")
    figure.axes[1].legend()
    figure.suptitle(f"{facts['device']}, torch {facts['torch']}, {facts['date']}")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
