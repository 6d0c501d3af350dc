"""What a report says about itself: command, settings, versions, and one digest of all the data that was measured."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from nclforensics import __version__
from nclforensics.reports.document import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nclforensics.config import EvalConfig
    from nclforensics.reports.document import ImageRow


def describe_origin(rows: Iterable[ImageRow], config: EvalConfig, *, command: Sequence[str], device: str) -> Origin:
    """Return the origin of an evaluation that ends now."""
    return Origin(
        command=tuple(command),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=dataclasses.asdict(config),
        data_sha256=data_digest(rows),
        device=device,
        versions={
            "nclforensics": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "platform": platform.platform(),
        },
    )


def data_digest(rows: Iterable[ImageRow]) -> str:
    """Return the digest that `nclforensics.reports.document.Origin` defines as `data_sha256`."""
    lines = sorted(f"{row.sha256} {row.mask_sha256}\n" for row in rows)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
