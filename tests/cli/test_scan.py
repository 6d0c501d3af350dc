"""`nclf scan`: options, streams and exit codes, through `main`."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from nclforensics.cli.app import main
from nclforensics.networks import weights
from nclforensics.pipelines.inference import Localization, Localizer
from nclforensics.pipelines.outputs import encode_png
from tests.factories import make_image
from tests.tiny_model import write_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with two photos and a tiny bundled model; return it."""
    write_model(tmp_path / "models" / weights.DEFAULT_MODEL)
    monkeypatch.setattr(weights, "bundled_models_folder", lambda: tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        (tmp_path / "photos" / name).write_bytes(encode_png(make_image(80, 96, seed=seed)))
    return tmp_path


def _run(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["scan", *argv, "--device", "cpu"])
    assert isinstance(end.value.code, int)
    return end.value.code


def _records() -> list[dict[str, object]]:
    return [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]


def test_a_scan_needs_no_options_but_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    """Folder in, masks out, code 0; the summary goes to stderr and names model and error rate."""
    assert _run("photos", "--out", "out") == 0
    captured = capsys.readouterr()
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["a.png.mask.png", "b.png.mask.png"]
    assert captured.out == ""
    assert "Model tiny, weights sha256" in captured.err
    assert "5.0% of 100 authentic photos" in captured.err


def test_json_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of stdout is a record, the same as in results.jsonl, and nothing else is there."""
    assert _run("photos", "--out", "out", "--json") == 0
    assert capsys.readouterr().out == Path("out/results.jsonl").read_text()


def test_a_report_on_replaced_results_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It would pass for a report on the new scan; one that is written anew does not, and none is removed."""
    assert _run("photos/a.png", "--out", "out", "--report", "html", "--report", "csv") == 0
    assert "was there before" not in capsys.readouterr().err
    assert _run("photos/b.png", "--out", "out", "--force", "--report", "csv") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "was there before" in line]
    assert len(told) == 1
    assert told[0].startswith("Note: out/report.html was there before and does not show the results of this scan.")
    assert Path("out/report.html").is_file()


def test_a_slow_precision_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 on a processor without its instructions takes several times as long: the user is told, and may go on."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert _run("photos", "--out", "out", "--precision", "bf16") == 0
    assert "Use --precision fp32" in capsys.readouterr().err
    assert _run("photos", "--out", "again", "--precision", "bf16", "--quiet") == 0
    assert "Use --precision fp32" not in capsys.readouterr().err


def test_quiet_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither progress nor summary."""
    assert _run("photos", "--out", "out", "--quiet") == 0
    assert capfd.readouterr() == ("", "")


def test_some_skipped_images_end_with_17(capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is scanned, and record and summary name the file and the reason."""
    Path("photos/x.jpg").write_text("not an image")
    assert _run("photos", "--out", "out") == 17
    assert [record["status"] for record in _records()] == ["scanned", "scanned", "skipped"]
    assert "skipped photos/x.jpg: Cannot decode" in capsys.readouterr().err


def test_files_that_are_passed_over_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """In the summary and in run.json: nobody takes them for examined."""
    Path("photos/IMG_0001").write_bytes(Path("photos/a.png").read_bytes())
    assert _run("photos", "--out", "out") == 0
    assert "Files in the folders without an image's suffix, not examined: 1." in capsys.readouterr().err
    assert json.loads(Path("out/run.json").read_text())["passed_over"] == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [(("x.jpg",), "The image could not be"), (("x.jpg", "y.jpg"), "None of the 2 images could be")],
)
def test_no_readable_image_ends_with_12(
    names: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that scanned nothing is not a run with some skipped images; its record is kept."""
    for name in names:
        Path(name).write_text("not an image")
    assert _run(*names, "--out", "out") == 12
    assert message in capsys.readouterr().err
    assert [record["status"] for record in _records()] == ["skipped"] * len(names)


def test_a_missing_path_ends_with_11(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is scanned."""
    assert _run("photos", "gone.jpg", "--out", "out") == 11
    assert "gone.jpg" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_flipped_byte_in_the_weights_ends_with_14(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Changed weights compute nothing."""
    path = folder / "models" / weights.DEFAULT_MODEL / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert _run("photos", "--out", "out") == 14
    assert "its manifest says" in capsys.readouterr().err
    assert not Path("out").exists()


def test_missing_weights_end_with_13(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names what is available."""
    assert _run("photos", "--out", "out", "--weights", "nothing") == 13
    assert weights.DEFAULT_MODEL in capsys.readouterr().err


def test_a_model_folder_can_be_named(folder: Path) -> None:
    """`--weights` takes a folder too, and the record tells which weights were used."""
    write_model(folder / "mine", threshold=0.9)
    assert _run("photos", "--out", "out", "--weights", "mine") == 0
    assert [record["threshold"] for record in _records()] == [0.9, 0.9]


@pytest.mark.parametrize(
    "options",
    [
        ["--threshold", "1.5"],
        ["--threshold", "0.5", "--fpr", "0.05"],
        ["--fpr", "0.02"],
        ["--precision", "fp8"],
        ["--tile", "64"],
        ["--unknown"],
    ],
    ids=" ".join,
)
def test_a_wrong_option_ends_with_2(options: list[str]) -> None:
    """Nothing is written."""
    assert _run("photos", "--out", "out", *options) == 2
    assert not Path("out").exists()


def test_quiet_and_verbose_end_with_2() -> None:
    """They contradict each other."""
    assert _run("photos", "--out", "out", "--quiet", "--verbose") == 2


def test_nothing_to_scan_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither paths nor a list: the message names both ways."""
    assert _run("--out", "out") == 2
    assert "--from0" in capsys.readouterr().err


def test_stdin_holds_one_list() -> None:
    """It cannot be read twice."""
    assert _run("-", "--from0", "-", "--out", "out") == 2


def test_no_output_folder_ends_with_2() -> None:
    """`--out` is required."""
    assert _run("photos") == 2


def test_a_device_that_is_not_there_ends_with_16() -> None:
    """It is not replaced by another one."""
    with pytest.raises(SystemExit) as end:
        main(["scan", "photos", "--out", "out", "--device", "cuda:97"])
    assert end.value.code == 16
    assert not Path("out").exists()


def test_an_output_inside_the_input_ends_with_19() -> None:
    """Evidence stays as it is, unless forced."""
    assert _run("photos", "--out", "photos/masks") == 19
    assert sorted(path.name for path in Path("photos").iterdir()) == ["a.png", "b.png"]
    assert _run("photos", "--out", "photos/masks", "--force") == 0


def test_an_output_folder_that_is_a_file_ends_with_19() -> None:
    """It is named and left alone."""
    Path("out").write_text("mine")
    assert _run("photos", "--out", "out", "--force") == 19
    assert Path("out").read_text() == "mine"


def test_a_calibrated_rate_selects_its_threshold() -> None:
    """`--fpr 0.01` takes the threshold that was measured for one percent."""
    assert _run("photos", "--out", "out", "--fpr", "0.01") == 0
    assert {record["threshold"] for record in _records()} == {0.5}


def test_a_threshold_of_ones_own_has_no_error_rate(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary does not claim a rate that nobody measured."""
    assert _run("photos", "--out", "out", "--threshold", "0.3") == 0
    assert "no false-positive rate was measured" in capsys.readouterr().err


def test_paths_come_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """One path a line, any bytes but newline; empty lines do not count."""
    odd = os.fsdecode(b"photos/caf\xe9 \x1b.png")
    Path("photos/b.png").rename(odd)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"photos/a.png\n\n" + os.fsencode(odd) + b"\n")))
    assert _run("-", "--out", "out") == 0
    assert [record["path"] for record in _records()] == ["photos/a.png", odd]


def test_an_empty_list_on_stdin_ends_with_11(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `find` that found nothing is a missing input, not a success."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert _run("-", "--out", "out") == 11


def test_paths_separated_by_zero_bytes_come_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """`find -print0` passes any name on, newlines included."""
    odd = "photos/two\nlines.png"
    Path("photos/b.png").rename(odd)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"photos/a.png\0" + os.fsencode(odd) + b"\0")))
    assert _run("--from0", "-", "--out", "out") == 0
    assert [record["path"] for record in _records()] == ["photos/a.png", odd]


def test_paths_separated_by_zero_bytes_come_from_a_file_after_those_named() -> None:
    """A list and arguments go together."""
    Path("list").write_bytes(b"photos/a.png")
    assert _run("photos/b.png", "--from0", "list", "--out", "out") == 0
    assert [record["path"] for record in _records()] == ["photos/b.png", "photos/a.png"]


def test_a_list_that_is_not_there_ends_with_11() -> None:
    """As any missing input."""
    assert _run("--from0", "gone", "--out", "out") == 11


def test_what_vanished_from_a_list_is_skipped() -> None:
    """The list was made before the scan; a path typed by hand would end the run instead."""
    Path("list").write_bytes(b"photos/a.png\0photos/gone.png\0")
    assert _run("--from0", "list", "--out", "out") == 17
    assert [record["status"] for record in _records()] == ["scanned", "skipped"]


def test_case_and_operator_are_recorded() -> None:
    """run.json says whose scan it is."""
    assert _run("photos", "--out", "out", "--case", "2026-117", "--operator", "A. Examiner") == 0
    run = json.loads(Path("out/run.json").read_text())
    assert (run["case"], run["operator"]) == ("2026-117", "A. Examiner")


def test_verbose_tells_each_image(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with decision and score; also why one was skipped."""
    Path("photos/x.jpg").write_text("not an image")
    assert _run("photos", "--out", "out", "-v", "--threshold", "1") == 17
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "photos/a.png: no localized evidence (score 0." in captured.err
    assert "photos/x.jpg: skipped: Cannot decode" in captured.err


def test_one_region_is_not_regions(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary counts in English."""
    assert _run("photos/a.png", "--out", "out", "--threshold", "0") == 0
    assert "1 region, 100.0% of the area" in capsys.readouterr().err


@pytest.mark.parametrize(("threshold", "code"), [("0.1", 10), ("1", 0)], ids=["evidence", "none"])
def test_evidence_can_fail_a_pipeline(threshold: str, code: int) -> None:
    """`--fail-on evidence` ends with 10 if any image shows some."""
    assert _run("photos", "--out", "out", "--fail-on", "evidence", "--threshold", threshold) == code


def test_evidence_counts_more_than_skipped_images() -> None:
    """Where both happened, 10 is told; a pipeline that asked for it must not miss it."""
    Path("photos/x.jpg").write_text("not an image")
    assert _run("photos", "--out", "out", "--fail-on", "evidence", "--threshold", "0.1") == 10
    assert _run("photos", "--out", "out2", "--fail-on", "evidence", "--threshold", "1") == 17


def test_inconclusive_is_no_evidence() -> None:
    """A small image says nothing either way, whatever its scores."""
    Path("small.png").write_bytes(encode_png(make_image(40, 40)))
    assert _run("small.png", "--out", "out", "--fail-on", "evidence", "--threshold", "0") == 0
    assert _records()[0]["decision"] == "inconclusive"


def test_a_finished_scan_has_nothing_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, prints the same records, and ends like the first one."""
    assert _run("photos", "--out", "out") == 0
    first = Path("out/results.jsonl").read_text()
    capsys.readouterr()
    assert _run("photos", "--out", "out", "--resume", "--jsonl") == 0
    captured = capsys.readouterr()
    assert "Nothing to do: of 2 images, 2 had a record that still holds." in captured.err
    assert captured.out == first == Path("out/results.jsonl").read_text()


def test_resuming_with_other_weights_ends_with_14(folder: Path) -> None:
    """The weights do not match those of the run."""
    assert _run("photos", "--out", "out") == 0
    write_model(folder / "mine", seed=1)
    assert _run("photos", "--out", "out", "--resume", "--weights", "mine") == 14


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_with_130_and_the_scan_can_be_finished(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The image under way is finished, run.json says interrupted, and the former handlers are back."""
    localize = Localizer.localize_with_copies
    handler = signal.getsignal(number)

    def interrupted(self: Localizer, image: NDArray[np.uint8]) -> Localization:
        signal.raise_signal(number)
        return localize(self, image)

    monkeypatch.setattr(Localizer, "localize_with_copies", interrupted)
    assert _run("photos", "--out", "out") == 130
    assert "--resume finishes the scan" in capsys.readouterr().err
    assert json.loads(Path("out/run.json").read_text())["status"] == "interrupted"
    assert [record["path"] for record in _records()] == ["photos/a.png"]
    assert signal.getsignal(number) is handler
    monkeypatch.setattr(Localizer, "localize_with_copies", localize)
    assert _run("photos", "--out", "out", "--resume") == 0
    assert len(_records()) == 2


def test_no_colour_where_no_terminal_is(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in the summary nor in the help: a log has no use for escape sequences."""
    assert _run("photos", "--out", "out") == 0
    captured = capfd.readouterr()
    assert "\x1b" not in captured.out + captured.err


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished stays, and run.json tells how the scan ended."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Localizer, "localize_with_copies", interrupt)
    assert _run("photos", "--out", "out") == 130
    assert json.loads(Path("out/run.json").read_text())["status"] == "interrupted"


def test_the_command_line_is_recorded() -> None:
    """run.json holds what was typed."""
    assert _run("photos", "--out", "out", "--overlay") == 0
    expected = ["nclf", "scan", "photos", "--out", "out", "--overlay", "--device", "cpu"]
    assert json.loads(Path("out/run.json").read_text())["command"] == expected
