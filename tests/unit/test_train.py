import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from small import TRAINING
from transformers import AutoModelForTokenClassification, AutoTokenizer, Gemma2Config

from pqm.errors import PqmError
from pqm.hashes import checkpoint_hash
from pqm.io import formats
from pqm.io.shard_cache import ShardCache, content_hash
from pqm.losses.common.loss import loss_of
from pqm.losses.common.steps import IGNORED, reduce
from pqm.models.encoded import Encoded
from pqm.models.reward_model import Encoder, load_reward_model, reward_model
from pqm.solution_format import SolutionFormat
from pqm.study.runs import RunConfig
from pqm.train.data import LabelledTree, TrainingExample, batches, collate, examples, labelled_trees, stream
from pqm.train.train_step import scores_of
from pqm.train.trainer import Schedule, Trainer, TrainingFiles

RANKING, POINTWISE = ("pqm", "theorem", "first-error"), ("bce", "mse", "orm")


def run_config(loss: str, **more: Any) -> RunConfig:
    settings = {"loss_settings": {"zeta": 4.0}} if loss in RANKING else {}
    return RunConfig.model_validate({"loss": loss, "labels": "tiny", "backbone": "tiny", **settings, **more})


@pytest.fixture(scope="module")
def trained(tables: Any, policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Train a reward model on the tiny label table, and return its folder."""

    def run(loss: str, seed: int = 0, labels: Path = tables.labels, more: dict[str, Any] | None = None, **training: Any) -> Path:
        folder = tmp_path_factory.mktemp("train")
        config, shared = run_config(loss, **more or {}), TRAINING.model_copy(update=training)
        cache = ShardCache(folder / "cache", "train", folder / "model", [config, shared, str(seed)], [labels])
        Trainer(config, shared, seed, TrainingFiles(labels, tables.labels, policy), cache).train(folder / "model")
        cache.finish()
        return folder / "model"

    return run


@pytest.fixture(scope="module")
def learned(trained: Callable[..., Path]) -> Path:
    return trained("pqm", epochs=16.0, checkpoint_every=8)


@pytest.fixture(scope="module")
def data(tables: Any, policy: Path) -> list[TrainingExample]:
    encoder = Encoder(AutoTokenizer.from_pretrained(policy), SolutionFormat())
    return examples(formats.read(tables.labels, formats.LABELS), encoder, "hard")


def log_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "training.csv")


def merged(data: list[TrainingExample], budget: int = 10_000) -> list[LabelledTree]:
    return labelled_trees(data, budget)


# ---------------------------------------------------------------- training


def test_training_lowers_the_loss_and_orders_the_steps(learned):
    log = log_of(learned)
    assert log["loss"].iloc[-1] < 0.5 * log["loss"].iloc[0]
    assert log["step_auc"].iloc[-1] > 0.8
    assert log["solution_auc"].iloc[-1] > 0.8
    assert log["step"].iloc[-1] <= 50


@pytest.mark.parametrize("loss", POINTWISE)
def test_pointwise_losses_fall_too(loss, trained):
    log = log_of(trained(loss, epochs=8.0, checkpoint_every=8))
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]


def test_same_seed_same_bits(trained):
    first, second = trained("pqm", epochs=3.0), trained("pqm", epochs=3.0)
    assert checkpoint_hash(first) == checkpoint_hash(second)
    assert (first / "training.csv").read_bytes() == (second / "training.csv").read_bytes()


def test_other_seed_other_bits(trained):
    assert checkpoint_hash(trained("pqm", seed=0)) != checkpoint_hash(trained("pqm", seed=1))


NORMALIZED = [
    (loss, {"loss_settings": {"zeta": 4.0, "normalizer": normalizer}})
    for loss in RANKING
    for normalizer in ("factors", "printed", "official")
]


@pytest.mark.parametrize(("loss", "more"), [*NORMALIZED, *((loss, {}) for loss in POINTWISE)])
def test_every_loss_trains(loss, more, trained):
    folder = trained(loss, more=more)
    log = log_of(folder)
    assert log["step"].iloc[-1] >= 2 and np.isfinite(log["loss"]).all()
    model = load_reward_model(folder)[0]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.parametrize("weighting", ["trajectory", "step"])
@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_soft_targets_train_to_other_weights(loss, weighting, trained):
    hard, soft = (trained(loss, more={"targets": targets}, weighting=weighting) for targets in ("hard", "soft"))
    assert checkpoint_hash(hard) != checkpoint_hash(soft)


def test_learning_rate_of_the_run_goes_before_the_shared_one(trained):
    shared, own = trained("bce", learning_rate=1e-3), trained("bce", more={"learning_rate": 1e-3})
    assert checkpoint_hash(shared) == checkpoint_hash(own)


def test_loss_that_is_not_finite_is_reported(trained):
    with pytest.raises(PqmError, match=r"loss is (nan|inf) at step \d+ \(seed 3\)"):
        trained("mse", seed=3, learning_rate=1e30, warmup_share=0.0, epochs=4.0)


def test_log_contains_the_mean_loss_of_its_steps(trained):
    still = {"learning_rate": 1e-12, "batch_tokens": 100_000, "epochs": 3.0, "warmup_share": 0.0}
    each, pairs = log_of(trained("bce", **still)), log_of(trained("bce", checkpoint_every=2, **still))
    assert pairs["step"].tolist() == [2, 3]
    assert pairs["loss"].tolist() == pytest.approx([each["loss"][:2].mean(), each["loss"][2]], rel=1e-5)


def test_learning_rate_warms_up_and_falls_to_its_last_step(data):
    schedule = Schedule.of(
        merged(data, TRAINING.batch_tokens), run_config("bce"), TRAINING.model_copy(update={"epochs": 10.0, "warmup_share": 0.25})
    )
    rates = [schedule.learning_rate_at(step) for step in range(schedule.steps)]
    top = rates.index(max(rates))
    assert max(rates) == TRAINING.learning_rate and all(rate > 0 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top + 1 :] == sorted(rates[top + 1 :], reverse=True)


def test_learning_rate_warms_up_with_the_logarithm_of_the_step(data):
    """DeepSpeed's WarmupDecayLR with warmup_type log: log(step + 1) / log(warmup steps), then (total - step) / (total - warmup)."""
    training = TRAINING.model_copy(update={"epochs": 10.0, "warmup_share": 0.25, "warmup_type": "log"})
    schedule = Schedule.of(merged(data, TRAINING.batch_tokens), run_config("bce"), training)
    rates = [schedule.learning_rate_at(step) / TRAINING.learning_rate for step in range(schedule.steps)]
    rising = [np.log(step + 1) / np.log(schedule.warmup) for step in range(schedule.warmup)]
    left = schedule.steps - schedule.warmup
    assert schedule.warmup >= 4 and rates == pytest.approx([*rising, *((left - step) / left for step in range(left))])


def test_log_warm_up_of_few_steps():
    rates = {warmup: [Schedule(4, warmup, "log", 1.0, 1.0).learning_rate_at(step) for step in range(4)] for warmup in (0, 1, 2)}
    assert rates == {0: [1.0, 0.75, 0.5, 0.25], 1: pytest.approx([0.0, 1.0, 2 / 3, 1 / 3]), 2: [0.0, 1.0, 1.0, 0.5]}


# ---------------------------------------------------------------- batches


def made_up(lengths: list[tuple[int, int]], questions: int = 3) -> list[TrainingExample]:
    """Examples with these numbers of steps and tokens per step; those of a question begin with the same tokens."""
    return [
        TrainingExample(
            f"question {place % questions}",
            Encoded(tuple(range(steps * tokens)), tuple(range(tokens - 1, steps * tokens, tokens))),
            tuple(float(place % 2) for place in range(steps)),
        )
        for place, (steps, tokens) in enumerate(lengths)
    ]


def example(question: str, tokens: tuple[int, ...], ends: tuple[int, ...], labels: tuple[float, ...]) -> TrainingExample:
    return TrainingExample(question, Encoded(tokens, ends), labels)


def inside(trees: list[LabelledTree]) -> list[TrainingExample]:
    return [one for tree in trees for one in tree.examples]


def in_order(data: list[TrainingExample]) -> list[TrainingExample]:
    return sorted(data, key=lambda one: (one.question, one.encoded.tokens, one.labels, one.encoded.step_ends))


shapes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=40)


@given(shapes=shapes, budget=st.integers(1, 300), seed=st.integers(0, 10))
@hypothesis_settings(max_examples=60, deadline=None)
def test_epoch_contains_every_example_once_within_the_budget(shapes, budget, seed):
    data = made_up(shapes)
    trees = merged(data, budget)
    groups = batches(trees, budget, np.random.default_rng(seed))
    assert in_order([one for group in groups for one in inside(group)]) == in_order(data)
    for group in groups:
        assert len(group) == 1 or sum(len(one.encoded.tokens) for one in inside(group)) <= budget
        assert collate(group).row.tokens.shape == (1, sum(len(tree.tree.tokens) for tree in group))
        assert collate(group).labels.shape[0] == len(inside(group))


def test_solution_longer_than_the_budget_comes_alone():
    data = made_up([(1, 4), (9, 12), (1, 4)])
    groups = batches(merged(data, 10), 10, np.random.default_rng(0))
    assert sorted(sorted(len(one.encoded.tokens) for one in inside(group)) for group in groups) == [[4, 4], [108]]


def test_a_tree_contains_solutions_of_one_question_and_each_token_once():
    three = [example("one", (1, 2, 3, 4, end), (4,), (1.0,)) for end in (7, 8, 9)]
    (tree, other) = merged([three[2], example("two", (1, 2, 3, 4, 7), (4,), (0.0,)), three[0], three[1], three[1]])
    assert sorted(tree.tree.tokens) == [1, 2, 3, 4, 7, 8, 9] and other.tree.tokens == [1, 2, 3, 4, 7]
    assert [one.encoded.tokens[-1] for one in tree.examples] == [7, 8, 8, 9]


@given(shapes=shapes, budget=st.integers(1, 300))
@hypothesis_settings(max_examples=60, deadline=None)
def test_several_solutions_of_a_tree_are_at_most_a_quarter_of_a_batch(shapes, budget):
    for tree in merged(made_up(shapes), budget):
        assert len(tree.examples) == 1 or sum(len(one.encoded.tokens) for one in tree.examples) <= budget / 4


def test_epochs_differ_and_a_seed_fixes_them():
    trees = merged([example(f"question {place}", (place, *range(100, 104)), (4,), (1.0,)) for place in range(60)])

    def first(seed: int, count: int) -> list[list[int]]:
        return [[one.tree.tokens[0] for one in batch] for batch, _ in zip(stream(trees, 60, seed), range(count))]

    assert first(0, 30) == first(0, 30)
    assert first(0, 5) != first(1, 5)
    epochs = first(0, 10)
    assert epochs[:5] != epochs[5:]
    for epoch in (epochs[:5], epochs[5:]):
        assert sorted(question for batch in epoch for question in batch) == list(range(60))


@given(shapes=shapes, budget=st.integers(20, 200))
@hypothesis_settings(max_examples=40, deadline=None)
def test_trajectory_weighs_the_same_whatever_its_length(shapes, budget):
    data, weight = made_up(shapes), 0.0
    for group in batches(merged(data, budget), budget, np.random.default_rng(0)):
        labels = collate(group).labels
        for row in torch.eye(len(labels)):
            assert [float(found) for found in reduce(row, labels, "trajectory")] == [1.0, len(labels)]
        weight += len(labels)
    assert weight == len(data)


def test_trajectory_may_weigh_its_steps():
    data = made_up([(1, 4), (5, 2), (3, 3)])
    labels = collate(merged(data)).labels
    assert [float(reduce(row, labels, "step")[0]) for row in torch.eye(3)] == [1.0, 5.0, 3.0]


@pytest.mark.parametrize("weighting", ["trajectory", "step"])
def test_weight_of_an_average_batch(weighting, data):
    config = TRAINING.model_copy(update={"weighting": weighting})
    trees = merged(data, config.batch_tokens)
    groups = batches(trees, config.batch_tokens, np.random.default_rng(0))
    labels = [collate(group).labels for group in groups]
    weights = [float(reduce(torch.zeros(len(each)), each, weighting)[1]) for each in labels]
    assert len(groups) > 1
    assert Schedule.of(trees, run_config("bce"), config).weight_per_step == pytest.approx(sum(weights) / len(groups))


def test_a_batch_by_hand():
    data = [
        example("one", (5, 6, 7, 8), (2, 3), (1.0, 0.0)),
        example("one", (5, 6, 9), (2,), (0.5,)),
        example("one", (5, 6, 9), (2,), (0.25,)),
        example("two", (3, 4), (1,), (1.0,)),
    ]
    batch = collate(merged(data))
    no = IGNORED
    assert batch.row.tokens.tolist() == [[5, 6, 7, 8, 9, 3, 4]]
    assert batch.row.positions.tolist() == [[0, 1, 2, 3, 2, 0, 1]]
    assert batch.step_ends[:, 0].tolist() == [2, 4, 4, 6] and batch.step_ends[0, 1] == 3
    assert batch.labels.tolist() == [[1.0, 0.0], [0.5, no], [0.25, no], [1.0, no]]
    sees = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [5], [5, 6]]
    assert [row.nonzero().flatten().tolist() for row in batch.row.sees()] == sees


def test_solution_without_steps_is_left_out(tables, policy):
    encoder = Encoder(AutoTokenizer.from_pretrained(policy), SolutionFormat())
    table = formats.read(tables.labels, formats.LABELS).head(2)
    table["completions"] = [[], table["completions"].iloc[1]]
    assert len(examples(table, encoder, "hard")) == 1


# ---------------------------------------------------------------- scores


def plain_scores(model: Any, one: TrainingExample) -> torch.Tensor:
    """The step logits of a solution that is read alone, by plain `transformers`; shape [steps]."""
    return model(input_ids=torch.tensor([one.encoded.tokens])).logits[0, list(one.encoded.step_ends), 0]


def test_scores_of_a_batch_are_those_of_each_solution_alone(data, learned):
    model = load_reward_model(learned)[0]
    trees = merged(data)
    assert sum(len(tree.tree.tokens) for tree in trees) < 0.8 * sum(len(one.encoded.tokens) for one in data)
    with torch.no_grad():
        together = scores_of(model, collate(trees))
        for row, one in zip(together, inside(trees)):
            assert row[: len(one.labels)].numpy() == pytest.approx(plain_scores(model, one).numpy(), abs=1e-5)


def sliding_model(window: int) -> Any:
    """A model in which the first layer has a sliding window, and the second has none."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, sliding_window=window, num_labels=1, attn_implementation="eager", initializer_range=0.3,
        classifier_dropout=0.0,
    )  # fmt: skip
    return AutoModelForTokenClassification.from_config(config)


@pytest.mark.parametrize("kind", ["llama", "sliding"])
@pytest.mark.parametrize("loss", ["pqm", "bce"])
@pytest.mark.parametrize("weighting", ["trajectory", "step"])
def test_loss_and_gradient_are_those_of_solutions_read_alone(kind, loss, weighting, data, learned):
    if kind == "llama":
        model, solutions = load_reward_model(learned)[0], data
    else:
        model, random = sliding_model(5), np.random.default_rng(0)
        prompts = [tuple(random.integers(64, size=8)) for _ in range(3)]
        texts = [prompts[place % 3] + tuple(random.integers(2, size=1 + place % 7) + 20) for place in range(20)]
        solutions = [
            example(f"{place % 3}", tuple(map(int, text)), (7, len(text) - 1), (1.0, float(place % 2)))
            for place, text in enumerate(texts)
        ]
    solutions = [*solutions, solutions[0], solutions[0]]  # duplicates count, too
    function = loss_of(run_config(loss)).bind(run_config(loss).loss_settings)

    def gradients(total: torch.Tensor) -> torch.Tensor:
        return torch.cat([one.flatten() for one in torch.autograd.grad(total, list(model.parameters()))])

    alone = [
        reduce(function(plain_scores(model, one)[None], torch.tensor([one.labels])), torch.tensor([one.labels]), weighting)
        for one in solutions
    ]
    totals, weights = (torch.stack(one) for one in zip(*alone))
    expected, expected_gradient = (totals.sum() / weights.sum()).item(), gradients(totals.sum() / weights.sum())
    found, found_gradient = 0.0, torch.zeros_like(expected_gradient)
    for group in batches(merged(solutions, 400), 400, np.random.default_rng(0)):
        batch = collate(group)
        total, _ = reduce(function(scores_of(model, batch), batch.labels), batch.labels, weighting)
        found += (total / weights.sum()).item()
        found_gradient += gradients(total / weights.sum())
    assert found == pytest.approx(expected, rel=1e-5)
    assert float((found_gradient - expected_gradient).norm()) <= 1e-5 * float(expected_gradient.norm())


def test_scored_positions_are_the_step_ends(data, policy, tables):
    tokenizer = AutoTokenizer.from_pretrained(policy)
    closing = tokenizer("\n", add_special_tokens=False)["input_ids"][0]
    for one, steps in zip(data, formats.read(tables.labels, formats.LABELS)["completions"]):
        ends = [one.encoded.tokens[end] for end in one.encoded.step_ends]
        assert ends == [closing] * len(steps)
        assert one.encoded.step_ends[-1] == len(one.encoded.tokens) - 1


def test_head_has_one_row_and_no_bias(policy):
    model, _ = reward_model(policy, seed=0)
    assert model.score.weight.shape == (1, 32) and model.score.bias is None


def test_head_has_a_bias_and_dropout_if_the_study_says_so(policy, data):
    model, _ = reward_model(policy, seed=0, dropout=0.5, bias=True)
    plain, _ = reward_model(policy, seed=0)
    assert model.score.bias.shape == (1,)
    one = data[0]
    batch = collate(merged([one]))
    with torch.no_grad():
        model.score.bias.fill_(2.0)
        expected = plain_scores(plain, one)[None] + 2.0
        assert torch.allclose(scores_of(model.eval(), batch), expected, atol=1e-6)
        model.train()
        drawn = torch.stack([scores_of(model, batch) for _ in range(2000)])
    assert (drawn[0] != drawn[1]).all()
    assert torch.allclose(drawn.mean(dim=0), expected, atol=5 * float(drawn.std(dim=0).max()) / 2000**0.5)


def test_trained_head_keeps_its_bias_and_scores_without_dropout(trained, data):
    folder = trained("bce", head_dropout=0.1, head_bias=True)
    assert checkpoint_hash(folder) != checkpoint_hash(trained("bce", head_bias=True))
    model = load_reward_model(folder)[0]
    assert model.score.bias.item() != 0
    batch = collate(merged(data[:4]))
    with torch.no_grad():
        first, second = (scores_of(model, batch) for _ in range(2))
    assert torch.equal(first, second)


# ---------------------------------------------------------------- the checkpoint


def test_checkpoint_loads_with_plain_transformers(learned, data):
    model = AutoModelForTokenClassification.from_pretrained(learned, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(learned)
    one = data[0].encoded
    prompt = SolutionFormat().prompt("ana has 7 coins . how many coins ?")
    assert tokenizer.decode(tokenizer(prompt, add_special_tokens=False)["input_ids"]) == prompt
    with torch.no_grad():
        plain = model(input_ids=torch.tensor([one.tokens])).logits[0, list(one.step_ends), 0]
        ours = scores_of(model, collate(merged(data[:1])))[0]
    assert plain == pytest.approx(ours, abs=1e-5)


def test_checkpoint_records_its_origin(learned, tables, policy):
    names = {path.name for path in learned.iterdir()}
    assert names >= {"README.md", "run.json", "training.csv", "solution_format.json", "model.safetensors", "tokenizer.json"}
    assert SolutionFormat.load(learned) == SolutionFormat()
    card = (learned / "README.md").read_text()
    for word in (content_hash(tables.labels), content_hash(policy), "loss pqm", "zeta 4", "seed 0", "18 solutions"):
        assert word in card
    assert "lowest step score" in card


def test_card_of_a_run_without_zeta_names_none(trained):
    card = (trained("orm") / "README.md").read_text()
    assert "zeta" not in card and "loss orm" in card and "last step score" in card


def test_run_file_contains_every_setting(learned, tables):
    facts = json.loads((learned / "run.json").read_text())
    assert facts["run"] == json.loads(run_config("pqm").model_dump_json())
    expected = TRAINING.model_copy(update={"epochs": 16.0, "checkpoint_every": 8})
    assert facts["training"] == json.loads(expected.model_dump_json())
    assert facts["seed"] == 0
    assert facts["labels_sha256"] == content_hash(tables.labels)
    assert facts["optimizer_steps"] == log_of(learned)["step"].iloc[-1]


def test_run_file_is_plain_json_where_a_figure_is_missing(trained, tables, tmp_path, policy):
    labels = formats.read(tables.labels, formats.LABELS)
    right = tmp_path / "right.parquet"
    formats.write(labels[labels["correct"]].reset_index(drop=True), formats.LABELS, right)
    config = run_config("bce")
    cache = ShardCache(tmp_path / "cache", "train", tmp_path / "model", [config], [right])
    Trainer(config, TRAINING, 0, TrainingFiles(right, right, policy), cache).train(tmp_path / "model")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    json.load(io.StringIO((tmp_path / "model" / "run.json").read_text()), parse_constant=refuse)
