"""No tensor meets one of another device: what a GPU would refuse, found without one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from nclforensics.config import ForgeConfig, LossConfig, PatchConfig, RunConfig
from nclforensics.networks.build import build_network
from nclforensics.ops.class_lse import cuda_backend
from nclforensics.pipelines.inference import Localizer
from nclforensics.pipelines.training_data import TrainingSample
from nclforensics.pipelines.training_step import TrainingStep
from tests.factories import make_image
from tests.pretend_gpu import PRETEND, PretendTensor, pretended_gpu
from tests.tiny_model import TINY_CONFIG, make_network

if TYPE_CHECKING:
    from typing import Literal

    from nclforensics.config import ContrastiveForm
    from nclforensics.ops.class_lse.launch import Launch

CPU = torch.device("cpu")


def test_the_pretended_gpu_refuses_what_a_gpu_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of two devices in one operation, and NumPy."""
    with pretended_gpu(monkeypatch) as device:
        there, here = torch.ones(3, device=device), torch.ones(3)
        assert (there + here.to(device)).sum().item() == 6
        with pytest.raises(RuntimeError, match="mixes devices"):
            there + here
        with pytest.raises(RuntimeError, match="mixes devices"):
            there[torch.tensor([0])]
        with pytest.raises(RuntimeError):
            there.numpy()


def losses_of_a_step(device: torch.device, form: ContrastiveForm, scope: Literal["image", "batch"]) -> dict[str, float]:
    """Return the terms of a step with every stream and loss, after its backward pass and the optimizer's step."""
    model = replace(TINY_CONFIG.model, image_head=True)
    losses, patches = LossConfig(form=form, edge=1.0, image=1.0), PatchConfig(scope=scope)
    config = RunConfig(model=model, losses=losses, patches=patches, forge=ForgeConfig(size=64))
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[:, 20:45, 20:45] = True
    pixels = torch.from_numpy(np.stack([make_image(64, 64, seed=seed).transpose(2, 0, 1) for seed in (1, 2)]))
    torch.manual_seed(0)
    network = build_network(model).to(device)
    terms = TrainingStep(config, stride=network.stride, device=device)(
        network, TrainingSample(pixels, mask, torch.ones_like(mask)), 0
    )
    torch.autograd.backward(terms.total)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    torch.optim.AdamW(network.parameters()).step()
    return terms.scalars()


@pytest.mark.parametrize(("form", "scope"), [("infonce", "image"), ("pixel", "batch"), ("supcon", "batch")])
def test_a_training_step_stays_on_its_device(
    monkeypatch: pytest.MonkeyPatch, form: ContrastiveForm, scope: Literal["image", "batch"]
) -> None:
    """Mining, losses and gradients, with the numbers of the CPU."""
    expected = losses_of_a_step(CPU, form, scope)
    with pretended_gpu(monkeypatch) as device:
        assert losses_of_a_step(device, form, scope) == pytest.approx(expected, rel=1e-5)


def test_a_scan_stays_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """In tiles, with the score map of the CPU."""
    network, image = make_network(), make_image(140, 200, seed=3)
    maps = []
    with pretended_gpu(monkeypatch) as device, torch.no_grad():
        for place in (CPU, device):
            localizer = Localizer(network, device=place, tile=512)
            localizer._first.largest_whole = 0  # cut even this image
            maps.append(np.empty(image.shape[:2], np.float32))
            # Without inference mode, which knows no tensors of other kinds.
            assert localizer._first.write_scores(image, maps[-1]).tiles > 1
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)


def test_the_kernels_get_tensors_of_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layout and arguments of every launch, with groups and without."""
    launches: list[Launch] = []
    with pretended_gpu(monkeypatch) as device:
        z, roles = torch.rand(5, 8, device=device), torch.tensor([0, 1, 2, -1, 0]).to(device)
        bias, weights = torch.rand(5, device=device), torch.rand(5, 3, device=device)
        for groups in (None, torch.tensor([3, 3, 7, 7, 3]).to(device)):
            inputs = z, roles, groups
            cuda_backend.lse_forward(*inputs, 0.1, launcher=launches.append)
            cuda_backend.lse_backward(weights, *inputs, weights, 0.1, launcher=launches.append)
            cuda_backend.softplus_forward(*inputs, bias, 0.1, launcher=launches.append)
            cuda_backend.softplus_backward(bias, *inputs, bias, 0.1, launcher=launches.append)
    tensors = [value for launch in launches for value in launch.arguments if isinstance(value, torch.Tensor)]
    assert len({launch.kernel for launch in launches}) == 7
    assert all(isinstance(tensor, PretendTensor) and tensor.device == PRETEND for tensor in tensors)
