"""Step scores and likelihoods equal those of reading each solution alone."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import tiny_llama
from transformers import AutoModelForTokenClassification

from pqm.errors import PqmError
from pqm.estimation.estimators import aggregate
from pqm.evaluate.scores import Scorer, score
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.models import prefix_trees
from pqm.models.encoded import Encoded
from pqm.models.policy import load_policy
from pqm.models.reward_model import Encoder, load_reward_model, reward_model, save_reward_model
from pqm.models.sampling.batched import sample
from pqm.models.sampling.engine import Request
from pqm.models.tree_attention import Piece, group
from pqm.problems.tokenizer import word_problem_tokenizer
from pqm.solution_format import SolutionFormat

POSITIONS = 96
LONG = "ben has 4 cards . tuesday bus costs 3 . monday aunt gives 8 . how many cards ?\n"


@pytest.fixture(scope="module")
def tokenizer():
    return word_problem_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_llama(tokenizer, POSITIONS, 0.2, heads=4)


@pytest.fixture(scope="module")
def folder(model, tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    SolutionFormat().save(path)
    return path


def prompt_ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


# ---------------------------------------------------------------- scoring

QUESTION = LONG.removesuffix("\n")
SOLUTIONS = [
    ["monday aunt gives 8 , 4 + 8 = 12", "tuesday bus costs 3 , 12 - 3 = 9 , answer 9"],
    ["monday aunt gives 8 , 4 + 8 = 12", "tuesday bus costs 3 , 12 - 3 = 8 , answer 8"],
    ["monday aunt gives 8 , 4 + 8 = 12"],
    ["tuesday bus costs 3 , 4 - 3 = 1", "monday aunt gives 8 , 1 + 8 = 9", "monday aunt gives 8 , 9 + 8 = 17 , answer 17"],
    [],
    ["monday aunt gives 8 , 4 + 8 = 12", "tuesday bus costs 3 , 12 - 3 = 9 , answer 9"],
]
OWN_TOKEN = SolutionFormat(question_template="how many ? {question}\n", step_separator="\n", step_token="answer")


@pytest.fixture(scope="module")
def reward(folder):
    return reward_model(folder, seed=3)[0].eval()


def step_scores(model, encoded, prompt, budget):
    return prefix_trees.step_scores(model, prefix_trees.build_prefix_trees([(encoded, prompt)], budget))


def log_likelihoods(model, encoded, prompt, budget):
    return prefix_trees.log_likelihoods(model, prefix_trees.build_prefix_trees([(encoded, prompt)], budget))


def plain_scores(model, encoded):
    with torch.inference_mode():
        logits = model(torch.tensor([encoded.tokens])).logits[0, :, 0]
    return [logits[end].item() for end in encoded.step_ends]


def prompt_tokens(encoder):
    return len(encoder(QUESTION, []).tokens)


def tokens_read(model, action):
    """The result of `action`, and the number of tokens that the model's body read."""
    counts = []
    hook = model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: counts.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    try:
        return action(), sum(counts)
    finally:
        hook.remove()


@pytest.mark.parametrize("form", [SolutionFormat(), OWN_TOKEN], ids=["plain", "own step token"])
@pytest.mark.parametrize("budget", [1, 40, 70, 10_000])
def test_scores_are_those_of_one_by_one_reading(reward, tokenizer, form, budget):
    encoder = Encoder(tokenizer, form)
    encoded = [encoder(QUESTION, steps) for steps in SOLUTIONS]
    scores = step_scores(reward, encoded, prompt_tokens(encoder), budget)
    assert [len(one) for one in scores] == [len(steps) for steps in SOLUTIONS]
    for found, one in zip(scores, encoded):
        assert found == pytest.approx(plain_scores(reward, one), abs=1e-5)
    assert np.ptp([score for one in scores for score in one]) > 0.01


@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_solutions_of_several_questions_are_read_in_one_row(reward, tokenizer, budget):
    encoder = Encoder(tokenizer, SolutionFormat())
    questions = [QUESTION, "dina" + QUESTION[3:], QUESTION]
    parts = [
        ([encoder(question, steps) for steps in SOLUTIONS[index:]], encoder.length(question, []))
        for index, question in enumerate(questions)
    ]
    trees = prefix_trees.build_prefix_trees(parts, budget)
    found = prefix_trees.step_scores(reward, trees)
    assert (len(trees.rows) == 1) == (budget == 10_000)
    for scores, one in zip(found, [one for solutions, _ in parts for one in solutions], strict=True):
        assert scores == pytest.approx(plain_scores(reward, one), abs=1e-5)


def test_scores_keep_the_order_of_the_solutions(reward, tokenizer):
    encoder = Encoder(tokenizer, SolutionFormat())
    encoded = [encoder(QUESTION, steps) for steps in SOLUTIONS]
    forwards, backwards = (step_scores(reward, order, prompt_tokens(encoder), 10_000) for order in (encoded, encoded[::-1]))
    for one, other in zip(forwards, backwards[::-1]):
        assert one == pytest.approx(other, abs=1e-5)


def test_equal_solutions_are_read_once_and_score_the_same(reward, tokenizer):
    encoder = Encoder(tokenizer, SolutionFormat())
    once = [encoder(QUESTION, SOLUTIONS[0]), encoder(QUESTION, SOLUTIONS[3])]
    scores, read = tokens_read(reward, lambda: step_scores(reward, once, prompt_tokens(encoder), 1))
    many_scores, many_read = tokens_read(reward, lambda: step_scores(reward, once * 8, prompt_tokens(encoder), 1))
    assert many_read == read > 0
    assert many_scores == scores * 8


def test_what_solutions_share_is_read_once(reward, tokenizer):
    encoder = Encoder(tokenizer, SolutionFormat())
    encoded = [encoder(QUESTION, steps) for steps in SOLUTIONS]
    prompt = prompt_tokens(encoder)
    beginnings = {one.tokens[:length] for one in encoded for length in range(prompt + 1, len(one.tokens) + 1)}
    _, read = tokens_read(reward, lambda: step_scores(reward, encoded, prompt, 10_000))
    assert read == prompt + len(beginnings)
    longest = max(len(one.tokens) - prompt for one in encoded)
    assert len(beginnings) < sum(len(one.tokens) - prompt for one in encoded[:4]) < 4 * longest


def test_the_last_mlp_reads_the_ends_of_steps_only(reward, tokenizer):
    encoder = Encoder(tokenizer, SolutionFormat())
    encoded = [encoder(QUESTION, steps) for steps in SOLUTIONS]
    mlp, read = reward.model.layers[-1].mlp, []
    hook = mlp.down_proj.register_forward_pre_hook(lambda _, given: read.append(given[0].shape[1]))
    try:
        step_scores(reward, encoded, prompt_tokens(encoder), 10_000)
    finally:
        hook.remove()
    assert read == [len({one.tokens[: end + 1] for one in encoded for end in one.step_ends})]
    assert mlp(torch.ones(1, 50, mlp.down_proj.out_features)).any(dim=-1).all(), "afterwards it reads all tokens again"


def test_without_room_for_two_solutions_each_is_read_alone(reward, tokenizer):
    encoder = Encoder(tokenizer, SolutionFormat())
    encoded = [encoder(QUESTION, steps) for steps in SOLUTIONS[:2]]
    prompt = prompt_tokens(encoder)
    _, read = tokens_read(reward, lambda: step_scores(reward, encoded, prompt, 1))
    assert read == sum(len(one.tokens) for one in encoded)


@given(
    st.lists(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=4), min_size=1, max_size=12),
    st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_any_set_of_solutions_scores_as_one_by_one(reward, lists, budget):
    names = {"a": 5, "b": 6, "c": 7}
    encoded = []
    for steps in lists:
        tokens, ends = [1, 2, 3], []
        for step in steps:
            tokens += [names[letter] for letter in step]
            ends.append(len(tokens) - 1)
        encoded.append(Encoded(tuple(tokens), tuple(ends)))
    for found, one in zip(step_scores(reward, encoded, 3, budget), encoded):
        assert found == pytest.approx(plain_scores(reward, one), abs=1e-5)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 40)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_groups_have_every_token_once_and_are_not_larger_than_the_row(sizes):
    pieces, end = [], 0
    for size, before in sizes:
        pieces.append(Piece(end, end + size, np.arange(before + size)))
        end += size
    groups = group(pieces)
    places = torch.cat([one.queries.flatten() for one in groups.groups])
    assert places[groups.outputs].tolist() == list(range(end))
    for one in groups.groups:
        assert one.keys.numel() <= end or len(one.keys) == 1


def test_solutions_of_different_questions_are_refused(reward, tokenizer):
    encoder = Encoder(tokenizer, SolutionFormat())
    pair = [encoder(QUESTION, SOLUTIONS[0]), encoder("dina" + QUESTION[3:], SOLUTIONS[0])]
    with pytest.raises(ValueError, match="same question"):
        step_scores(reward, pair, prompt_tokens(encoder), 100)


@pytest.mark.parametrize("budget", [80, 100])
def test_no_forward_pass_exceeds_the_budget(reward, tokenizer, budget):
    sizes = []
    hook = reward.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    encoder = Encoder(tokenizer, SolutionFormat())
    step_scores(reward, [encoder(QUESTION, steps) for steps in SOLUTIONS], prompt_tokens(encoder), budget)
    hook.remove()
    assert max(sizes) <= budget


def test_solutions_without_steps_have_no_score(reward, tokenizer):
    encoder = Encoder(tokenizer, SolutionFormat())
    assert step_scores(reward, [encoder(QUESTION, [])], prompt_tokens(encoder), 100) == [[]]
    assert step_scores(reward, [], 0, 100) == []


@pytest.mark.parametrize("budget", [1, 70, 10_000])
def test_log_likelihoods_are_those_of_a_plain_forward_pass(model, tokenizer, budget):
    encoder = Encoder(tokenizer, SolutionFormat())
    encoded = [encoder(QUESTION, steps) for steps in SOLUTIONS]
    prompt = len(encoder(QUESTION, []).tokens)
    found = log_likelihoods(model, encoded, prompt, budget)
    assert [len(one) for one in found] == [len(steps) for steps in SOLUTIONS]
    for values, one in zip(found, encoded):
        with torch.inference_mode():
            log_probabilities = model(torch.tensor([one.tokens])).logits[0].double().log_softmax(-1)
        gains = [log_probabilities[place - 1, one.tokens[place]].item() for place in range(prompt, len(one.tokens))]
        assert values == pytest.approx([sum(gains[: end - prompt + 1]) for end in one.step_ends], abs=1e-3)


def test_sampling_and_scoring_agree_on_a_samples_likelihood(model, tokenizer):
    prompt = prompt_ids(tokenizer, LONG)
    [group] = sample(model, tokenizer, [Request("q", LONG, 40)], 1.0, 24, seed=0)
    whole = [one for one in group if one.finish_reason == "length"]
    encoded = [Encoded((*prompt, *one.tokens), (len(prompt) + 23,)) for one in whole]
    likelihoods = [values[0] for values in log_likelihoods(model, encoded, len(prompt), budget=200)]
    assert len(whole) > 10
    assert likelihoods == pytest.approx([one.log_likelihood for one in whole], abs=1e-3)


@pytest.mark.parametrize("form", [SolutionFormat(), OWN_TOKEN], ids=["plain", "own step token"])
def test_encoded_text_is_the_formats_and_ends_are_its_step_tokens(tokenizer, form):
    encoder = Encoder(tokenizer, form)
    closing = tokenizer.convert_tokens_to_ids(form.step_token)
    for steps in SOLUTIONS:
        encoded = encoder(QUESTION, steps)
        text = form.prompt(QUESTION) + form.between_steps.join(form.close_step(step.strip()) for step in steps)
        spaced = text.replace(form.step_token, f" {form.step_token} ")
        assert list(encoded.tokens) == tokenizer(spaced, add_special_tokens=False)["input_ids"]
        assert len(encoded.step_ends) == len(steps)
        assert [encoded.tokens[end] for end in encoded.step_ends] == [closing] * len(steps)
        if steps:
            assert encoded.step_ends[-1] == len(encoded.tokens) - 1


@pytest.mark.parametrize("form", [SolutionFormat(), OWN_TOKEN], ids=["plain", "own step token"])
def test_length_is_the_number_of_tokens(tokenizer, form):
    encoder = Encoder(tokenizer, form)
    lengths = [encoder.length(QUESTION, steps) for steps in SOLUTIONS]
    assert lengths == [len(encoder(QUESTION, steps).tokens) for steps in SOLUTIONS]
    assert len(set(lengths)) > 3


def test_more_steps_only_append_tokens(tokenizer):
    encoder = Encoder(tokenizer, SolutionFormat())
    shorter, longer = (encoder(QUESTION, SOLUTIONS[3][:count]) for count in (1, 3))
    assert longer.tokens[: len(shorter.tokens)] == shorter.tokens
    assert longer.step_ends[:1] == shorter.step_ends


@pytest.mark.parametrize("step_token", ["answer ?", "= = =", ""])
def test_step_tokens_that_are_not_one_token_are_refused(tokenizer, step_token):
    with pytest.raises(PqmError, match="one token"):
        Encoder(tokenizer, SolutionFormat(step_token=step_token))


def test_heads_are_drawn_from_the_seed(folder):
    first, again, other = (reward_model(folder, seed)[0].score.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_body_is_the_backbones(folder, model, reward):
    body = model.base_model.state_dict()
    assert all(torch.equal(value, body[name]) for name, value in reward.base_model.state_dict().items())


@pytest.fixture(scope="module")
def checkpoint(reward, tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "run" / "seed-0"
    save_reward_model(reward, tokenizer, SolutionFormat(), path)
    return path


def test_plain_transformers_gives_the_same_logits(checkpoint, reward, tokenizer):
    plain = AutoModelForTokenClassification.from_pretrained(checkpoint).eval()
    encoded = Encoder(tokenizer, SolutionFormat())(QUESTION, SOLUTIONS[0])
    with torch.inference_mode():
        tokens = torch.tensor([encoded.tokens])
        assert torch.allclose(plain(tokens).logits, reward(tokens).logits, rtol=0, atol=1e-5)
        assert plain(tokens).logits.shape == (1, len(encoded.tokens), 1)
    assert plain.score.bias is None


def test_checkpoints_keep_their_format(checkpoint, tmp_path, reward, tokenizer):
    assert load_reward_model(checkpoint)[2] == SolutionFormat()
    save_reward_model(reward, tokenizer, OWN_TOKEN, tmp_path)
    assert load_reward_model(tmp_path)[2] == OWN_TOKEN


@pytest.fixture
def scored(checkpoint, tmp_path):
    """Score rollouts from a table with this solution format, or without one."""

    def run(form):
        question = {"question_id": "q", "question": QUESTION, "answer": "9", "cluster": "q", "perturbation": ""}
        questions = pd.DataFrame([question | {"solution": SOLUTIONS[0]}])
        kept = {"text": "", "n_tokens": 1, "finish_reason": "stop", "log_likelihood": -1.0, "seed": 0, "engine": "none"}
        rollouts = pd.DataFrame(
            [kept | {"question_id": "q", "sample_id": number, "steps": steps} for number, steps in enumerate(SOLUTIONS)]
        )
        paths = tmp_path / "questions.parquet", tmp_path / "rollouts.parquet"
        formats.write(questions, formats.QUESTIONS, paths[0])
        formats.write(form.mark(rollouts) if form else rollouts, formats.ROLLOUTS, paths[1])
        cache = ShardCache(tmp_path / "cache", "scores", tmp_path / "scores.parquet", [str(form)], [])
        return score(Scorer([checkpoint], "reward", 100), paths[0], [paths[1]], cache)[0][0]

    return run


def test_solutions_cut_at_another_separator_are_refused(scored):
    with pytest.raises(PqmError, match="solution format"):
        scored(SolutionFormat(step_separator=" . "))


@pytest.mark.parametrize("change", [{"question_template": "Q: {question}\n"}, {"step_token": "answer"}])
def test_a_policy_may_have_its_own_template(scored, change):
    assert scored(SolutionFormat(**change))["step_scores"].tolist() == scored(SolutionFormat())["step_scores"].tolist()


@pytest.mark.parametrize("form", [SolutionFormat(), None], ids=["same format", "no format named"])
def test_scores_have_one_row_per_sample_and_one_value_per_step(scored, reward, tokenizer, form):
    table = scored(form)
    encoder = Encoder(tokenizer, SolutionFormat())
    assert table["sample_id"].tolist() == list(range(len(SOLUTIONS)))
    for found, steps in zip(table["step_scores"], SOLUTIONS):
        assert list(found) == pytest.approx(plain_scores(reward, encoder(QUESTION, steps)), abs=1e-5)


def test_checkpoint_without_format_is_refused(checkpoint, tmp_path):
    for file in checkpoint.iterdir():
        if file.name != "solution_format.json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(PqmError, match=r"solution_format\.json: missing"):
        load_reward_model(tmp_path)


def test_scorer_reads_a_checkpoint_and_scores_in_its_format(checkpoint, reward, tokenizer):
    scorer = Scorer([checkpoint], "reward", budget=60)
    encoder = Encoder(tokenizer, SolutionFormat())
    for found, steps in zip(scorer([(QUESTION, SOLUTIONS)])[0], SOLUTIONS):
        assert found == pytest.approx(plain_scores(reward, encoder(QUESTION, steps)), abs=1e-5)


def test_checkpoints_that_are_read_together_score_as_alone(checkpoint, reward, tokenizer, tmp_path):
    other, twin = tmp_path / "seed-1", copy.deepcopy(reward)
    torch.nn.init.normal_(twin.score.weight, std=0.3)
    save_reward_model(twin, tokenizer, SolutionFormat(), other)
    together = Scorer([checkpoint, other], "reward", budget=60)([(QUESTION, SOLUTIONS)])
    for path, scores in zip((checkpoint, other), together):
        assert scores == Scorer([path], "reward", budget=60)([(QUESTION, SOLUTIONS)])[0]
    assert together[0] != together[1]


def test_checkpoints_of_other_formats_are_not_read_together(checkpoint, reward, tokenizer, tmp_path):
    save_reward_model(reward, tokenizer, OWN_TOKEN, tmp_path)
    with pytest.raises(PqmError, match="score it separately"):
        Scorer([checkpoint, tmp_path], "reward", budget=60)


# ---------------------------------------------------------------- running products


def product_logits(logits):
    """The logit of the product of the probabilities so far, computed directly."""
    products = np.cumprod(1 / (1 + np.exp(-np.array(logits, dtype=np.float64))))
    return np.log(products) - np.log1p(-products)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_running_product_is_the_logit_of_the_product_of_probabilities(logits):
    found = prefix_trees.running_product(logits)
    assert found == pytest.approx(product_logits(logits).tolist(), rel=1e-9, abs=1e-9)
    assert found[0] == pytest.approx(logits[0], rel=1e-9, abs=1e-9)


def test_without_steps_there_is_no_running_product():
    assert prefix_trees.running_product([]) == []


@given(st.lists(st.sampled_from([-1000.0, -30.0, 0.0, 30.0, 1000.0]), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_running_product_of_extreme_logits_is_finite_and_never_rises(logits):
    found = np.array(prefix_trees.running_product(logits))
    assert np.isfinite(found).all() and (np.diff(found) <= 0).all()
    costs = np.cumsum(np.logaddexp(0.0, -np.array(logits)))
    for value, cost in zip(found, costs):
        if cost > 40:  # the product is so small that its logit is its logarithm
            assert value == pytest.approx(-cost, rel=1e-12)
        elif cost < 1e-300:  # it is 1 in double precision
            assert value > 600


@pytest.fixture(scope="module")
def product_checkpoint(folder, tokenizer, tmp_path_factory):
    """The reward model of `checkpoint` with running products as step scores."""
    path = tmp_path_factory.mktemp("running-product")
    model, _ = reward_model(folder, seed=3, scores="running-product")
    save_reward_model(model, tokenizer, SolutionFormat(), path)
    return path


def test_a_checkpoint_of_running_products_keeps_that_and_its_scores_never_rise(product_checkpoint, checkpoint):
    assert json.loads((product_checkpoint / "config.json").read_text())["step_scores"] == "running-product"
    assert "step_scores" not in json.loads((checkpoint / "config.json").read_text())
    products, logits = (Scorer([path], "reward", 100)([(QUESTION, SOLUTIONS)])[0] for path in (product_checkpoint, checkpoint))
    for found, own in zip(products, logits):
        assert found == pytest.approx(prefix_trees.running_product(own), abs=1e-5)
        assert found == sorted(found, reverse=True)
        assert aggregate(found, "min") == aggregate(found, "last")
    assert products != logits


def test_likelihood_scorer_gives_growing_costs_of_the_solution_alone(folder, model, tokenizer):
    scorer = Scorer([folder], "likelihood", budget=60)
    encoder = Encoder(tokenizer, SolutionFormat())
    expected = log_likelihoods(
        model, [encoder(QUESTION, steps) for steps in SOLUTIONS], len(prompt_ids(tokenizer, LONG)), budget=10_000
    )
    for found, values in zip(scorer([(QUESTION, SOLUTIONS)])[0], expected):
        assert found == pytest.approx(values, abs=1e-3)
        assert found == sorted(found, reverse=True)


def test_policy_without_end_token_is_refused(folder, tmp_path):
    engine, form = load_policy(folder)
    assert form == SolutionFormat()
    engine.tokenizer.eos_token = None
    engine.model.save_pretrained(tmp_path)
    engine.tokenizer.save_pretrained(tmp_path)
    form.save(tmp_path)
    with pytest.raises(PqmError, match="end token"):
        load_policy(tmp_path)
