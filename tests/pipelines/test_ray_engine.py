"""A scan on Ray leaves what the scan on one machine leaves, whatever happens to the workers.

Most of it is tried with workers in this process, which answer, or die, as they are told. What only Ray can show is
tried with Ray: a cluster of two nodes one of which is killed, and a scan that is stopped by Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self

import psutil  # type: ignore[import-untyped]
import pytest

from nclforensics.cli.app import main
from nclforensics.cli.torch_environment import SETTINGS
from nclforensics.errors import DeviceUnavailableError, MissingInputError, OutputError, UsageError
from nclforensics.networks import weights
from nclforensics.networks.weights import LoadedModel, load_model
from nclforensics.pipelines import examination, outputs, ray_engine, scan_engine
from nclforensics.pipelines.ray_cluster import Answer, RaySettings, RayWorkers, _connection
from nclforensics.pipelines.ray_engine import ATTEMPTS, ClusterScan
from nclforensics.pipelines.ray_loads import WorkerLoads
from nclforensics.pipelines.ray_shape import WorkerShape, shape_of_workers
from nclforensics.pipelines.ray_worker import Assignment, ScanWorker, digest_of_network
from nclforensics.pipelines.scan import scan_images
from nclforensics.pipelines.scan_plan import plan_scan
from nclforensics.results import SkippedImage
from tests.scan_folders import CONFIG, contents, scan_folder, write_photos
from tests.tiny_model import make_network, write_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nclforensics.config import ScanConfig
    from nclforensics.pipelines.scan_plan import PlannedImage, ScanPlan
    from nclforensics.results import Outcome

HAS_RAY: Final = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'nclforensics[ray]'")
OVERLAY: Final = dataclasses.replace(CONFIG, overlay=True)
NO_SETTINGS: Final = RaySettings()


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(model_folder: Path) -> LoadedModel:
    """Return a tiny model."""
    return load_model(model_folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of eight photos and a file that is none, which comes last."""
    folder = write_photos(tmp_path / "photos", count=8)
    (folder / "none.jpg").write_bytes(b"not a photo")
    return folder


class ObedientWorkers:
    """Workers in this process: each examines with the code of the real ones; the last task given is answered first.

    Args:
        deadly: File names of the images that take their worker down.
    """

    deadly: frozenset[str] = frozenset()

    def __init__(self, _: RaySettings, model: LoadedModel, config: ScanConfig, plan: ScanPlan) -> None:
        assignment = Assignment(config=config, threads=1, decoders=0, folder=None, probe=plan.images[0].path)
        self._worker = ScanWorker()
        self.conditions = self._worker.prepare(model, assignment)
        self.description = {"name": "obedient"}
        self.in_flight = 3
        self.load = WorkerLoads([0, 1])
        self.tasks: list[tuple[int, int, PlannedImage]] = []
        self.companions: dict[str, list[int]] = {}
        self.replaces = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    @property
    def busy(self) -> bool:
        """Tell whether there are tasks."""
        return bool(self.tasks)

    def submit(self, worker: int, task: int, image: PlannedImage) -> None:
        """Note a task, and how many others its worker has."""
        assert self.load[worker] < self.in_flight
        self.companions.setdefault(image.path.name, []).append(self.load[worker])
        self.load[worker] += 1
        self.tasks.append((worker, task, image))

    def answers(self, timeout: float) -> list[Answer]:
        """Answer one task, or all those of a worker that dies of it."""
        assert timeout > 0
        worker, task, image = self.tasks.pop()
        if image.path.name not in self.deadly:
            self.load[worker] -= 1
            return [Answer(task=task, worker=worker, examined=self._worker.scan(image))]
        lost = [task, *(other for having, other, _ in self.tasks if having == worker)]
        self.tasks = [entry for entry in self.tasks if entry[0] != worker]
        del self.load[worker]
        if self.replaces:
            self.load[worker + 10] = 0
        return [Answer(task=task, worker=worker, examined=None) for task in lost]

    def stop_replacing(self) -> None:
        """Let the dead rest."""
        self.replaces = False


@pytest.fixture
def obedient(monkeypatch: pytest.MonkeyPatch) -> type[ObedientWorkers]:
    """Let scans "on Ray" use workers in this process, and return their class."""

    class Workers(ObedientWorkers):
        pass

    monkeypatch.setattr(ray_engine, "RayWorkers", Workers)
    return Workers


def _scan(model: LoadedModel, photos: Path, out: Path, **options: Any) -> list[Outcome]:  # noqa: ANN401 - passed on
    plan = plan_scan([photos], out=out, resume=options.pop("resume", False))
    config = options.pop("config", OVERLAY)
    return list(scan_images(plan, model, config, ray=NO_SETTINGS, **options))


@pytest.mark.usefixtures("obedient")
def test_answers_in_any_order_give_the_bytes_of_a_local_scan(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Masks, overlays and records; run.json differs in what names the engine, in times, and in nothing else."""
    scan_folder(model, photos, tmp_path / "local", config=OVERLAY)
    outcomes = _scan(model, photos, tmp_path / "ray")
    assert [Path(outcome.path).name for outcome in outcomes] == [*(f"{index}.png" for index in range(8)), "none.jpg"]
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    local, ray = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("local", "ray"))
    assert {key for key in local if local[key] != ray[key]} == {"engine", "started", "ended"}
    assert (local["engine"], ray["engine"]) == ({"name": "local"}, {"name": "obedient"})


def test_tasks_are_bounded_for_each_worker(
    model: LoadedModel, photos: Path, tmp_path: Path, obedient: type[ObedientWorkers]
) -> None:
    """`submit` above refuses more than the limit; here the limit is reached, so the bound is what holds them back."""
    seen: list[int] = []
    submit = obedient.submit

    def counted(self: ObedientWorkers, worker: int, task: int, image: PlannedImage) -> None:
        submit(self, worker, task, image)
        seen.append(max(self.load.values()))

    obedient.submit = counted  # type: ignore[method-assign]
    _scan(model, photos, tmp_path / "out")
    assert max(seen) == 3


def test_an_image_that_kills_workers_is_skipped_and_harms_no_other(
    model: LoadedModel, photos: Path, tmp_path: Path, obedient: type[ObedientWorkers]
) -> None:
    """It is tried three times, its neighbours once more than usual, alone; all others are as in a local scan."""
    obedient.deadly = frozenset({"3.png"})
    workers: list[ObedientWorkers] = []

    def noted(self: ObedientWorkers) -> ObedientWorkers:
        workers.append(self)
        return self

    obedient.__enter__ = noted  # type: ignore[method-assign,assignment]
    outcomes = _scan(model, photos, tmp_path / "ray")
    companions = workers[0].companions
    assert len(companions["3.png"]) == ATTEMPTS
    assert all(retries == [0] * len(retries) for _, *retries in companions.values())
    assert max(len(attempts) for name, attempts in companions.items() if name != "3.png") == 2
    skipped = outcomes[3]
    assert isinstance(skipped, SkippedImage)
    assert "3 workers died" in skipped.reason
    assert skipped.sha256 is not None
    (photos / "3.png").write_bytes(b"")
    scan_folder(model, photos, tmp_path / "local", config=OVERLAY)
    ray, local = contents(tmp_path / "ray"), contents(tmp_path / "local")
    lines = [found.pop("results.jsonl").splitlines() for found in (ray, local)]
    assert ray == local
    assert [index for index, (one, other) in enumerate(zip(*lines, strict=True)) if one != other] == [3]


@pytest.mark.usefixtures("obedient")
def test_a_stopped_scan_finishes_what_workers_have_and_is_resumed_by_the_other_engine(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many masks as records at every stop; then a local scan finishes it, and a third one finds nothing to do."""
    monkeypatch.setattr(ray_engine, "WINDOW", 3)
    out = tmp_path / "out"
    recorded: list[Outcome] = []

    def scan_a_part() -> None:
        scan = scan_images(
            plan_scan([photos], out=out), model, OVERLAY, ray=NO_SETTINGS, should_stop=lambda: bool(recorded)
        )
        for outcome in scan:
            recorded.append(outcome)  # noqa: PERF402 - it grows while the scan looks at it

    with pytest.raises(KeyboardInterrupt):
        scan_a_part()
    records = (out / "results.jsonl").read_bytes().count(b"\n")
    assert 1 <= records < 8
    assert len(list(out.glob("*.mask.png"))) == records
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    scan_folder(model, photos, out, config=OVERLAY, resume=True)
    scan_folder(model, photos, tmp_path / "local", config=OVERLAY)
    assert contents(out) == contents(tmp_path / "local")
    _scan(model, photos, out, resume=True)
    assert contents(out) == contents(tmp_path / "local")
    assert json.loads((out / "run.json").read_text())["resumed"][-1]["records_kept"] == 8


def test_what_follows_an_image_that_is_missing_leaves_nothing(
    model: LoadedModel, photos: Path, tmp_path: Path, obedient: type[ObedientWorkers]
) -> None:
    """The scan is stopped while the first image's worker dies: the others, finished, have no record and no files."""
    obedient.deadly = frozenset({"0.png"})
    asked: list[bool] = []

    def stop_the_second_time() -> bool:
        asked.append(True)
        return len(asked) > 1

    with pytest.raises(KeyboardInterrupt):
        _scan(model, photos, tmp_path / "out", should_stop=stop_the_second_time)
    assert contents(tmp_path / "out") == {"results.jsonl": b""}


@pytest.mark.usefixtures("obedient")
def test_a_full_disk_ends_the_scan_and_leaves_no_mask_without_a_record(
    model: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that were written while an earlier one could not be have no files."""
    write = outputs.write_atomic

    def fail_late(path: Path, content: bytes) -> str:
        if path.name == "0.png.overlay.png":
            time.sleep(0.3)
            raise OutputError("Cannot write.")
        return write(path, content)

    monkeypatch.setattr(scan_engine, "WORKERS", 3)
    monkeypatch.setattr(scan_engine, "write_atomic", fail_late)
    with pytest.raises(OutputError, match="Cannot write"):
        _scan(model, photos, tmp_path / "out")
    assert contents(tmp_path / "out") == {"results.jsonl": b""}


def test_a_worker_that_cannot_see_the_inputs_says_so(model: LoadedModel, tmp_path: Path) -> None:
    """Each of its images would be skipped as missing otherwise."""
    assignment = Assignment(config=CONFIG, threads=1, decoders=0, folder=None, probe=tmp_path / "gone.png")
    with pytest.raises(MissingInputError, match=r"gone\.png on the Ray worker"):
        ScanWorker().prepare(model, assignment)
    with pytest.raises(MissingInputError, match="absolute paths"):
        ScanWorker().prepare(model, dataclasses.replace(assignment, probe=None, folder=str(tmp_path / "gone")))


def test_the_digest_of_a_network_tells_two_apart() -> None:
    """And a copy has the same one."""
    assert digest_of_network(make_network(seed=1)) == digest_of_network(make_network(seed=1))
    assert digest_of_network(make_network(seed=1)) != digest_of_network(make_network(seed=2))


@pytest.mark.parametrize(
    ("nodes", "device", "workers", "expected"),
    [
        ([{"CPU": 16.0}], "cpu", None, WorkerShape(count=8, cpus=2, gpus=0)),
        ([{"CPU": 1.0}, {"CPU": 1.0}, {}], "auto", None, WorkerShape(count=2, cpus=1, gpus=0)),
        ([{"CPU": 4.0}], "auto", 3, WorkerShape(count=3, cpus=2, gpus=0)),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 8.0}], "auto", None, WorkerShape(count=8, cpus=8, gpus=1)),
        ([{"CPU": 64.0, "GPU": 1.0}], "cuda", None, WorkerShape(count=1, cpus=16, gpus=1)),
        ([{"CPU": 4.0, "GPU": 1.0}], "cpu", None, WorkerShape(count=2, cpus=2, gpus=0)),
    ],
    ids=["cores", "small nodes", "number", "GPUs", "large GPU node", "GPU not wanted"],
)
def test_workers_fit_the_cluster(
    nodes: list[dict[str, float]], device: str, workers: int | None, expected: WorkerShape
) -> None:
    """Two cores for a worker where there are two, or a GPU with its share of the cores."""
    assert shape_of_workers(nodes, device=device, workers=workers) == expected


@pytest.mark.parametrize(("nodes", "device"), [([{"CPU": 4.0}], "cuda"), ([{}], "cpu")], ids=["GPU", "core"])
def test_a_cluster_without_the_device_is_refused(nodes: list[dict[str, float]], device: str) -> None:
    """Nothing is computed on another device than asked for."""
    with pytest.raises(DeviceUnavailableError, match="Ray cluster"):
        shape_of_workers(nodes, device=device, workers=None)


def _end_of(*argv: str) -> object:
    with pytest.raises(SystemExit) as end:
        main(["scan", *argv])
    return end.value.code


@pytest.fixture
def bundled(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tiny model the default one."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / weights.DEFAULT_MODEL).symlink_to(model_folder)
    monkeypatch.setattr(weights, "bundled_models_folder", lambda: tmp_path / "models")


@pytest.mark.usefixtures("bundled")
def test_without_ray_the_message_says_what_to_install(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is written."""
    monkeypatch.setitem(sys.modules, "ray", None)
    assert _end_of(str(photos), "--out", str(tmp_path / "out"), "--engine", "ray") == 16
    assert "pip install 'nclforensics[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_of_ray_need_the_engine(photos: Path, tmp_path: Path) -> None:
    """A cluster's address without `--engine ray` would be ignored in silence."""
    assert _end_of(str(photos), "--out", str(tmp_path / "out"), "--ray-address", "head:6379") == 2
    assert _end_of(str(photos), "--out", str(tmp_path / "out"), "--ray-workers", "2") == 2


@needs_ray
@pytest.mark.parametrize("address", [None, "local"])
def test_a_cluster_of_our_own_reports_to_nobody(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the user calls it as Ray does."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    asked: dict[str, object] = {}
    ray = SimpleNamespace(is_initialized=lambda: False, init=asked.update, shutdown=lambda: None)
    with _connection(ray, RaySettings(address=address)):
        assert (asked["address"], asked["include_dashboard"]) == ("local", False)
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_signal_while_ray_starts_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray has a handler of its own then, which ends the process with the signal's number: 15, as if for a data set."""
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "0")

    def init(**_: object) -> None:
        raise SystemExit(int(signal.SIGTERM))

    ray = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    with pytest.raises(KeyboardInterrupt), _connection(ray, RaySettings()):
        pass


def test_an_address_at_which_nobody_listens_is_refused_at_once() -> None:
    """Ray itself tries for minutes, and Ctrl-C does nothing meanwhile."""
    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda **_: pytest.fail("Ray was asked to try it"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with (
        pytest.raises(DeviceUnavailableError, match=f"Cannot connect to {address}"),
        _connection(ray, RaySettings(address=address)),
    ):
        pass


def test_a_worker_has_no_choice_of_gpus(model: LoadedModel, photos: Path, tmp_path: Path) -> None:
    """Ray gives it one; a number would be another GPU on each node."""
    plan = plan_scan([photos], out=tmp_path / "out")
    with pytest.raises(UsageError, match="--device cuda"):
        RayWorkers(NO_SETTINGS, model, dataclasses.replace(CONFIG, device="cuda:1"), plan)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a Ray cluster of two nodes on this machine, each with one core, that nobody set up for us."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("MKL_CBWR")
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}
    started = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        started.add_node(**node)
        monkeypatch.setenv("MKL_CBWR", SETTINGS["MKL_CBWR"])
        yield started
    finally:
        started.shutdown()  # type: ignore[no-untyped-call]  # Ray's


def scanning(cluster: Any) -> list[psutil.Process]:  # noqa: ANN401 - no types
    """Return the processes of the workers that scan."""
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    children = [child for raylet in raylets for child in psutil.Process(raylet).children(recursive=True)]
    return [child for child in children if "ScanWorker" in " ".join(child.cmdline())]


def remove_at_once(cluster: Any, node: Any) -> None:  # noqa: ANN401 - no types
    """Kill a node with its workers: left alone, a worker lives on for a while, enough to finish on a busy machine."""
    (raylet,) = node.all_processes["raylet"]
    workers = psutil.Process(raylet.process.pid).children(recursive=True)
    cluster.remove_node(node, allow_graceful=False)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    assert psutil.wait_procs(workers, timeout=60)[1] == []


@needs_ray
@pytest.mark.filterwarnings("default")  # Ray's own warnings are not ours
def test_a_node_that_is_killed_loses_nothing_and_doubles_nothing(
    model: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: Any,  # noqa: ANN401 - no types
) -> None:
    """Both nodes have images when one is killed; the other scans the rest, and the folder is as after a local scan.

    Relative paths work on the workers, and a module that lies among the evidence is not imported there.
    """
    monkeypatch.setattr(examination, "FEWEST_THREADS", 2)  # as in the processes of the workers
    photos = write_photos(tmp_path / "photos", count=40)
    (photos / "none.jpg").write_bytes(b"not a photo")
    (tmp_path / "cv2.py").write_text(f"open({str(tmp_path / 'trapped')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    scan_folder(model, Path("photos"), tmp_path / "local", config=OVERLAY)
    assign, take = ClusterScan._assign, ClusterScan._take
    ready: list[bool] = []
    lost = Counter[int]()

    def assign_when_both_are_ready(self: ClusterScan) -> None:
        if ready or len(self._workers.load) == 2:
            ready.append(True)
            assign(self)

    def count_lost(self: ClusterScan, answer: Answer) -> None:
        lost[answer.task] += answer.examined is None
        take(self, answer)

    monkeypatch.setattr(ClusterScan, "_assign", assign_when_both_are_ready)
    monkeypatch.setattr(ClusterScan, "_take", count_lost)
    outcomes = []
    plan = plan_scan([Path("photos")], out=tmp_path / "ray")
    for outcome in scan_images(plan, model, OVERLAY, ray=RaySettings(address=cluster.address)):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            environments = [process.environ() for process in scanning(cluster)]
            (victim,) = (node for node in cluster.list_all_nodes() if node is not cluster.head_node)
            remove_at_once(cluster, victim)
    assert len(outcomes) == 41
    assert [each.get("MKL_CBWR") for each in environments] == [SETTINGS["MKL_CBWR"]] * 2
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    engine = json.loads((tmp_path / "ray" / "run.json").read_text())["engine"]
    assert (engine["name"], len(engine["workers"]), engine["workers_lost"]) == ("ray", 2, 1)
    assert all(worker["threads"] >= 2 for worker in engine["workers"])
    assert 1 <= lost.total() <= 4
    assert max(lost.values()) == 1
    assert not (tmp_path / "trapped").exists()


@needs_ray
def test_ctrl_c_on_a_laptop_drains_and_the_local_engine_finishes(
    model_folder: Path, model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal goes to all processes, as a terminal sends it; the scan says so, ends with 130, and Ray is gone."""
    monkeypatch.setattr(examination, "FEWEST_THREADS", 2)
    photos, out = write_photos(tmp_path / "photos", count=60), tmp_path / "ray"
    options = ["--weights", str(model_folder), "--device", "cpu", "--overlay", "--out", str(out)]
    command = [sys.executable, "-m", "nclforensics", "scan", str(photos), *options, "--engine", "ray"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [*command, "--ray-workers", "1"], env=environment, stderr=subprocess.PIPE, start_new_session=True, text=True
    ) as process:
        while process.poll() is None and not _has_records(out):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Stopping when the workers have finished" in errors
    records = (out / "results.jsonl").read_bytes().count(b"\n")
    assert 1 <= records < 60
    assert len(list(out.glob("*.mask.png"))) == records
    scan_folder(model, photos, out, config=OVERLAY, resume=True)
    scan_folder(model, photos, tmp_path / "local", config=OVERLAY)
    assert contents(out) == contents(tmp_path / "local")


def _has_records(out: Path) -> bool:
    return (out / "results.jsonl").exists() and (out / "results.jsonl").stat().st_size > 0
