"""The CUDA sources of the op, the kernels in them, and the tile shapes they are compiled for.

The tile shapes live here and reach the sources as -D defines, so that host and device cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Defines = tuple[tuple[str, int], ...]

# Rows of one block, and what every run of patches of one role is padded to.
ROW_TILE: Final = 128
_WARP: Final = 32
_MMA_ROWS: Final = 16


@dataclass(frozen=True)
class TileShape:
    """How the pair kernels are cut for one padded embedding width.

    Attributes:
        dim: Padded width of the embeddings, a multiple of 64.
        key_tile: Keys that a block reads at a time; divides ROW_TILE.
        stages: Key tiles in shared memory: one in use, the others on their way.
        forward_blocks: 16-row blocks that a warp owns in the forward kernels.
        backward_blocks: The same in the backward kernels, which also hold the rows' gradients in registers.
    """

    dim: int
    key_tile: int
    stages: int
    forward_blocks: int
    backward_blocks: int

    @property
    def defines(self) -> Defines:
        """The compile-time constants of the sources."""
        return (
            ("DIM", self.dim),
            ("ROW_TILE", ROW_TILE),
            ("KEY_TILE", self.key_tile),
            ("STAGES", self.stages),
            ("FORWARD_BLOCKS", self.forward_blocks),
            ("BACKWARD_BLOCKS", self.backward_blocks),
        )

    @property
    def forward_threads(self) -> int:
        """Threads of a forward block."""
        return ROW_TILE // (_MMA_ROWS * self.forward_blocks) * _WARP

    @property
    def backward_threads(self) -> int:
        """Threads of a backward block."""
        return ROW_TILE // (_MMA_ROWS * self.backward_blocks) * _WARP

    def shared_bytes(self, columns: int) -> int:
        """Return the dynamic shared memory of a block that streams `columns` float32 values beside every key."""
        return self.stages * self.key_tile * (2 * self.dim + 4 * columns)


# By padded width, ascending. A warp that owns two blocks uses every key fragment twice, which halves the reads of
# shared memory; at 256 the gradients of two blocks alone would fill all 255 registers of a thread.
TILE_SHAPES: Final = (
    TileShape(dim=64, key_tile=64, stages=2, forward_blocks=2, backward_blocks=2),
    TileShape(dim=128, key_tile=64, stages=2, forward_blocks=2, backward_blocks=2),
    TileShape(dim=256, key_tile=32, stages=2, forward_blocks=2, backward_blocks=1),
)


@dataclass(frozen=True)
class KernelModule:
    """One source file of `kernels/` and the ways it is compiled.

    Attributes:
        source: File name; it includes .cuh files of the same folder by name.
        kernels: Names of its `extern "C"` kernels.
        defines: The sets of compile-time constants it is built with; each makes one module.
    """

    source: str
    kernels: tuple[str, ...]
    defines: tuple[Defines, ...]


_SHAPED: Final = tuple(shape.defines for shape in TILE_SHAPES)

KERNEL_MODULES: Final[tuple[KernelModule, ...]] = (
    KernelModule("pack.cu", ("pack_embeddings", "pack_values", "unpack_rows"), ((),)),
    KernelModule("class_lse.cu", ("class_lse_forward", "class_lse_backward"), _SHAPED),
    KernelModule("pair_softplus.cu", ("pair_softplus_forward", "pair_softplus_backward"), _SHAPED),
)
