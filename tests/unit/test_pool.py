"""The pool of samples: what a step computes, what is read once, and how often the host waits for the device."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import tiny_llama
from torch.utils._python_dispatch import TorchDispatchMode

from pqm.models.sampling.drawing import BLOCK, draw
from pqm.models.sampling.pool import Pool
from pqm.problems.tokenizer import word_problem_tokenizer

PROMPTS = [(5, 6, 7, 8), (5, 6), (9,), (5, 6, 7, 8), (9, 10, 11)]
NEW = 12
WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::item", "aten::masked_select"}  # the host waits for their results


@pytest.fixture(scope="module")
def model():
    return tiny_llama(word_problem_tokenizer(), 96, 0.2, heads=4)


def noise(names):
    return np.stack([np.random.default_rng(name).random(NEW) for name in names])


def sampled(model, slots, steps_per_look=1, prompts=PROMPTS, admit=None):
    """The finished samples by name: (tokens, log likelihood, whether it ended)."""
    pool = Pool(model, slots, 4 + NEW, NEW, 1.0, end=1)
    pool.steps_per_look = steps_per_look
    waiting, found = list(range(len(prompts))), {}
    with torch.inference_mode():
        while waiting or pool.owners:
            now, waiting = waiting[: pool.free], waiting[pool.free :]
            if now:
                pool.admit([prompts[name] for name in now], now, noise(now))
            pool.step()
            found |= {one.owner: (one.tokens, pytest.approx(one.log_likelihood, abs=1e-5), one.ended) for one in pool.look()}
    return found


def plain(model, name):
    """The same sample, token by token, by reading the whole text again."""
    text, total = list(PROMPTS[name]), 0.0
    for uniform in noise([name])[0]:
        with torch.inference_mode():
            logits = model(torch.tensor([text])).logits[:, -1].double()
        heights = torch.softmax(logits, dim=-1).cumsum(dim=-1)[0].numpy()
        token = int((heights <= uniform * heights[-1]).sum())
        total += torch.log_softmax(logits, dim=-1)[0, token].item()
        if token == 1:
            return text[len(PROMPTS[name]) :], total, True
        text.append(token)
    return text[len(PROMPTS[name]) :], total, False


@pytest.mark.parametrize("steps_per_look", [1, 3, 8])
@pytest.mark.parametrize("slots", [1, 2, 5, 7])
def test_a_sample_is_that_of_reading_its_text_again_for_each_token(model, slots, steps_per_look):
    found = sampled(model, slots, steps_per_look)
    assert found == {name: plain(model, name) for name in range(len(PROMPTS))}
    assert {ended for _, _, ended in found.values()} == {True, False} or len({len(one[0]) for one in found.values()}) > 1


def test_a_prompt_and_its_beginnings_are_read_once(model):
    read = []
    hook = model.base_model.register_forward_pre_hook(
        lambda _, __, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    try:
        pool = Pool(model, len(PROMPTS), 4 + NEW, NEW, 1.0, end=1)
        with torch.inference_mode():
            pool.admit(PROMPTS, range(len(PROMPTS)), noise(range(len(PROMPTS))))
    finally:
        hook.remove()
    # All but the last token of (9, 10, 11) and of (5, 6, 7, 8), which the others begin or equal.
    assert read == [(2, 3)]


def test_the_host_waits_only_when_it_looks(model):
    class Counting(TorchDispatchMode):
        waits = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.waits += function._schema.name in WAITING
            return function(*args, **kwargs or {})

    pool = Pool(model, 8, 4 + NEW, NEW, 1.0, end=1)
    pool.steps_per_look = 8
    with torch.inference_mode():
        pool.admit(PROMPTS, range(len(PROMPTS)), noise(range(len(PROMPTS))))
        with Counting() as counting:
            pool.step()
            assert counting.waits == 0, "eight tokens per row without waiting"
            torch.ones(2).sum().item()
            assert counting.waits == 1, "the count works"


def test_slots_of_finished_samples_are_used_again_and_left_texts_are_not_seen(model):
    many = [PROMPTS[number % len(PROMPTS)] for number in range(20)]
    together = sampled(model, 20, prompts=many)
    assert sampled(model, 3, prompts=many) == {name: (one[0], one[1], one[2]) for name, one in together.items()}


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([2, 5, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 1000]),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    seed=st.integers(0, 10**6),
)
def test_tokens_are_drawn_by_inverse_transform(size, temperature, seed):
    random = np.random.default_rng(seed)
    logits = torch.tensor(random.normal(size=(7, size)) * 3, dtype=torch.float32)
    uniform = torch.tensor([0.0, 1 - 1e-16, *random.random(5)], dtype=torch.float64)
    token, gain = draw(logits, uniform, temperature)
    heights = np.exp(logits.numpy().astype(float) / temperature)
    heights = (heights / heights.sum(axis=1, keepdims=True)).cumsum(axis=1)
    for row, (chosen, place) in enumerate(zip(token.tolist(), uniform.tolist())):
        below = heights[row, chosen - 1] if chosen else 0.0
        assert below - 1e-6 <= place <= heights[row, chosen] + 1e-6
    expected = torch.log_softmax(logits.double(), dim=-1).gather(1, token.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(gain.double(), expected, atol=1e-5, rtol=1e-5)


def test_a_token_of_no_probability_is_never_drawn():
    logits = torch.full((4, 2 * BLOCK + 3), -torch.inf)
    logits[:, [BLOCK + 4, 2 * BLOCK]] = 0.0
    token, _ = draw(logits, torch.tensor([0.0, 0.4, 0.6, 1 - 1e-16], dtype=torch.float64), 1.0)
    assert token.tolist() == [BLOCK + 4, BLOCK + 4, 2 * BLOCK, 2 * BLOCK]


KERNEL = """
import torch
from pqm.models.sampling.slot_kernel import attend
torch.manual_seed(0)
for rows, heads, group, size, length in ((5, 3, 3, 64, 200), (4, 2, 1, 16, 70), (3, 2, 4, 32, 130)):
    query = torch.randn(rows, heads * group, size)
    keys, values = torch.randn(2, rows + 2, heads, length, size)
    positions = torch.randint(0, length, (rows + 2,))
    positions[:2] = torch.tensor([0, length - 1])
    found = attend(query, keys[:rows], values[:rows], positions, size**-0.5)
    seen = (torch.arange(length) <= positions[:rows, None])[:, None, None]
    expected = torch.nn.functional.scaled_dot_product_attention(
        query[:, :, None], *(one[:rows].repeat_interleave(group, dim=1) for one in (keys, values)), attn_mask=seen
    )
    torch.testing.assert_close(found, expected[:, :, 0], atol=1e-5, rtol=1e-5)
"""


DRAWING = """
import torch
from pqm.models.sampling.draw_kernel import draw_row
from pqm.models.sampling.drawing import draw
torch.manual_seed(0)
for rows, size, spread, temperature in ((40, 3000, 3.0, 0.7), (40, 1024, 8.0, 1.0), (40, 300, 1.0, 1.3), (8, 2500, 3.0, 1e-5)):
    logits, uniform = spread * torch.randn(rows, size), torch.rand(rows, dtype=torch.float64)
    uniform[:2] = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    logits[:, 7], logits[:, -2:] = float("-inf"), float("-inf")
    tokens, gains = draw_row(logits, uniform, temperature)
    expected, expected_gains = draw(logits, uniform, temperature)
    assert torch.equal(tokens, expected), (tokens, expected)
    torch.testing.assert_close(gains, expected_gains, atol=1e-5, rtol=1e-5)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton comes with torch for GPUs only")
@pytest.mark.parametrize("script", [KERNEL, DRAWING], ids=["attention", "drawing"])
def test_the_kernels_compute_what_torch_does(script: str) -> None:
    source = str(Path(__file__).parents[2] / "src")
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": f"{source}:{os.environ.get('PYTHONPATH', '')}"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
