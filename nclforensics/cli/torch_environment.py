"""What PyTorch, NumPy and the libraries below them read from the environment when they are loaded."""

from __future__ import annotations

import os
from typing import Final

SETTINGS: Final = {
    # Threads that wait for each other sleep: spinning, they would take the cores from the stages beside the network,
    # and on a busy machine from the very thread that they wait for.
    "OMP_WAIT_POLICY": "passive",
    # But for the microseconds between two layers, which take less than to sleep and be woken (docs/performance.md).
    "GOMP_SPINCOUNT": "1000",
    # The same for NumPy's products: its threads would spin for 20 ms on the cores that the network needs next.
    "OPENBLAS_THREAD_TIMEOUT": "4",
    # The same bytes for any number of threads: on Intel processors MKL's sums otherwise follow it.
    "MKL_CBWR": "AUTO,STRICT",
    # The same on GPUs: without it NVIDIA's matrix products may differ from run to run, and PyTorch warns of each.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # Large pages for tensors: an image takes and returns gigabytes, and each page costs a fault.
    "THP_MEM_ALLOC_ENABLE": "1",
}


def prepare_torch() -> None:
    """Set what the user has not set; to be called before PyTorch and NumPy are imported."""
    chosen = {"GOMP_SPINCOUNT"} if "OMP_WAIT_POLICY" in os.environ else set()  # which the count would overrule
    for name, value in SETTINGS.items():
        if name not in chosen:
            os.environ.setdefault(name, value)
