"""A small run of every kernel on the GPU, for compute-sanitizer; started by test_gpu.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nclforensics.ops.class_lse import class_lse, pair_softplus

WIDTHS = (64, 128, 250)
COUNT = 300


def main() -> None:
    """Run both operations forward and backward at the widths of all modules, with and without groups."""
    generator = torch.Generator().manual_seed(0)
    for width in WIDTHS:
        for num_groups in (0, 3):
            z = F.normalize(torch.randn(COUNT, width, generator=generator), dim=1).cuda().requires_grad_()
            roles = torch.randint(-1, 3, (COUNT,), generator=generator).cuda()
            groups = torch.randint(num_groups, (COUNT,), generator=generator).cuda() if num_groups else None
            lse = class_lse(z, roles, tau=0.1, groups=groups, backend="cuda")
            soft = pair_softplus(z, roles, z[:, 0], tau=0.1, groups=groups, backend="cuda")
            torch.autograd.backward(lse.where(lse.isfinite(), 0).sum() + soft.sum())
    torch.cuda.synchronize()
    print("sanitized run complete")  # noqa: T201 - what the test looks for


if __name__ == "__main__":
    main()
