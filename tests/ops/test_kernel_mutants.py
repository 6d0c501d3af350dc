"""Plants typical bugs in the CUDA sources, one at a time, and requires the emulated tests to notice each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

import pytest
import torch

from nclforensics.ops.class_lse import cuda_backend
from tests.ops.emulator.cases import check_lse, check_softplus, make_case, random_roles
from tests.ops.emulator.launcher import COMPILER, KERNELS, EmulatedLauncher, EmulationError

if TYPE_CHECKING:
    from pathlib import Path

    from nclforensics.ops.class_lse.launch import Launcher

pytestmark = pytest.mark.skipif(COMPILER is None, reason="the emulator of the CUDA kernels needs g++")

_SEEDS = 4


@dataclass(frozen=True)
class Mutant:
    """A bug: `before`, which occurs once in a source, becomes `after`."""

    bug: str
    source: str
    before: str
    after: str


MUTANTS = [
    Mutant("no barrier", "pairs.cuh", "    __syncthreads();\n", ""),
    Mutant(
        "barrier before the wait for the copies",
        "pairs.cuh",
        "    wait_copies<STAGES - 2>();\n    __syncthreads();\n",
        "    __syncthreads();\n    wait_copies<STAGES - 2>();\n",
    ),
    Mutant(
        "barrier after the next copies",
        "pairs.cuh",
        "    __syncthreads();\n    fetch(tile + STAGES - 1);\n",
        "    fetch(tile + STAGES - 1);\n    __syncthreads();\n",
    ),
    Mutant("no wait for the copies", "pairs.cuh", "    wait_copies<STAGES - 2>();\n", ""),
    Mutant("wait leaves one group too many", "pairs.cuh", "wait_copies<STAGES - 2>", "wait_copies<STAGES - 1>"),
    Mutant("copies without swizzle", "pairs.cuh", "(piece ^ key % 8) * 16", "piece * 16"),
    Mutant("ldmatrix swizzles by another key", "pairs.cuh", "(lane / 16 ^ lane % 8)", "(lane / 16 ^ lane % 4)"),
    Mutant("ldmatrix not transposed", "pairs.cuh", "load_matrices_transposed(keys", "load_matrices(keys"),
    Mutant(
        "mma operand registers swapped",
        "pairs.cuh",
        "pieces[block][step][1] = *reinterpret_cast<const u32*>(row + 16 * step + 8 * DIM);",
        "pieces[block][step][1] = *reinterpret_cast<const u32*>(row + 16 * step + 8);",
    ),
    Mutant(
        "stages overlap",
        "pairs.cuh",
        "STAGE_BYTES = KEY_TILE * (KEY_BYTES + 4 * VALUES)",
        "STAGE_BYTES = KEY_TILE * KEY_BYTES",
    ),
    Mutant("mask beside the diagonal", "pairs.cuh", "8 * (v / 2) == diagonal", "8 * (v / 2) == diagonal + 1"),
    Mutant("padding begins one key late", "pairs.cuh", "v % 2 >= end", "v % 2 > end"),
    Mutant("diagonal tile not masked", "pairs.cuh", "key < row + rows &&", "key < row &&"),
    Mutant(
        "part of the keys lost",
        "pairs.cuh",
        "last = start + count * static_cast<int>(blockIdx.y + 1)",
        "last = start + count * static_cast<int>(blockIdx.y)",
    ),
    Mutant("sum over half a row", "pairs.cuh", "return x + __shfl_xor_sync(0xffffffffu, x, 2);", "return x;"),
    Mutant(
        "diagonal kept",
        "class_lse.cu",
        "(mask.self(chunk, block, half, v) || mask.padding(chunk, half, v))",
        "mask.padding(chunk, half, v)",
    ),
    Mutant(
        "padding kept",
        "class_lse.cu",
        "(mask.self(chunk, block, half, v) || mask.padding(chunk, half, v))",
        "mask.self(chunk, block, half, v)",
    ),
    Mutant("only the diagonal tile masked", "class_lse.cu", "key + KEY_TILE > end || ", ""),
    Mutant("key's factor dropped", "class_lse.cu", " + (v % 2 ? factors.y : factors.x)", ""),
    Mutant("factors of another role", "class_lse.cu", "factors + own_role * num_rows", "factors"),
    Mutant(
        "groups meet",
        "class_lse.cu",
        "tiles(begins[group], begins[group + 3]);\n  KeyStream<FORWARD",
        "tiles(0, begins[segments]);\n  KeyStream<FORWARD",
    ),
    Mutant(
        "a role ends one tile late",
        "class_lse.cu",
        "const int end = ends[group + role], stop = min(tiles.last, begins[group + role + 1] / KEY_TILE)",
        "const int end = ends[group + role], stop = min(tiles.last, begins[group + role + 1] / KEY_TILE + 1)",
    ),
    Mutant(
        "scale dropped in the backward pass",
        "class_lse.cu",
        "half][v] * scale);\n          const bool left_out = MASKED && mask.self(chunk, block, half, v);",
        "half][v]);\n          const bool left_out = MASKED && mask.self(chunk, block, half, v);",
    ),
    Mutant("partial results lost", "pack.cu", "part < parts", "part < 1"),
    Mutant("last columns lost", "pack.cu", "2 * pair + 1 < dim", "2 * pair + 2 < dim"),
    Mutant(
        "partner's slope dropped",
        "pair_softplus.cu",
        "h * of_key + (v % 2 ? values.w : values.y) * of_row",
        "h * of_key",
    ),
    Mutant("slopes exchanged", "pair_softplus.cu", "0.0f : both * of_key", "0.0f : both * of_row"),
    Mutant("powers not bounded", "pair_softplus.cu", "min_keeping_nan(s - slopes.bias[block][v / 2], STEEPEST)", "s"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> EmulatedLauncher:
    """Return a launcher for the sources as they are, whose compiled files serve where a mutant changes nothing."""
    launcher = EmulatedLauncher(tmp_path_factory.mktemp("sound"))
    check(launcher)
    return launcher


@pytest.fixture(autouse=True)
def _memory() -> None:
    """Fill memory that nobody has written with NaN."""
    torch.use_deterministic_algorithms(True)


def check(launcher: Launcher) -> None:
    """Compare both operations with float64 where every part of the kernels matters.

    Two groups with ragged roles, cut into parts of one or two key tiles; and one role whose five tiles, the last of
    them ragged, come to one block in turn.
    """
    groups = torch.tensor([4, 9, 4]).repeat(67)
    cases = (make_case(random_roles(201), dim=62, groups=groups), 20), (make_case(torch.zeros(261).long()), 1)
    for check_operation in check_lse, check_softplus:
        for case, processors in cases:
            with mock.patch.object(cuda_backend, "_processors", return_value=processors):
                check_operation(case, launcher)


def test_sound_kernels_pass(sound: EmulatedLauncher) -> None:
    """The comparison that finds the bugs finds none in the sources as they are."""
    for sound.seed in range(_SEEDS):
        check(sound)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_bug_is_noticed(mutant: Mutant, sound: EmulatedLauncher, tmp_path: Path) -> None:
    """A kernel with this bug fails the comparison with float64 for at least one order of warps."""
    sources = tmp_path / "kernels"
    shutil.copytree(KERNELS, sources)
    text = (sources / mutant.source).read_text()
    assert text.count(mutant.before) == 1
    (sources / mutant.source).write_text(text.replace(mutant.before, mutant.after))
    untouched = {
        key: library
        for key, library in sound.libraries.items()
        if key[0] != mutant.source and (mutant.source.endswith(".cu") or key[0] == "pack.cu")
    }
    launcher = EmulatedLauncher(tmp_path, sources, libraries=untouched)
    for launcher.seed in range(_SEEDS):
        try:
            check(launcher)
        except (AssertionError, EmulationError):
            return
    pytest.fail(f"no seed shows the bug: {mutant.bug}")
