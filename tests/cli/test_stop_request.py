"""When a signal asks for a clean stop, and when for one at once."""

from __future__ import annotations

import signal

import pytest

from nclforensics.cli import stop_request
from nclforensics.cli.stop_request import StopRequest


def test_two_signals_at_the_same_time_are_one_request() -> None:
    """`timeout` signals the process and then its group; the run must still end cleanly."""
    with StopRequest("stopping") as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop()


def test_a_later_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks twice does not want to wait."""
    monkeypatch.setattr(stop_request, "SAME_REQUEST", -1.0)
    with StopRequest("stopping"):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signal")
def test_a_command_under_nohup_outlives_its_terminal() -> None:
    """The signal that such a command was started to ignore asks for nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest("stopping") as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)
