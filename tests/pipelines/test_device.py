"""What stands in records about the machine."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest
import torch

from nclforensics.pipelines import device

if TYPE_CHECKING:
    from pathlib import Path


def test_processor_is_named_where_the_system_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first core's model name; without the file or the line, the architecture."""
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(device, "Path", lambda _: info)
    assert device.processor_name() == platform.machine()
    info.write_text("processor\t: 0\n", encoding="utf-8")
    assert device.processor_name() == platform.machine()
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Other\n", encoding="utf-8")
    assert device.processor_name() == "Some CPU @ 3 GHz"


@pytest.mark.parametrize(
    ("name", "precision", "instructions", "said"),
    [
        ("cpu", "bf16", "AVX2", True),
        ("cpu", "fp32", "AVX2", False),
        ("cpu", "bf16", "AVX512", False),
        ("cuda", "bf16", "AVX2", False),
    ],
)
def test_bf16_without_its_instructions_is_said_to_be_slow(
    monkeypatch: pytest.MonkeyPatch, name: str, precision: str, instructions: str, *, said: bool
) -> None:
    """Only where the processor computes, in bf16, and lacks them."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    assert (device.bf16_note(torch.device(name), precision) is not None) == said
