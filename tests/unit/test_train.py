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
from transformers import AutoModelForTokenClassification, AutoTokenizer

from pqm.errors import PqmError
from pqm.hashes import checkpoint_hash
from pqm.io import formats
from pqm.io.shard_cache import ShardCache, content_hash
from pqm.losses.common.steps import IGNORED, reduce
from pqm.models.reward_model import Encoded, Encoder, load_reward_model, reward_model
from pqm.solution_format import SolutionFormat
from pqm.study.runs import RunConfig
from pqm.train.data import TrainingExample, batches, collate, examples, stream
from pqm.train.train_step import scores_at
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
    schedule = Schedule.of(data, run_config("bce"), TRAINING.model_copy(update={"epochs": 10.0, "warmup_share": 0.25}))
    rates = [schedule.learning_rate_at(step) for step in range(schedule.steps)]
    top = rates.index(max(rates))
    assert max(rates) == TRAINING.learning_rate and all(rate > 0 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top + 1 :] == sorted(rates[top + 1 :], reverse=True)


def test_learning_rate_warms_up_with_the_logarithm_of_the_step(data):
    """DeepSpeed's WarmupDecayLR with warmup_type log: log(step + 1) / log(warmup steps), then (total - step) / (total - warmup)."""
    training = TRAINING.model_copy(update={"epochs": 10.0, "warmup_share": 0.25, "warmup_type": "log"})
    schedule = Schedule.of(data, run_config("bce"), training)
    rates = [schedule.learning_rate_at(step) / TRAINING.learning_rate for step in range(schedule.steps)]
    rising = [np.log(step + 1) / np.log(schedule.warmup) for step in range(schedule.warmup)]
    left = schedule.steps - schedule.warmup
    assert schedule.warmup >= 4 and rates == pytest.approx([*rising, *((left - step) / left for step in range(left))])


def test_log_warm_up_of_few_steps():
    rates = {warmup: [Schedule(4, warmup, "log", 1.0, 1.0).learning_rate_at(step) for step in range(4)] for warmup in (0, 1, 2)}
    assert rates == {0: [1.0, 0.75, 0.5, 0.25], 1: pytest.approx([0.0, 1.0, 2 / 3, 1 / 3]), 2: [0.0, 1.0, 1.0, 0.5]}


# ---------------------------------------------------------------- batches


def made_up(lengths: list[tuple[int, int]]) -> list[TrainingExample]:
    """Examples with these numbers of steps and tokens."""
    return [
        TrainingExample(
            Encoded(tuple(range(steps * tokens)), tuple(range(tokens - 1, steps * tokens, tokens))),
            tuple(float(place % 2) for place in range(steps)),
        )
        for steps, tokens in lengths
    ]


shapes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=40)


@given(shapes=shapes, budget=st.integers(1, 300), seed=st.integers(0, 10))
@hypothesis_settings(max_examples=60, deadline=None)
def test_epoch_contains_every_example_once_within_the_budget(shapes, budget, seed):
    examples = made_up(shapes)
    groups = batches(examples, budget, np.random.default_rng(seed))
    assert sorted(index for group in groups for index in group) == list(range(len(examples)))
    for group in groups:
        width = max(len(examples[index].encoded.tokens) for index in group)
        assert len(group) == 1 or len(group) * width <= budget
        assert collate(examples, group, 0).tokens.shape == (len(group), width)


def test_example_longer_than_the_budget_comes_alone():
    groups = batches(made_up([(1, 4), (9, 12), (1, 4)]), 10, np.random.default_rng(0))
    assert sorted(map(sorted, groups)) == [[0, 2], [1]]


def test_epochs_differ_and_a_seed_fixes_them():
    examples = made_up([(1 + place % 3, 5) for place in range(60)])

    def first(seed: int, count: int) -> list[list[int]]:
        found = stream(examples, 60, 0, seed)
        return [[int(ends.sum()), *batch.tokens.shape] for batch, _ in zip(found, range(count)) for ends in batch.step_ends]

    def order(seed: int, epoch: int) -> list[list[int]]:
        return batches(examples, 60, np.random.default_rng([seed, epoch]))

    assert first(0, 30) == first(0, 30)
    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)


@given(shapes=shapes, budget=st.integers(20, 200))
@hypothesis_settings(max_examples=40, deadline=None)
def test_trajectory_weighs_the_same_whatever_its_length(shapes, budget):
    examples = made_up(shapes)
    seen, weight = torch.zeros(len(examples)), 0.0
    for group in batches(examples, budget, np.random.default_rng(0)):
        labels = collate(examples, group, 0).labels
        total, batch_weight = reduce(torch.ones(len(group)), labels, "trajectory")
        assert float(total) == float(batch_weight) == len(group)
        for place, index in enumerate(group):
            seen[index] += float(reduce(torch.eye(len(group))[place], labels, "trajectory")[0])
        weight += float(batch_weight)
    assert weight == len(examples) and seen.tolist() == [1.0] * len(examples)


def test_trajectory_may_weigh_its_steps():
    examples = made_up([(1, 4), (5, 2), (3, 3)])
    labels = collate(examples, [0, 1, 2], 0).labels
    assert [float(reduce(row, labels, "step")[0]) for row in torch.eye(3)] == [1.0, 5.0, 3.0]


@pytest.mark.parametrize("weighting", ["trajectory", "step"])
def test_weight_of_an_average_batch(weighting, data):
    config = TRAINING.model_copy(update={"weighting": weighting})
    groups = batches(data, config.batch_tokens, np.random.default_rng(5))
    labels = [collate(data, group, 0).labels for group in groups]
    weights = [float(reduce(torch.zeros(len(each)), each, weighting)[1]) for each in labels]
    assert len(groups) > 1
    assert Schedule.of(data, run_config("bce"), config).weight_per_step == pytest.approx(sum(weights) / len(groups))


def test_padding_carries_no_label():
    examples = made_up([(1, 4), (3, 4)])
    batch = collate(examples, [0, 1], 99)
    assert batch.tokens.tolist() == [[0, 1, 2, 3] + [99] * 8, list(range(12))]
    assert batch.labels.tolist() == [[0.0, IGNORED, IGNORED], [0.0, 1.0, 0.0]]
    assert batch.step_ends[1].tolist() == [3, 7, 11]


def test_solution_without_steps_is_left_out(tables, policy):
    encoder = Encoder(AutoTokenizer.from_pretrained(policy), SolutionFormat())
    table = formats.read(tables.labels, formats.LABELS).head(2)
    table["completions"] = [[], table["completions"].iloc[1]]
    assert len(examples(table, encoder, "hard")) == 1


# ---------------------------------------------------------------- scores


@pytest.mark.parametrize("pad", [0, 7])
def test_padding_never_changes_a_score(pad, learned):
    model = load_reward_model(learned)[0]
    rows = made_up([(1, 3), (9, 12), (4, 5), (2, 17), (1, 1), (12, 2)])
    padded = collate(rows, range(len(rows)), pad)
    with torch.no_grad():
        together = scores_at(model, padded.tokens % model.config.vocab_size, padded.step_ends)
        for place, row in enumerate(rows):
            alone = collate(rows, [place], pad)
            one = scores_at(model, alone.tokens % model.config.vocab_size, alone.step_ends)[0]
            assert together[place, : len(row.labels)] == pytest.approx(one, abs=1e-5)
    assert together.std() > 1e-2


def test_padding_never_changes_the_score_of_a_solution(data, learned):
    model = load_reward_model(learned)[0]
    padded = collate(data, range(len(data)), 0)
    with torch.no_grad():
        together = scores_at(model, padded.tokens, padded.step_ends)
        for place, row in enumerate(data):
            one = scores_at(model, torch.tensor([row.encoded.tokens]), torch.tensor([row.encoded.step_ends]))[0]
            assert together[place, : len(row.labels)] == pytest.approx(one, abs=1e-5)


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
    batch = collate(data, range(4), 0)
    with torch.no_grad():
        model.score.bias.fill_(2.0)
        hidden = plain.base_model(input_ids=batch.tokens).last_hidden_state
        expected = hidden[torch.arange(4)[:, None], batch.step_ends] @ plain.score.weight[0] + 2.0
        assert torch.allclose(scores_at(model.eval(), batch.tokens, batch.step_ends), expected, atol=1e-6)
        model.train()
        drawn = torch.stack([scores_at(model, batch.tokens, batch.step_ends) for _ in range(2000)])
    assert (drawn[0] != drawn[1]).all()
    assert torch.allclose(drawn.mean(dim=0), expected, atol=5 * float(drawn.std(dim=0).max()) / 2000**0.5)


def test_trained_head_keeps_its_bias_and_scores_without_dropout(trained, data):
    folder = trained("bce", head_dropout=0.1, head_bias=True)
    assert checkpoint_hash(folder) != checkpoint_hash(trained("bce", head_bias=True))
    model = load_reward_model(folder)[0]
    assert model.score.bias.item() != 0
    batch = collate(data, range(4), 0)
    with torch.no_grad():
        first, second = (scores_at(model, batch.tokens, batch.step_ends) for _ in range(2))
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
        ours = scores_at(model, torch.tensor([one.tokens]), torch.tensor([one.step_ends]))[0]
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
