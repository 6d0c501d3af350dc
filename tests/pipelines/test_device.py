"""What stands in records about the machine."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from nclforensics.pipelines import device

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_processor_is_named_where_the_system_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first core's model name; without the file or the line, the architecture."""
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(device, "Path", lambda _: info)
    assert device.processor_name() == platform.machine()
    info.write_text("processor\t: 0\n", encoding="utf-8")
    assert device.processor_name() == platform.machine()
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Other\n", encoding="utf-8")
    assert device.processor_name() == "Some CPU @ 3 GHz"
