"""Several processes train as one: the same losses, gradients, samples and weights, and an end in good order."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open

import nclforensics
from nclforensics.config import ForgeConfig, ModelConfig, PatchConfig, RunConfig, TrainConfig, dump_config
from nclforensics.errors import ConfigError
from nclforensics.losses.ranks import RankLostError, Ranks, naming_lost_ranks
from nclforensics.networks.build import build_network
from nclforensics.ops.class_lse import class_lse, pair_softplus
from nclforensics.ops.class_lse.shares import shared_class_lse, shared_pair_softplus
from nclforensics.patches.mining import mine_patches
from nclforensics.patches.roles import assign_roles
from nclforensics.pipelines import trainer as trainer_module
from nclforensics.pipelines.checkpoint import CHECKPOINT_FILE, read_tensors
from nclforensics.pipelines.ranks import TrainingRanks
from nclforensics.pipelines.synchronized_norm import synchronize_norms
from nclforensics.pipelines.train import run_training
from nclforensics.pipelines.training_step import TrainingStep
from tests import rank_jobs
from tests.photo_folders import make_photo_folder
from tests.reference import class_lse as reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from nclforensics.config import ContrastiveForm

ROOT = Path(nclforensics.__file__).parent.parent
STEPS, RATE = 4, 1e-4
FLOAT64 = {"rtol": 1e-10, "atol": 1e-12}
pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this PyTorch has no gloo"),
    pytest.mark.skipif(sys.platform != "linux", reason="the processes are found in /proc"),
]


def make_config(photos: Path, out: Path, *, scope: str = "batch", **train: Any) -> RunConfig:  # noqa: ANN401 - any setting
    """Return the configuration of a tiny run with 6 samples a step."""
    settings: dict[str, Any] = {"photos": str(photos), "out": str(out), "steps": STEPS, "batch_size": 6, "workers": 0}
    settings |= {"warmup_steps": 1, "validate_every": 0, "validation_share": 0.3, "validation_samples": 4}
    return RunConfig(
        model=ModelConfig(branch_channels=8, embedding_dim=8, decoder_channels=8),
        patches=PatchConfig(scope=scope),  # type: ignore[arg-type]  # one of the two
        forge=ForgeConfig(size=64),
        train=TrainConfig(**(settings | {"learning_rate": RATE, "device": "cpu"} | train)),
    )


def torchrun(count: int, *command: str | Path) -> subprocess.Popen[str]:
    """Start ranks the way a user does."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*launcher, *map(str, command)], env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]  # noqa: S603 - our own


def finished(process: subprocess.Popen[str], *, seconds: float = 300) -> tuple[int, str]:
    """Return a process's exit code and what it wrote to stderr."""
    try:
        _, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, errors


@dataclass(frozen=True)
class SharedRun:
    """What 2 and 3 ranks left: results by number of ranks, and the folders of the run that they continued."""

    results: dict[int, list[dict[str, Any]]]
    alone: Path
    resumed: dict[int, Path]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 16 small photos."""
    return make_photo_folder(tmp_path_factory.mktemp("photos"), count=16)


@pytest.fixture(scope="module")
def shared(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> SharedRun:
    """Train two steps on 2 ranks, then two more on 3 ranks and, from a copy, on one."""
    folder = tmp_path_factory.mktemp("shared")
    runs = {count: folder / f"on_{count}" for count in (1, 3)}
    results = {}
    for count, out, arguments in ((2, runs[1], ("2",)), (3, runs[3], ())):
        (folder / str(count)).mkdir()
        (folder / f"{count}.toml").write_text(dump_config(make_config(photos, out)), encoding="utf-8")
        job = torchrun(count, ROOT / "tests/rank_jobs.py", folder / str(count), folder / f"{count}.toml", *arguments)
        code, errors = finished(job)
        assert code == 0, errors
        results[count] = [torch.load(folder / str(count) / f"{rank}.pt", weights_only=True) for rank in range(count)]
        if count == 2:
            assert _step(runs[1]) == 2, "stopped by the last rank, after the second step"
            shutil.copytree(runs[1], runs[3])
    alone = folder / "alone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "LOG_EVERY", 1)  # as the job does
        run_training(make_config(photos, runs[1]), resume=True)
        run_training(make_config(photos, alone))
    return SharedRun(results, alone, runs)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("grouped", [False, True], ids=["batch", "image"])
@pytest.mark.parametrize("form", rank_jobs.FORMS)
def test_losses_and_gradients_are_those_of_one_process(
    shared: SharedRun,
    count: int,
    form: ContrastiveForm,
    *,
    grouped: bool,
) -> None:
    """Every rank reports the terms of the whole batch; its gradients are its part of one process's, to 1e-10.

    The images have 0 to 9 patches, and some ranks no contour, no tampered pixel, or pixels that do not count.
    """
    terms, gradients = rank_jobs.loss_and_gradients(tuple(range(rank_jobs.IMAGES)), form, grouped=grouped)
    ranks = [result["losses"][form, grouped] for result in shared.results[count]]
    for own_terms, _ in ranks:
        assert own_terms == pytest.approx(terms, rel=1e-6)  # the image term is float32
    for name, expected in gradients.items():
        tolerance = {"rtol": 1e-5, "atol": 1e-7} if name == "image_logits" else FLOAT64
        torch.testing.assert_close(torch.cat([own[name] for _, own in ranks]), expected, **tolerance)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [2, 3])
def test_batch_norm_is_that_of_one_process(shared: SharedRun, count: int) -> None:
    """Outputs, gradients and running means of a network with batch norms are those of one process, to 1e-10."""
    expected = rank_jobs.norm_results(tuple(range(rank_jobs.IMAGES)))
    ranks = [result["norm"] for result in shared.results[count]]
    for name, value in expected.items():
        parts = [own[name] for own in ranks]
        if name.startswith("buffer"):
            for part in parts:
                torch.testing.assert_close(part, value, **FLOAT64)  # type: ignore[arg-type]
        else:
            whole = torch.cat(parts) if name in {"output", "d pixels"} else torch.stack(parts).sum(0)
            torch.testing.assert_close(whole, value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("count", [1, 3])
def test_resumed_on_another_number_of_ranks_is_the_same_run(shared: SharedRun, count: int) -> None:
    """Two steps on 2 ranks and two on 1 or 3 are four steps of one process.

    The losses agree to 5e-4 (1.8e-4 was seen on a processor with AVX2 alone). Adam divides a gradient by its own size,
    so that rounding may turn the sign of a step whose gradient is almost 0: a weight may differ by twice the sum of the
    rates, and nearly all differ by far less. Most of those are in the mosaic's stream, which starts behind weights of
    zero. Running statistics follow the weights, and are not bounded by the rates (8.3e-4 was seen there).
    """
    losses = [_losses(folder) for folder in (shared.alone, shared.resumed[count])]
    assert losses[0] == pytest.approx(losses[1], rel=5e-4)
    one, other = (read_tensors(folder / CHECKPOINT_FILE) for folder in (shared.alone, shared.resumed[count]))
    assert one.keys() == other.keys()
    weights = [name for name in one if name.startswith("network.") and "num_batches" not in name]
    largest = {name: float((one[name] - other[name]).abs().max()) for name in weights}
    assert max(value for name, value in largest.items() if "running" not in name) < 2 * STEPS * RATE
    assert max(largest.values()) < 2e-3
    differences = torch.cat([(one[name] - other[name]).abs().flatten() for name in weights])
    assert differences.median() < 0.05 * RATE
    assert _step(shared.resumed[count]) == STEPS


def test_only_the_first_rank_writes(shared: SharedRun) -> None:
    """A run on several ranks leaves the files of a run on one, and each logged row once."""
    names = [sorted(path.name for path in folder.iterdir()) for folder in (shared.alone, shared.resumed[3])]
    assert names[0] == names[1]
    rows = [json.loads(line) for line in (shared.resumed[3] / "history.jsonl").read_text().splitlines()]
    expected = [*(("train", step) for step in range(1, STEPS + 1)), ("validation", STEPS)]
    assert [(row["kind"], row["step"]) for row in rows] == expected


@dataclass
class FakeRanks(Ranks):
    """One of several ranks whose patches are all here: what the others would send is known."""

    index: int
    count: int
    sent: list[Tensor]

    def gather(self, rows: Tensor) -> Tensor:
        """Return all roles."""
        assert torch.equal(rows, self.sent[self.index])
        return torch.cat(self.sent)


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("count", [2, 3])
def test_mined_patches_are_those_of_one_process(tmp_path: Path, scope: str, count: int) -> None:
    """Each rank gets its images' patches of one draw over the global batch, to the last one."""
    config = replace(make_config(tmp_path, tmp_path, scope=scope))
    config = replace(config, patches=replace(config.patches, contour_cap=3, tampered_cap=4, authentic_cap=5))
    masks = torch.zeros(6, 64, 64, dtype=torch.bool)
    for image in range(5):
        masks[image, 4 * image : 30 + image, 10 : 40 + 2 * image] = True
    roles = assign_roles(masks, 8)
    generator = torch.Generator()
    whole = TrainingStep(config, stride=8, device=torch.device("cpu"))._mined(roles, 7)
    expected = {(int(i) // 64, int(i) % 64) for i in whole.index}
    assert torch.equal(whole.index, mine_patches(roles, config.patches, generator=_seeded(generator, config)).index)

    found: list[tuple[int, int]] = []
    for rank in range(count):
        ranks = FakeRanks(rank, count, [roles[other::count] for other in range(count)])
        mined = TrainingStep(config, stride=8, device=torch.device("cpu"), ranks=ranks)._mined(roles[rank::count], 7)
        assert torch.equal(mined.roles, roles[rank::count].flatten()[mined.index])
        assert torch.equal(mined.groups, mined.index // 64)
        found += [(int(i) // 64 * count + rank, int(i) % 64) for i in mined.index]

    assert len(found) == len(expected)
    assert set(found) == expected


@dataclass
class Parts(Ranks):
    """A rank that keeps what it adds, so that a loop over ranks can put the parts together."""

    index: int
    count: int
    added: list[Tensor]

    def add(self, values: Tensor) -> Tensor:
        """Keep a part."""
        self.added.append(values)
        return values


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_shares_of_the_pairs_make_the_whole(count: int) -> None:
    """The rows of all shares are those of the slow loop, each computed by one rank, for more ranks than patches too."""
    roles = [0, 1, 2, -1, 0, 1, 0, 2, 1]
    z = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bias = z[:, 0]
    rows, sums = [], []
    for rank in range(count):
        parts = Parts(rank, count, [])
        shared_class_lse(z, torch.tensor(roles), tau=0.3, shares=parts)
        shared_pair_softplus(z, torch.tensor(roles), bias, tau=0.3, shares=parts)
        rows.append(parts.added[0])
        sums.append(parts.added[1])
    values, owners = torch.stack(rows).sum(0)
    lse = reference.class_lse(z, roles, [0] * 9, 0.3)
    assert torch.equal(owners, (~torch.isneginf(lse)).double())
    torch.testing.assert_close(values, lse.masked_fill(torch.isneginf(lse), 0))
    torch.testing.assert_close(torch.stack(sums).sum(0), reference.pair_softplus(z, roles, [0] * 9, bias, 0.3))


@pytest.mark.parametrize("hole", [math.nan, math.inf])
def test_shared_gradients_do_not_see_ignored_patches(hole: float) -> None:
    """Their embeddings may hold anything, as in the op that one process runs."""
    roles = torch.tensor([0, 0, 1, 1, 2, -1, 0, 2, -1])
    values = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = values.masked_fill(roles[:, None] < 0, hole).requires_grad_()
    bias = values[:, 0].clone().requires_grad_()
    alone = Parts(0, 1, [])
    for shared, op in (
        (shared_class_lse(z, roles, tau=0.3, shares=alone), class_lse(z, roles, tau=0.3)),
        (
            shared_pair_softplus(z, roles, bias, tau=0.3, shares=alone),
            pair_softplus(z, roles, bias, tau=0.3),
        ),
    ):
        known = op.isfinite()
        torch.testing.assert_close(shared, op)
        torch.testing.assert_close(
            torch.autograd.grad(shared[known].sum(), z)[0], torch.autograd.grad(op[known].sum(), z)[0]
        )


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"batch_size": 4}, "multiple of 3"), ({"compile": True}, "compile"), ({"device": "cpu:0"}, "device")],
)
def test_what_ranks_cannot_share_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: dict[str, Any], message: str
) -> None:
    """A batch that does not divide, and settings for one process, end every rank before it meets the others."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(Exception, match=message) as caught:
        TrainingRanks(make_config(tmp_path, tmp_path, **setting))
    assert isinstance(caught.value, ConfigError) or message == "device"


def test_other_errors_keep_their_name() -> None:
    """A bug of ours is not mistaken for a lost rank, and a broken connection is."""
    with pytest.raises(RuntimeError, match="shape"), naming_lost_ranks():
        raise RuntimeError("shape mismatch")
    with pytest.raises(RankLostError, match="Connection closed by peer"), naming_lost_ranks():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:1")


def test_network_of_one_rank_keeps_its_norms(tmp_path: Path) -> None:
    """With one process nothing is replaced."""
    network = build_network(make_config(tmp_path, tmp_path).model)
    assert synchronize_norms(network, Ranks()) is network
    assert {type(module).__name__ for module in network.modules()} & {"BatchNorm2d"}
    assert not {type(module).__name__ for module in network.modules()} & {"SynchronizedBatchNorm2d"}


@pytest.fixture
def endless(photos: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Return a run of 2 ranks that has left its first checkpoint, and its folder."""
    config = make_config(photos, tmp_path / "run", steps=100_000, batch_size=2, checkpoint_minutes=0.0, scope="image")
    (tmp_path / "run.toml").write_text(dump_config(config), encoding="utf-8")
    process = torchrun(2, "-m", "nclforensics", "train", "--config", tmp_path / "run.toml")
    _until((tmp_path / "run" / CHECKPOINT_FILE).is_file, process)
    yield process, tmp_path / "run"
    process.kill()


def test_killed_rank_ends_the_run_with_a_checkpoint(endless: tuple[subprocess.Popen[str], Path], photos: Path) -> None:
    """The other rank ends at once, says why and where the last whole step is, and the run can go on from there."""
    process, folder = endless
    before, started = _step(folder), time.monotonic()
    os.kill(_ranks_of(process)[1], signal.SIGKILL)

    code, errors = finished(process)

    assert code != 0
    assert time.monotonic() - started < 60
    assert "nclf: Another process of this training ended or does not answer" in errors
    step = _step(folder)
    assert step >= before
    assert f"The last whole step, {step}, is in {folder / CHECKPOINT_FILE}" in errors
    config = make_config(photos, folder, steps=step + 1, batch_size=2, checkpoint_minutes=0.0, scope="image")
    assert run_training(config, resume=True).state.step == step + 1


def test_interrupted_launcher_leaves_one_checkpoint(endless: tuple[subprocess.Popen[str], Path]) -> None:
    """Ctrl-C stops all ranks after one and the same step; the first saves it, and no half-written file stays."""
    process, folder = endless
    process.send_signal(signal.SIGINT)

    code, errors = finished(process)

    assert code != 0
    assert "nclf: Interrupted." in errors
    assert _step(folder) >= 20
    assert not list(folder.glob(".*"))


def _seeded(generator: torch.Generator, config: RunConfig) -> torch.Generator:
    from nclforensics.pipelines.seeding import derived_seed  # noqa: PLC0415 - one test's own

    return generator.manual_seed(derived_seed(config.train.seed, "mining", 7))


def _step(folder: Path) -> int:
    with safe_open(folder / CHECKPOINT_FILE, framework="pt") as file:
        return int(json.loads(file.metadata()["state"])["step"])


def _losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row["total"] for row in rows if row["kind"] == "train"]


def _ranks_of(launcher: subprocess.Popen[str]) -> list[int]:
    """Return the process numbers of the ranks, in their order."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text(encoding="ascii").split()
    ranks: dict[int, int] = {}
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        numbers = [int(variable[5:]) for variable in variables if variable.startswith(b"RANK=")]
        ranks |= dict.fromkeys(numbers, int(child))
    return [ranks[number] for number in sorted(ranks)]


def _until(condition: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, finished(process)[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
