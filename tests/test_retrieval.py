"""The retrieval of the dense associative memory against autograd, and at the limits of single precision."""

import copy
import math
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dam import dam_settings, multiset_of, problem

from memorization.models.learners import build_learner
from memorization.models.retrieval import Retrieval, bit_losses, loss_and_gradients, predict
from memorization.sequences import generate_sequence_set

pytestmark = pytest.mark.usefixtures("one_thread")


def plain_loss(A_logits, B_logits, eta, memory, zeta, share):
    """The loss of ζ (B, N), with the operations of PyTorch and a softmax over all M stored sequences.

    The logarithm is that of a sum of exponentials, so that no probability is too small. The value of a loss is
    bounded, its gradient is not. A probability that the type cannot hold has no gradient.
    """
    phi = memory @ torch.softmax(B_logits, dim=-1).T  # (M, H)
    losses = []
    for n in range(zeta.shape[1]):
        phi_hat = zeta[:, :n] @ torch.softmax(A_logits[n, :, :n], dim=-1).T  # (B, H)
        log_pi = torch.log_softmax(eta * phi_hat @ phi.T, dim=-1)  # (B, M)
        wrong = memory[:, n] != zeta[:, n, None]
        log_P = log_pi.masked_fill(wrong, -1e4).logsumexp(dim=-1)
        held = log_P.detach() >= math.log(torch.finfo(log_P.dtype).tiny)
        value, slope = log_P.detach().clamp(min=math.log(1e-12)), torch.where(held, log_P, 0.0)
        losses.append(-(value + slope - slope.detach()) @ share)
    return sum(losses) / len(losses)


def logits_and_inputs(seed, scale, **sizes):
    """Random logits, a memory of few distinct sequences, ζ and the share of each, in float64."""
    A_logits, B_logits, memory, zeta = map(torch.from_numpy, problem(seed, **sizes))
    share = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(len(zeta))))
    return (scale * A_logits).requires_grad_(), (scale * B_logits).requires_grad_(), memory, zeta, share


def gradients_of_autograd(A_logits, B_logits, *inputs):
    loss = plain_loss(A_logits, B_logits, *inputs)
    loss.backward()
    return loss.item(), A_logits.grad, B_logits.grad


def assert_close(gradient, expected, rtol):
    """Compare with the largest entry, because gradients can vanish but for rounding."""
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-13 + rtol * expected.abs().max().item())


@settings(max_examples=100)
@given(
    seed=st.integers(0, 1000),
    N=st.integers(2, 9),
    H=st.integers(1, 5),
    stored=st.integers(1, 40),
    distinct=st.integers(1, 30),
    batch=st.integers(1, 6),
    scale=st.sampled_from([0.1, 1, 5, 50]),
    eta=st.floats(0.1, 300),
    num_scores=st.integers(1, 2000),
    trained=st.sampled_from(["AB", "A", "B", ""]),
)
def test_the_loss_and_its_gradients_are_those_of_autograd(seed, scale, eta, num_scores, trained, **sizes):
    A_logits, B_logits, memory, zeta, share = logits_and_inputs(seed, scale, **sizes)
    expected_loss, *expected = gradients_of_autograd(A_logits, B_logits, eta, memory, zeta, share)
    A_logits.requires_grad_("A" in trained)
    B_logits.requires_grad_("B" in trained)
    loss, *gradients = loss_and_gradients(A_logits, B_logits, eta, multiset_of(memory), zeta, share, num_scores)
    assert loss.item() == pytest.approx(expected_loss, rel=1e-11)
    for name, gradient, by_autograd in zip("AB", gradients, expected, strict=True):
        assert (gradient is not None) == (name in trained)
        if gradient is not None:
            assert_close(gradient, by_autograd, 1e-10)


def many_scores():
    """Inputs with more scores than stay in a cache."""
    return logits_and_inputs(8, 1, N=30, H=8, stored=400, batch=40, distinct=300)


@pytest.mark.parametrize("num_scores", [100_000, 1_000_000])
def test_the_gradients_of_many_scores_are_those_of_autograd(num_scores):
    A_logits, B_logits, memory, zeta, share = many_scores()
    expected_loss, *expected = gradients_of_autograd(A_logits, B_logits, 10.0, memory, zeta, share)
    loss, *gradients = loss_and_gradients(A_logits, B_logits, 10.0, multiset_of(memory), zeta, share, num_scores)
    assert loss.item() == pytest.approx(expected_loss, rel=1e-11)
    for gradient, by_autograd in zip(gradients, expected, strict=True):
        assert_close(gradient, by_autograd, 1e-10)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 9), num_scores=st.integers(1, 2000))
def test_a_sequence_is_predicted_alike_alone_and_among_others(seed, batch, num_scores):
    A_logits, B_logits, memory, zeta, _ = logits_and_inputs(seed, 1, N=7, H=3, stored=30, batch=batch, distinct=20)
    arguments = A_logits, B_logits, 10.0, multiset_of(memory)
    together = predict(*arguments, zeta, num_scores)
    alone = [predict(*arguments, sequence) for sequence in zeta.split(1)]
    torch.testing.assert_close(together, torch.cat(alone, dim=2), rtol=0, atol=1e-13)


@pytest.mark.parametrize("eta", [0.01, 10, 1000, 1e5])
@pytest.mark.parametrize("scale", [0.1, 30])
def test_scores_far_apart_lose_nothing_in_single_precision(eta, scale):
    """Scores are up to H · η apart, and the exponential of 88 is more than single precision holds."""
    inputs = logits_and_inputs(5, scale, N=12, H=8, stored=200, batch=16, distinct=60)
    A_logits, B_logits, memory, zeta, share = (tensor.detach().float() for tensor in inputs)
    P = predict(A_logits, B_logits, eta, multiset_of(memory, torch.float32), zeta)
    # The product η φ̂·φ keeps seven digits. From there on nothing more may be lost.
    expected = predict(
        *(x.double() for x in (A_logits, B_logits)), eta, multiset_of(memory.double()), zeta.double()
    )
    atol = 1e-6 + 1e-6 * eta
    torch.testing.assert_close(P.double(), expected, rtol=0, atol=min(atol, 1.0))
    torch.testing.assert_close(P.sum(dim=1), torch.ones(12, 16), rtol=0, atol=1e-6)
    A_logits.requires_grad_()
    B_logits.requires_grad_()
    for value in loss_and_gradients(A_logits, B_logits, eta, multiset_of(memory, torch.float32), zeta, share):
        assert value.isfinite().all()


@pytest.mark.parametrize("lead", [10.0, 60.0])
def test_a_confident_prediction_has_its_gradient_in_single_precision(lead):
    """P is e^−lead of 1, or e^−lead itself: 1 − P and P alike keep their digits, however wrong the model is."""
    memory = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    for zeta in (torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])):
        gradients = []
        for dtype in (torch.float32, torch.float64):
            A_logits = torch.zeros(2, 1, 2, dtype=dtype)
            B_logits = torch.tensor([[1.0, 2.0]], dtype=dtype).requires_grad_()
            stored, share = multiset_of(memory, dtype), torch.ones(1, dtype=dtype)
            retrieval = Retrieval(A_logits, B_logits, lead / 2, stored)
            _, _, by_B = retrieval.gradients(zeta.to(dtype), share, by_A=False, by_B=True)
            gradients.append(by_B.double())
        # 1 − P times the derivative of the lead by an entry of B, which is the lead; the mean is over two bits.
        expected = (math.exp(-lead) if zeta[0, 1] > 0 else 1) * lead / 2
        assert gradients[1].abs().max().item() == pytest.approx(expected, rel=1e-3)
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=0)


def test_the_first_bit_has_exactly_the_stored_fraction():
    """Copies are counted, not added as logarithms: a tie is a tie."""
    memory = torch.tensor(3 * [[1.0, 1.0]] + [[-1.0, 1.0]] + 2 * [[-1.0, -1.0]])
    A_logits, B_logits = torch.randn(2, 3, 2), torch.randn(3, 2)
    P = predict(A_logits, B_logits, 7.0, multiset_of(memory, torch.float32), torch.ones(1, 2))
    assert P[0, :, 0].tolist() == [0.5, 0.5]


def learner_and_sets(**changed):
    args = dam_settings(**changed)
    sets = [generate_sequence_set(args["seed"], s, args["K"], args["N"]) for s in range(2)]
    return build_learner(SimpleNamespace(**args), sets), args, sets


@pytest.mark.parametrize("changed", [{}, {"optimizer": "adamw", "weight_decay": 0.1, "eta": 40.0}])
def test_training_stays_within_rounding_of_autograd(changed):
    learner, args, sets = learner_and_sets(lr=1e-2, **changed)
    for name in ("A_logits", "B_logits"):
        setattr(learner, name, torch.nn.Parameter(getattr(learner, name).double()))
    plain = copy.copy(learner)
    plain.A_logits, plain.B_logits = (copy.deepcopy(p) for p in (learner.A_logits, learner.B_logits))
    queue, losses = deque(maxlen=args["M"]), []
    for iteration in range(200):
        current = sets[iteration >= 100]
        if iteration == 100:
            for side in (learner, plain):
                side.settings.freeze = "A"
                side.freeze()
        ranks = np.random.default_rng(iteration).zipf(1.5, size=args["batch_size"]) % args["K"]
        batch = torch.from_numpy(current[ranks])
        loss = learner.learn(batch, (iteration >= 100) * args["K"] + ranks)
        zeta = 2.0 * batch.double() - 1
        if queue:
            share = torch.full((len(zeta),), 1 / len(zeta), dtype=torch.float64)
            memory = torch.stack(list(queue))
            expected = plain_loss(plain.A_logits, plain.B_logits, args["eta"], memory, zeta, share)
            plain.optimizer.zero_grad()
            expected.backward()
            plain.optimizer.step()
            assert loss.item() == pytest.approx(expected.item(), rel=1e-8)
        queue.extend(zeta)
        losses.append(loss.item())
    assert np.mean(losses[50:100]) < 0.8 * np.mean(losses[1:20])
    for name in ("A_logits", "B_logits"):
        torch.testing.assert_close(getattr(learner, name), getattr(plain, name), rtol=0, atol=1e-7)


def test_a_large_set_is_evaluated_like_its_parts():
    learner, args, _ = learner_and_sets()
    learner.append(np.arange(25))
    # More sequences than are evaluated at once.
    sequences = np.random.default_rng(0).integers(0, 2, size=(2500, args["N"]))
    loss, accuracy = learner.evaluate(sequences)
    parts = [learner.evaluate(part) for part in np.split(sequences, [700, 1300, 1301])]
    np.testing.assert_allclose(loss, np.concatenate([part[0] for part in parts]), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(accuracy, np.concatenate([part[1] for part in parts]))
    assert not np.array_equal(loss[:1000], loss[1000:2000])


def bytes_of_a_step(num_scores):
    A_logits, B_logits, memory, zeta, share = logits_and_inputs(
        8, 1, N=30, H=8, stored=400, batch=40, distinct=300
    )
    P = predict(A_logits, B_logits, 10.0, multiset_of(memory), zeta, num_scores)
    step = loss_and_gradients(A_logits, B_logits, 10.0, multiset_of(memory), zeta, share, num_scores)
    return [value.numpy().tobytes() for value in (P, *step)]


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_same_threads_give_the_same_bytes(num_threads):
    torch.set_num_threads(num_threads)
    torch.set_deterministic_debug_mode("error")
    assert bytes_of_a_step(100_000) == bytes_of_a_step(100_000)


def test_no_number_is_read_before_it_is_written():
    torch.set_deterministic_debug_mode("error")
    found = []
    for filled_with_nan in (True, False):
        torch.utils.deterministic.fill_uninitialized_memory = filled_with_nan
        found.append(bytes_of_a_step(100_000))
    assert found[0] == found[1]
    assert not any(np.isnan(np.frombuffer(value)).any() for value in found[0])


def test_the_loss_of_a_step_is_that_of_the_predictions_before_it():
    A_logits, B_logits, memory, zeta, share = logits_and_inputs(3, 1, N=6, H=2, stored=9, batch=5, distinct=4)
    loss, *_ = loss_and_gradients(A_logits, B_logits, 3.0, multiset_of(memory), zeta, share)
    losses = bit_losses(predict(A_logits, B_logits, 3.0, multiset_of(memory), zeta), zeta)
    assert loss.item() == pytest.approx((losses.mean(dim=0) @ share).item())
