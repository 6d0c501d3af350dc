"""What a run may start from, another model's weights, and what may compile its network."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import torch
from torch import nn

from nclforensics.config import ForgeConfig, RunConfig, TrainConfig, load_config
from nclforensics.errors import ConfigError, WeightsMissingError
from nclforensics.networks.build import build_network
from nclforensics.networks.pivot import Branch
from nclforensics.networks.weights import bundled_models_folder, load_model, save_model
from nclforensics.pipelines.checkpoint import CHECKPOINT_FILE, read_tensors
from nclforensics.pipelines.compiled import gradient_difference
from nclforensics.pipelines.train import run_training
from nclforensics.pipelines.trainer import initial_network
from tests.photo_folders import make_photo_folder
from tests.tiny_model import TINY_CONFIG, make_calibration, write_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nclforensics.networks.pivot import PivotOutput


CONFIGURATIONS = sorted(path for path in bundled_models_folder().glob("*/*.toml") if path.name != "manifest.toml")


def starting_from(initial: Path | str, config: RunConfig = TINY_CONFIG) -> RunConfig:
    """Return a configuration of the tiny model's shape that starts from a model."""
    return replace(config, train=TrainConfig(initial=str(initial)))


def test_run_starts_from_a_models_weights(tmp_path: Path) -> None:
    """Every weight and buffer is the model's, whatever torch's random state is."""
    folder = write_model(tmp_path / "model", seed=5)
    torch.manual_seed(99)
    state = initial_network(starting_from(folder)).state_dict()
    expected = load_model(folder).network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_without_a_model_weights_follow_the_seed() -> None:
    """An empty setting is a fresh network."""
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(initial_network(starting_from("")).state_dict())
    torch.manual_seed(7)
    fresh = build_network(TINY_CONFIG.model).state_dict()
    assert all(torch.equal(fresh[name], state[name]) for state in states for name in fresh)


@pytest.mark.parametrize("part", ["image_head", "mosaic", "quantization"])
@pytest.mark.parametrize("wanted", [True, False], ids=["model lacks it", "run lacks it"])
def test_a_part_may_be_on_one_side_only(tmp_path: Path, part: str, *, wanted: bool) -> None:
    """A part that the model lacks stays random, one that the run does not want is left out; the rest is the model's."""
    with_part, without = (
        replace(TINY_CONFIG, model=replace(TINY_CONFIG.model, **{part: present}))  # type: ignore[arg-type]
        for present in (True, False)
    )
    run, stored = (with_part, without) if wanted else (without, with_part)
    torch.manual_seed(1)
    folder, network = tmp_path / "model", build_network(stored.model)
    save_model(folder, network, stored, name="tiny", calibration=make_calibration(), training={"source": "none"})
    torch.manual_seed(2)
    state = initial_network(starting_from(folder, run)).state_dict()
    torch.manual_seed(2)
    fresh, model = build_network(run.model).state_dict(), network.state_dict()
    assert state.keys() == fresh.keys()
    for name, value in state.items():
        assert torch.equal(value, model[name] if name in model else fresh[name])
    assert bool(state.keys() - model.keys()) == wanted


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_run_of_every_shipped_model_starts(path: Path) -> None:
    """Its card says that one command repeats it: with the settings and the starting point as they are shipped now."""
    config = load_config(path)
    state = initial_network(config).state_dict()
    if config.train.initial:
        start = load_model(config.train.initial).network.state_dict()
        assert sum(torch.equal(state[name], value) for name, value in start.items()) > 0.9 * len(start)


def test_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    """The message shows both shapes."""
    folder = write_model(tmp_path / "model")
    wider = replace(TINY_CONFIG, model=replace(TINY_CONFIG.model, embedding_dim=16))
    with pytest.raises(ConfigError, match=r"\[model\].*embedding_dim=8.*embedding_dim=16"):
        initial_network(starting_from(folder, wider))


def test_missing_model_is_named(tmp_path: Path) -> None:
    """There is nothing to start from."""
    with pytest.raises(WeightsMissingError, match="nowhere"):
        initial_network(starting_from(tmp_path / "nowhere"))


def test_the_manifest_names_the_start_and_what_it_has_seen(tmp_path: Path) -> None:
    """Two runs, the second from the first: nothing that its weights come from is hidden from an evaluation."""
    photos = make_photo_folder(tmp_path / "photos", count=12)
    first = write_model(tmp_path / "first", seed=5)
    shas = [load_model(first).sha256]
    for name, initial in (("second", first), ("third", tmp_path / "second")):
        train = TrainConfig(photos=str(photos), out=str(tmp_path / name), initial=str(initial), steps=1, batch_size=2)
        train = replace(train, workers=0, validation_share=0.3, validation_samples=2, device="cpu", validate_every=0)
        run_training(replace(TINY_CONFIG, forge=ForgeConfig(size=64), train=train))
        shas.append(load_model(tmp_path / name).sha256)
    training = load_model(tmp_path / "third").manifest["training"]
    assert (training["initial"], training["initial_sha256"]) == ("second", shas[1])
    assert training["initial_training"] == f"{training['kind']}; before that: not stated"
    write_model(tmp_path / "first", seed=6)
    second = load_config(tmp_path / "second" / "config.toml")
    run_training(replace(second, train=replace(second.train, steps=2)), resume=True)
    assert load_model(tmp_path / "second").manifest["training"]["initial_sha256"] == shas[0]


@pytest.mark.filterwarnings("ignore", "error:compile = true")  # torch's compiler warns of its own affairs
def test_compiled_network_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of a compiled run leaves weights under their usual names, near those of a run that is not compiled.

    The graphs are traced and differentiated by the compiler, but run as they are: generating C++ for all of them took
    four minutes on a processor without AVX512. The next test has it generate some.
    """
    compiler = torch.compile
    found = run_with_compiler(
        tmp_path / "compiled", monkeypatch, lambda network: cast("nn.Module", compiler(network, backend="aot_eager"))
    )
    expected = run_with_compiler(tmp_path / "plain", monkeypatch, lambda network: network)
    assert found.keys() == expected.keys()
    weights = [name for name in expected if name.startswith("network.") and expected[name].is_floating_point()]
    differences = torch.cat([(found[name] - expected[name]).abs().flatten() for name in weights])
    assert differences.max() < 1e-3
    assert differences.median() < 1e-6


@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_generated_code_has_the_same_gradient() -> None:
    """Of one branch: convolution, batch norm, projection and the unit length of the embeddings."""
    branch = Branch(8, 8, 8).train()
    cells = torch.rand(2, 8, 12, 12)

    def loss(module: nn.Module) -> torch.Tensor:
        features, embeddings = module(cells)
        products: torch.Tensor = embeddings[:, :4] * features[:, 4:]
        return products.sum()

    compiled = cast("nn.Module", torch.compile(branch))
    assert gradient_difference(branch, lambda: loss(branch), lambda: loss(compiled)) < 1e-4


def run_with_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: Callable[[nn.Module], nn.Module]
) -> dict[str, torch.Tensor]:
    """Train one step with a stand-in for torch's compiler, and return the stored tensors."""
    monkeypatch.setattr("nclforensics.pipelines.trainer.torch.compile", compiler)
    photos = make_photo_folder(tmp_path / "photos", count=12)
    train = TrainConfig(photos=str(photos), out=str(tmp_path / "run"), steps=1, batch_size=2, workers=0, compile=True)
    train = replace(train, warmup_steps=1, validation_share=0.3, validation_samples=2, device="cpu", validate_every=0)
    run_training(replace(TINY_CONFIG, forge=ForgeConfig(size=64), train=train))
    return read_tensors(tmp_path / "run" / CHECKPOINT_FILE)


class Garbage(nn.Module):
    """What a broken compiler makes of a network: embeddings of uninitialized memory."""

    def __init__(self, network: nn.Module, value: float) -> None:
        super().__init__()
        self.network = network
        self.value = value

    def forward(self, images: torch.Tensor) -> PivotOutput:
        """Return the network's output with the first half of the embeddings overwritten."""
        output: PivotOutput = self.network(images)
        ruined = output.embeddings_plus.clone()
        ruined[: len(ruined) // 2] = self.value * output.logits.mean()
        return output._replace(embeddings_plus=ruined)


@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_network_that_is_compiled_wrongly_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """The run warns, goes on without the compiler, and learns exactly what a plain run does."""
    with pytest.warns(UserWarning, match="without the compiler"):
        found = run_with_compiler(tmp_path / "wrong", monkeypatch, lambda network: Garbage(network, value))
    expected = run_with_compiler(tmp_path / "right", monkeypatch, lambda network: network)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_slow_precision_is_said_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 on a processor without its instructions: a note, and the run goes on."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    photos = make_photo_folder(tmp_path / "photos", count=12)
    train = TrainConfig(photos=str(photos), out=str(tmp_path / "run"), steps=1, batch_size=2, workers=0)
    train = replace(train, validation_share=0.3, validation_samples=2, device="cpu", precision="bf16")
    heard: list[str] = []
    summary = run_training(replace(TINY_CONFIG, forge=ForgeConfig(size=64), train=train), note=heard.append)
    assert summary.state.step == 1
    assert [message for message in heard if "Use --precision fp32" in message] != []
