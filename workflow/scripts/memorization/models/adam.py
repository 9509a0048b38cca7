"""The optimisers Adam and AdamW.

The first optimiser of ``torch.optim`` that is made imports PyTorch's compiler, which takes a second in every
training job. The function that makes the step does not, and is used here.
"""

import torch
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Adam, or AdamW if weight decay is decoupled from the gradient.

    A step changes the same bits as one of ``torch.optim.Adam`` or ``torch.optim.AdamW`` with ``fused=True``. A
    parameter without a gradient is skipped, with its moments and its weight decay.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], lr: float, weight_decay: float, decoupled: bool):
        self.parameters = parameters
        self.lr = lr
        self.weight_decay = weight_decay
        self.decoupled = decoupled
        self.state: dict[int, dict[str, torch.Tensor]] = {}
        """The number of steps and the two moments of each parameter that has been updated, by its place."""

    def zero_grad(self) -> None:
        """Drop the gradient of each parameter."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update each parameter that has a gradient."""
        updated = [(i, parameter) for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        for i, parameter in updated:
            if i not in self.state:
                step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.state[i] = {"step": step, **moments}
        states = [self.state[i] for i, _ in updated]
        adam(
            [parameter for _, parameter in updated],
            [parameter.grad for _, parameter in updated],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            decoupled_weight_decay=self.decoupled,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.lr,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[int, dict[str, torch.Tensor]]:
        """Return the state of each parameter; it shares memory with the optimiser."""
        return self.state

    def load_state_dict(self, state: dict[int, dict[str, torch.Tensor]]) -> None:
        """Continue from what `state_dict` returned, on the devices of the parameters.

        Raises ValueError if it is the state of an optimiser of ``torch.optim``.
        """
        if "param_groups" in state:
            raise ValueError("the state of an optimiser of an earlier version: train from the start")
        self.state = {
            i: {name: value.to(self.parameters[i].device) for name, value in of_parameter.items()}
            for i, of_parameter in state.items()
        }
