"""The optimisers: the same bits as those of PyTorch, which import its compiler."""

import pytest
import torch

from memorization.models.adam import Adam

SHAPES = ((8, 3), (3,), (5, 3), ())
TORCH = {False: torch.optim.Adam, True: torch.optim.AdamW}


def parameters():
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def step(optimizer, updated, iteration):
    """Make a step with gradients that follow from the iteration; sometimes the second has none."""
    generator = torch.Generator().manual_seed(iteration)
    for i, parameter in enumerate(updated):
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if i == 1 and iteration % 3 == 0 else gradient
    optimizer.step()


@pytest.mark.parametrize("decoupled", TORCH)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_every_step_gives_the_bits_of_pytorch(decoupled, weight_decay):
    ours, theirs = parameters(), parameters()
    optimizers = [
        Adam(ours, 1e-2, weight_decay, decoupled),
        TORCH[decoupled](theirs, lr=1e-2, weight_decay=weight_decay, fused=True),
    ]
    for iteration in range(20):
        for optimizer, updated in zip(optimizers, (ours, theirs), strict=True):
            step(optimizer, updated, iteration)
        assert all(torch.equal(our, their) for our, their in zip(ours, theirs, strict=True))


def test_an_optimiser_continues_from_the_state_of_another():
    through, first, second = parameters(), parameters(), parameters()
    before, after = Adam(first, 1e-2, 0.1, False), Adam(second, 1e-2, 0.1, False)
    whole = Adam(through, 1e-2, 0.1, False)
    for iteration in range(10):
        step(whole, through, iteration)
        if iteration < 4:
            step(before, first, iteration)
    with torch.no_grad():
        for parameter, value in zip(second, first, strict=True):
            parameter.copy_(value)
    after.load_state_dict(before.state_dict())
    for iteration in range(4, 10):
        step(after, second, iteration)
    assert all(torch.equal(one, other) for one, other in zip(through, second, strict=True))


def test_the_state_is_on_the_device_of_its_parameter():
    parameter = torch.nn.Parameter(torch.empty(3, device="meta"))
    parameter.grad = torch.empty(3, device="meta")
    optimizer = Adam([parameter], 1e-2, 0.0, False)
    optimizer.step()
    assert {state.device.type for state in optimizer.state[0].values()} == {"meta"}


def test_the_state_of_an_optimiser_of_pytorch_is_refused():
    updated = parameters()
    state = torch.optim.Adam(updated).state_dict()
    with pytest.raises(ValueError, match="earlier version: train from the start"):
        Adam(updated, 1e-2, 0.0, False).load_state_dict(state)
