"""The pivot-consistent loss: both branches must see the same thing at a contour patch."""

from __future__ import annotations

import torch

from nclforensics.errors import ShapeError

# Shorter vectors have no direction worth following: the gradient of the cosine grows as 1 / norm, and after a ReLU a
# patch's features can be almost dead. With 1e-6 one such patch made a whole training run diverge.
_MIN_NORM = 1e-2


def pivot_consistency_loss(features_plus: torch.Tensor, features_minus: torch.Tensor) -> torch.Tensor:
    """Return the mean over contour patches of 1 - cos(u+_i, u-_i); both branches receive the gradient.

    An image without contour patches, so every authentic one, adds nothing.

    Args:
        features_plus: Spatial features of branch plus at the contour patches, shape (C, F), floating.
        features_minus: Those of branch minus at the same patches, same shape.

    Returns:
        A scalar in [0, 2], float32 (float64 for float64 input); 0 with zero gradient for C = 0. A vector shorter than
        0.01 has cosine 0 with everything, with zero gradient.

    Raises:
        ShapeError: If a tensor is not two-dimensional or the shapes differ.
    """
    if features_plus.ndim != 2 or features_plus.shape != features_minus.shape:  # noqa: PLR2004 - the rank of a matrix
        raise ShapeError(
            f"Expected features of both branches as (C, F), got {tuple(features_plus.shape)} and "
            f"{tuple(features_minus.shape)}."
        )
    plus, minus = _at_least_float32(features_plus), _at_least_float32(features_minus)
    squares_plus, squares_minus = (plus * plus).sum(1), (minus * minus).sum(1)
    defined = (squares_plus > _MIN_NORM**2) & (squares_minus > _MIN_NORM**2)
    inverse_norms = squares_plus.where(defined, 1).rsqrt() * squares_minus.where(defined, 1).rsqrt()
    cosines = ((plus * minus).sum(1) * inverse_norms).where(defined, 0)
    return (1 - cosines).sum() / max(len(cosines), 1)


def _at_least_float32(features: torch.Tensor) -> torch.Tensor:
    return features if features.dtype == torch.float64 else features.float()
