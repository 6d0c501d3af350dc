"""The contrastive loss of one branch: patches of one side together, patches of the two sides apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F

from nclforensics.errors import UsageError
from nclforensics.losses.ranks import ALONE
from nclforensics.ops.class_lse import class_counts, class_lse, class_similarity_sums, pair_softplus
from nclforensics.ops.class_lse.shares import shared_class_lse, shared_pair_softplus

if TYPE_CHECKING:
    from torch import Tensor

    from nclforensics.config import ContrastiveForm
    from nclforensics.losses.ranks import Ranks

AUTHENTIC, TAMPERED, CONTOUR, IGNORED = 0, 1, 2, -1
ContourSide = Literal["tampered", "authentic", "drop"]
_SIDE_ROLES = {"tampered": TAMPERED, "authentic": AUTHENTIC, "drop": IGNORED}


def contrastive_loss(
    embeddings: Tensor,
    roles: Tensor,
    *,
    contour: ContourSide,
    form: ContrastiveForm,
    tau: float,
    groups: Tensor | None = None,
    backend: str = "auto",
    ranks: Ranks = ALONE,
) -> Tensor:
    """Return the mean contrastive loss over the patches that have both a positive and a negative.

    With s_ij = z_i.z_j / tau, P(i) the other patches on the side of i and N(i) those on the other side:

        infonce    softplus( LSE_{n in N(i)} s_in - LSE_{p in P(i)} s_ip )
        supcon     log sum_{a != i} exp s_ia - mean_{p in P(i)} s_ip
        pixel      mean_{p in P(i)} softplus( LSE_{n in N(i)} s_in - s_ip )

    An authentic image compared within itself has no negatives, so that it adds nothing.

    Args:
        embeddings: z of one branch, shape (N, D), floating.
        roles: Shape (N,), int64: 0 authentic, 1 tampered, 2 contour, -1 ignored.
        contour: The side on which contour patches count, or "drop" to ignore them.
        form: One of the three above.
        tau: Temperature, > 0, no unit.
        groups: Shape (N,), int64: only patches of equal value are compared; None compares all.
        backend: See `nclforensics.ops.class_lse.resolve_backend`.
        ranks: The processes that share the batch, each with patches of its own. Without groups the patches of all are
            compared, each process computing its share of the pairs. Groups never reach into another process. Either
            way the mean is over the patches of all.

    Returns:
        A scalar, float32 (float64 for float64 embeddings), >= 0 for "infonce" and "pixel"; 0 with zero gradient when
        no patch has both a positive and a negative.

    Raises:
        ShapeError: If a shape does not fit.
        UsageError: If tau, a dtype, a role, `contour` or `form` is none of the above.

    Source: the forms are those of Khosla et al. 2020 (L_out) and Wang et al. 2021; which one NCL used is not public.
    """
    if contour not in get_args(ContourSide):
        raise UsageError(f'Expected contour to be "tampered", "authentic" or "drop", got "{contour}".')
    sides = roles.masked_fill(roles == CONTOUR, _SIDE_ROLES[contour])
    shared = ranks.count > 1 and groups is None
    if shared:
        embeddings, sides = ranks.gather(embeddings), ranks.gather(sides)
        lse = shared_class_lse(embeddings, sides, tau=tau, shares=ranks, backend=backend)
    else:
        lse = class_lse(embeddings, sides, tau=tau, groups=groups, backend=backend)
    counts = class_counts(sides, groups)
    own = sides.clamp(min=0)[:, None]
    num_positives, num_negatives = counts.gather(1, own).squeeze(1), counts.gather(1, 1 - own).squeeze(1)
    anchors = (num_positives > 0) & (num_negatives > 0)
    # Where a side is empty its LSE is -inf: replaced before any arithmetic, since -inf minus -inf has no gradient.
    positive = lse.gather(1, own).squeeze(1).where(anchors, 0)
    negative = lse.gather(1, 1 - own).squeeze(1).where(anchors, 0)
    shares = num_positives.clamp(min=1)
    if form == "infonce":
        losses = _softplus(negative - positive)
    elif form == "supcon":
        similarities = class_similarity_sums(embeddings, sides, tau=tau, groups=groups)
        losses = torch.logaddexp(positive, negative) - similarities.gather(1, own).squeeze(1) / shares
    elif form == "pixel" and shared:
        losses = shared_pair_softplus(embeddings, sides, negative, tau=tau, shares=ranks, backend=backend) / shares
    elif form == "pixel":
        losses = pair_softplus(embeddings, sides, negative, tau=tau, groups=groups, backend=backend) / shares
    else:
        raise UsageError(f'Expected form to be "infonce", "supcon" or "pixel", got "{form}".')
    total, number = losses.where(anchors, 0).sum(), anchors.sum()
    if not shared:  # every process has other anchors; otherwise all have the same
        total, number = ranks.total(total), ranks.add(number)
    return total / number.clamp(min=1)


def _softplus(margins: Tensor) -> Tensor:
    # F.softplus is the identity above 20, which is off by 2e-9; this one is exact.
    return -F.logsigmoid(-margins)
