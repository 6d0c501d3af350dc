"""Class-conditional log-sum-exp over all pairs of patches, and the sums that go with it.

Roles are 0 authentic, 1 tampered, 2 contour, -1 ignored. An ignored patch is nobody's partner and no anchor: whatever
its embedding holds, its row is -inf (or 0 for counts and sums) and its gradient 0. README.md derives the formulas.
"""

from __future__ import annotations

import math

import torch

from nclforensics.errors import ShapeError, UsageError
from nclforensics.ops.class_lse.autograd import class_lse_op, pair_softplus_op
from nclforensics.ops.class_lse.backend_choice import BACKEND_VARIABLE, Backend, resolve_backend
from nclforensics.ops.class_lse.statistics import role_counts, similarity_sums

__all__ = [
    "BACKEND_VARIABLE",
    "Backend",
    "class_counts",
    "class_lse",
    "class_similarity_sums",
    "pair_softplus",
    "resolve_backend",
]


def class_lse(
    embeddings: torch.Tensor,
    roles: torch.Tensor,
    *,
    tau: float,
    groups: torch.Tensor | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """Return the log-sum-exp of each patch's similarities to all other patches, separately for the three roles.

    L[i, c] = log sum_{j != i, roles_j = c, groups_j = groups_i} exp(z_i.z_j / tau), without storing the N x N pairs.

    Args:
        embeddings: z, shape (N, D), any floating dtype; unit norm is usual but not needed.
        roles: Shape (N,), int64, values -1, 0, 1, 2.
        tau: Temperature, > 0, no unit.
        groups: Shape (N,), int64: only patches with equal values are compared (the images of a batch); None compares
            all. Any values in any order; the cost is the sum of the squared group sizes.
        backend: "auto", "torch" or "cuda", see `resolve_backend`.

    Returns:
        Shape (N, 3), float32, or float64 for float64 input. A role without a partner gives -inf, with gradient 0.

    Raises:
        ShapeError: If a shape does not fit.
        UsageError: If tau, a dtype, a role or the backend's name is none of the above.
        DeviceUnavailableError: If the backend is asked for by name and cannot run here.

    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> class_lse(z, torch.tensor([0, 0, 1]), tau=0.5)[0]
    tensor([2., 0., -inf])
    """
    _check(embeddings, roles, groups, tau=tau)
    chosen = resolve_backend(backend, embeddings, tau=tau)
    lse: torch.Tensor = class_lse_op(_at_least_float32(embeddings), roles, groups, float(tau), chosen)
    return lse


def pair_softplus(
    embeddings: torch.Tensor,
    roles: torch.Tensor,
    bias: torch.Tensor,
    *,
    tau: float,
    groups: torch.Tensor | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """Return the sum over each patch's positives of softplus(bias_i - z_i.z_j / tau).

    U[i] = sum_{j != i, roles_j = roles_i, groups_j = groups_i} softplus(bias_i - z_i.z_j / tau), without storing the
    pairs; the gradient reaches the embeddings and the bias. The positives of a patch are the patches of its own role;
    merge roles beforehand where contour patches shall count as tampered or authentic.

    Args:
        embeddings: As in `class_lse`.
        roles: As in `class_lse`.
        bias: Shape (N,), floating.
        tau: Temperature, > 0, no unit.
        groups: As in `class_lse`.
        backend: As in `class_lse`.

    Returns:
        Shape (N,), float32, or float64 for float64 embeddings; 0 for a patch that is ignored or has no positive.

    Raises:
        ShapeError: If a shape does not fit.
        UsageError: If tau, a dtype, a role or the backend's name is not usable.
        DeviceUnavailableError: If the backend is asked for by name and cannot run here.
    """
    _check(embeddings, roles, groups, tau=tau)
    if bias.shape != roles.shape:
        raise ShapeError(f"Expected bias (N,) like roles {tuple(roles.shape)}, got {tuple(bias.shape)}.")
    chosen = resolve_backend(backend, embeddings, tau=tau)
    z = _at_least_float32(embeddings)
    sums: torch.Tensor = pair_softplus_op(z, roles, groups, bias.to(z.dtype), float(tau), chosen)
    return sums


def class_similarity_sums(
    embeddings: torch.Tensor, roles: torch.Tensor, *, tau: float, groups: torch.Tensor | None = None
) -> torch.Tensor:
    """Return T[i, c] = sum_{j != i, roles_j = c, groups_j = groups_i} z_i.z_j / tau, shape (N, 3).

    The sum over j is linear, so that it is one product with the sum of a role's embeddings: O(N * D) time.
    Arguments, dtypes and errors are those of `class_lse`; a role without a partner and an ignored patch give 0.
    """
    _check(embeddings, roles, groups, tau=tau)
    return similarity_sums(_at_least_float32(embeddings), roles, groups) / tau


def class_counts(roles: torch.Tensor, groups: torch.Tensor | None = None) -> torch.Tensor:
    """Return n[i, c], the number of patches j != i of role c in the group of i, shape (N, 3), int64.

    The row of an ignored patch is 0.

    >>> class_counts(torch.tensor([0, 0, 1, -1])).tolist()
    [[1, 1, 0], [1, 1, 0], [2, 0, 0], [0, 0, 0]]
    """
    return role_counts(roles, groups)


def _check(embeddings: torch.Tensor, roles: torch.Tensor, groups: torch.Tensor | None, *, tau: float) -> None:
    if embeddings.ndim != 2:  # noqa: PLR2004 - the rank of a matrix
        raise ShapeError(f"Expected embeddings (N, D), got {tuple(embeddings.shape)}.")
    for name, labels in (("roles", roles), ("groups", groups)):
        if labels is None:
            continue
        if labels.shape != embeddings.shape[:1]:
            raise ShapeError(
                f"Expected {name} (N,) for embeddings (N, D) = {tuple(embeddings.shape)}, got {tuple(labels.shape)}."
            )
        if labels.dtype != torch.int64:
            raise UsageError(f"Expected {name} of dtype int64, got {labels.dtype}.")
    if not embeddings.is_floating_point():
        raise UsageError(f"Expected embeddings of a floating dtype, got {embeddings.dtype}.")
    if not 0 < tau < math.inf:
        raise UsageError(f"Expected a temperature tau > 0, got {tau}.")


def _at_least_float32(embeddings: torch.Tensor) -> torch.Tensor:
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()
