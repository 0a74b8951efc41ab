"""Samples depend only on names and seeds, and follow the model's distribution."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from small import tiny_llama

from pqm.errors import PqmError
from pqm.models.sampling.batched import sample
from pqm.models.sampling.engine import Request
from pqm.problems.tokenizer import word_problem_tokenizer

POSITIONS = 96
SHORT = "ana has 7 coins . how many coins ?\n"
LONG = "ben has 4 cards . tuesday bus costs 3 . monday aunt gives 8 . how many cards ?\n"
MIDDLE = "eva has 9 pens . monday king adds 2 . how many pens ?\n"
REQUESTS = [Request("short", SHORT, 3), Request("long", LONG, 4), Request("middle", MIDDLE, 2)]


@pytest.fixture(scope="module")
def tokenizer():
    return word_problem_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_llama(tokenizer, POSITIONS, 0.2, heads=4)


def prompt_ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def drawn(groups):
    return [[(one.tokens, one.text, one.finish_reason) for one in group] for group in groups]


def test_samples_do_not_depend_on_batch_mates_or_order(model, tokenizer):
    together = drawn(sample(model, tokenizer, REQUESTS, 1.0, 24, seed=1))
    alone = [drawn(sample(model, tokenizer, [request], 1.0, 24, seed=1))[0] for request in REQUESTS]
    backwards = drawn(sample(model, tokenizer, REQUESTS[::-1], 1.0, 24, seed=1))[::-1]
    assert together == alone == backwards
    assert [len(group) for group in together] == [3, 4, 2]


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
def test_samples_do_not_depend_on_how_many_are_written_at_once(model, tokenizer, rows):
    together = drawn(sample(model, tokenizer, REQUESTS, 1.0, 24, seed=1))
    assert drawn(sample(model, tokenizer, REQUESTS, 1.0, 24, seed=1, rows=rows)) == together


def test_waiting_samples_take_the_place_of_finished_ones(model, tokenizer, monkeypatch):
    widths = []
    forward = type(model).forward

    def counted(self, input_ids, **options):
        if input_ids.shape[1] == 1:
            widths.append(len(input_ids))
        return forward(self, input_ids, **options)

    monkeypatch.setattr(type(model), "forward", counted)
    requests = [Request(f"name {number}", SHORT, 1) for number in range(24)]
    one_by_one = drawn(sample(model, tokenizer, requests, 1.0, 24, seed=1, rows=1))
    alone, widths[:] = len(widths), []
    assert drawn(sample(model, tokenizer, requests, 1.0, 24, seed=1, rows=6)) == one_by_one
    assert max(widths) == 6 and sum(widths) == alone
    assert widths.count(6) > 0.6 * len(widths), "the batch stays full while prompts wait"


def test_skip_continues_in_the_same_stream(model, tokenizer):
    [whole] = drawn(sample(model, tokenizer, [Request("name", LONG, 4)], 1.0, 16, seed=1))
    [first], [rest] = (drawn(sample(model, tokenizer, [Request("name", LONG, 2, skip)], 1.0, 16, seed=1)) for skip in (0, 2))
    assert first + rest == whole
    assert len({tuple(tokens) for tokens, _, _ in whole}) == 4


def test_name_and_seed_choose_the_samples(model, tokenizer):
    def tokens(name, seed):
        return drawn(sample(model, tokenizer, [Request(name, LONG, 2)], 1.0, 16, seed))

    assert tokens("a", 1) == tokens("a", 1)
    assert tokens("a", 1) != tokens("b", 1)
    assert tokens("a", 1) != tokens("a", 2)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_log_likelihood_is_that_of_a_plain_forward_pass(model, tokenizer, temperature):
    groups = sample(model, tokenizer, REQUESTS, temperature, 24, seed=1)
    reasons = Counter()
    for request, group in zip(REQUESTS, groups):
        prompt = prompt_ids(tokenizer, request.prompt)
        for one in group:
            written = one.tokens + ([tokenizer.eos_token_id] if one.finish_reason == "stop" else [])
            with torch.inference_mode():
                log_probabilities = model(torch.tensor([prompt + written])).logits[0].double().log_softmax(-1)
            expected = sum(log_probabilities[len(prompt) - 1 + place, token].item() for place, token in enumerate(written))
            assert one.log_likelihood == pytest.approx(expected, abs=1e-4)
            reasons[one.finish_reason] += 1
    assert len(reasons) == 2


def test_samples_end_at_the_end_token_or_are_recorded_as_truncated(model, tokenizer):
    [group] = sample(model, tokenizer, [Request("many", SHORT, 60)], 1.0, 20, seed=0)
    for one in group:
        assert tokenizer.eos_token_id not in one.tokens
        assert one.text == tokenizer.decode(one.tokens, skip_special_tokens=True)
        assert one.finish_reason in ("stop", "length")
        if one.finish_reason == "length":
            assert len(one.tokens) == 20
        else:
            assert len(one.tokens) < 20
    assert {one.finish_reason for one in group} == {"stop", "length"}


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_first_tokens_are_drawn_from_the_softmax(model, tokenizer, temperature):
    count = 5000
    [group] = sample(model, tokenizer, [Request("many", SHORT, count)], temperature, 1, seed=3)
    tokens = Counter(one.tokens[0] if one.tokens else tokenizer.eos_token_id for one in group)
    with torch.inference_mode():
        logits = model(torch.tensor([prompt_ids(tokenizer, SHORT)])).logits[0, -1].double()
    expected = count * torch.softmax(logits / temperature, -1).numpy()
    observed = np.array([tokens[index] for index in range(len(expected))])
    frequent = expected >= 5
    pooled_expected = np.append(expected[frequent], expected[~frequent].sum())
    pooled_observed = np.append(observed[frequent], observed[~frequent].sum())
    assert frequent.sum() > 10
    assert stats.chisquare(pooled_observed, pooled_expected * count / pooled_expected.sum()).pvalue > 1e-3


def test_second_tokens_are_drawn_from_the_softmax_after_the_first(model, tokenizer):
    count = 4000
    [group] = sample(model, tokenizer, [Request("many", LONG, count), Request("mate", SHORT, 1)], 0.5, 2, seed=4)[:1]
    first = Counter(one.tokens[0] for one in group if one.tokens).most_common(1)[0][0]
    after = [one for one in group if one.tokens[:1] == [first]]
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt_ids(tokenizer, LONG), first]])).logits[0, -1].double()
    probabilities = torch.softmax(logits / 0.5, -1).tolist()
    second = Counter(one.tokens[1] if len(one.tokens) > 1 else tokenizer.eos_token_id for one in after)
    assert len(after) > 100
    for token, probability in enumerate(probabilities):
        spread = math.sqrt(probability * (1 - probability) / len(after))
        assert abs(second[token] / len(after) - probability) < 5 * spread + 2 / len(after)


def test_low_temperature_is_greedy(model, tokenizer):
    [group] = sample(model, tokenizer, [Request("cold", LONG, 3)], 1e-4, 6, seed=0)
    tokens = prompt_ids(tokenizer, LONG)
    for _ in range(6):
        with torch.inference_mode():
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    expected = tokens[-6:]
    if tokenizer.eos_token_id in expected:
        expected = expected[: expected.index(tokenizer.eos_token_id)]
    assert [one.tokens for one in group] == [expected] * 3


def test_prompts_that_leave_no_room_are_refused(model, tokenizer):
    room = POSITIONS - len(prompt_ids(tokenizer, LONG))
    sample(model, tokenizer, [Request("fits", LONG, 1)], 1.0, room, seed=0)
    with pytest.raises(PqmError, match=rf"max_new_tokens {room + 1} .*{POSITIONS} positions"):
        sample(model, tokenizer, [Request("fits", SHORT, 1), Request("too long", LONG, 1)], 1.0, room + 1, seed=0)
