"""`nclf kernels`: what the CUDA kernels find on this machine, and their machine code for machines without a network."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from nclforensics.cli.console import print_note, print_result, progress
from nclforensics.cli.options import QuietOption  # noqa: TC001 - read at run time
from nclforensics.reports.printable import printable

if TYPE_CHECKING:
    from nclforensics.ops.class_lse.inventory import GpuFacts, Inventory

INFO_EXAMPLES: Final = "Example: nclf kernels info --json"
BUILD_EXAMPLES: Final = (
    "Examples:\n\n"
    "nclf kernels build --arch sm_90 --out kernels/   (copy the folder to a machine without a network, and set "
    "NCLF_KERNEL_CACHE to it there)\n\n"
    "nclf kernels build --arch all   (fills this user's cache)"
)

kernels = typer.Typer(
    no_args_is_help=True,
    help="Show what the CUDA kernels of the contrastive loss find on this machine, or compile them for another one.",
)


@kernels.command(epilog=INFO_EXAMPLES, short_help="Say whether the CUDA kernels run here, and why not.")
def info(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of lines for readers.")] = False,
) -> None:
    """Say which backend would compute the patch pairs here, and why: GPUs, compiler and cache."""
    from nclforensics.ops.class_lse.inventory import take_inventory  # noqa: PLC0415 - torch loads only when needed

    inventory = take_inventory()
    if as_json:
        print_result(json.dumps(asdict(inventory), indent=2))
    else:
        print_result(printable_lines(inventory))


@kernels.command(epilog=BUILD_EXAMPLES, short_help="Compile the CUDA kernels for the GPUs named.")
def build(
    *,
    arch: Annotated[
        list[str], typer.Option("--arch", help="Architecture such as sm_90, or all; may be repeated.", metavar="SM")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to fill. Default: this user's cache.", metavar="DIR")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Compile the CUDA kernels for the GPUs named, which need not be here."""
    from nclforensics.ops.class_lse.inventory import (  # noqa: PLC0415 - torch loads only when needed
        all_modules,
        chosen_architectures,
    )
    from nclforensics.ops.class_lse.inventory import build as build_modules  # noqa: PLC0415 - as above

    architectures = chosen_architectures(arch)
    total = len(architectures) * len(list(all_modules()))
    entries = progress(build_modules(architectures, out), total=total, unit="module", quiet=quiet)
    compiled = 0
    for name, is_new in entries:
        compiled += is_new
        print_result(name)
    print_note(f"{compiled} modules compiled, {total - compiled} were there.", quiet=quiet)


def printable_lines(inventory: Inventory) -> str:
    """Return the inventory as lines of a name and a value."""
    nvrtc, folder = inventory.nvrtc, inventory.cache_folder
    rows = [
        ("torch", f"{inventory.torch}, built {_for_cuda(inventory.torch_cuda)}"),
        *((f"GPU {gpu.index}", _gpu(gpu)) for gpu in inventory.gpus),
        *([] if inventory.gpus else [("GPU", "none that PyTorch sees")]),
        ("cuda-bindings", inventory.cuda_bindings or "not installed"),
        ("NVRTC", f"{nvrtc.version}, {nvrtc.path}" if nvrtc else str(inventory.nvrtc_problem)),
        ("cache", f"{folder}, {'writable' if inventory.cache_writable else 'not writable'}" if folder else "none"),
        ("compiled", _architectures(inventory, whole=True)),
        ("not compiled", _architectures(inventory, whole=False)),
        ("forced", inventory.forced_backend or "nothing (NCLF_KERNEL_BACKEND is not set)"),
        ("used", _verdict(inventory)),
    ]
    return "\n".join(f"{name:<15}{printable(value)}" for name, value in rows)


def _for_cuda(version: str | None) -> str:
    return f"for CUDA {version}" if version else "without CUDA"


def _architectures(inventory: Inventory, *, whole: bool) -> str:
    """Return those of which the cache has all modules, or the others."""
    names = [name for name, count in inventory.compiled.items() if (count == inventory.modules) == whole]
    return ", ".join(names) or "none"


def _gpu(gpu: GpuFacts) -> str:
    outcome = "the kernels run" if gpu.obstacle is None else f"no kernels: {gpu.obstacle}"
    return f"{gpu.name}, compute capability {gpu.capability}; {outcome}"


def _verdict(inventory: Inventory) -> str:
    forced, can_run = inventory.forced_backend or "auto", any(gpu.obstacle is None for gpu in inventory.gpus)
    if forced not in ("auto", "torch", "cuda"):
        return "nothing: NCLF_KERNEL_BACKEND must be auto, torch or cuda"
    if forced == "torch":
        return "torch, because NCLF_KERNEL_BACKEND says so"
    if forced == "cuda" and can_run:
        return "the CUDA kernels, because NCLF_KERNEL_BACKEND says so; training on the CPU ends with an error"
    if can_run:
        return "the CUDA kernels in training with --precision bf16; torch, in float32, with fp32 and on the CPU"
    if forced == "cuda":
        return "nothing: NCLF_KERNEL_BACKEND asks for the kernels, and no GPU here can run them"
    return "torch, on every device: no GPU here can run the kernels"
