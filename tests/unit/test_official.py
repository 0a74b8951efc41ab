"""The authors' files and protocol."""

import json
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from small import tiny_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, PreTrainedTokenizerFast

from pqm.errors import PqmError
from pqm.evaluate.conversion import TEMPLATES, convert
from pqm.evaluate.official import first_n_vote, official_table
from pqm.evaluate.scores import Scorer
from pqm.io import formats
from pqm.rollouts.published import read_solutions, split_numbered_steps

# ---------------------------------------------------------------- evaluation files


@pytest.fixture
def asked(tmp_path):
    rows = [
        {"question_id": name, "question": f"what is {name} ?", "answer": "5", "solution": [], "cluster": name, "perturbation": ""}
        for name in ("q-0", "q-1", "q-2")
    ]
    formats.write(pd.DataFrame(rows), formats.QUESTIONS, tmp_path / "questions.parquet")
    return tmp_path / "questions.parquet"


def response(text, model="weak"):
    return {"text": text, "model_name": model}


def written(folder, content):
    path = folder / "eval.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_evaluation_files_become_rollouts_and_odd_counts_are_reported(tmp_path, asked, capsys):
    content = [
        {
            "question": "what is q-1 ?",
            "responses": [response("2 + 3 Step 2: = 5 The answer is: 5"), response("no", "strong"), response("")],
        },
        {"question": "what is q-0 ?", "responses": [response("6")]},
    ]
    frame = read_solutions("pqm", written(tmp_path, content), asked, None)
    formats.check(frame, formats.ROLLOUTS, tmp_path)
    assert frame[["question_id", "sample_id", "engine"]].to_numpy().tolist() == [
        ["q-1", 0, "published, weak"],
        ["q-1", 1, "published, strong"],
        ["q-1", 2, "published, weak"],
        ["q-0", 0, "published, weak"],
    ]
    assert frame["steps"].tolist() == [["Step 1: 2 + 3 ", "Step 2: = 5 The answer is: 5 "], ["Step 1: no "], [], ["Step 1: 6 "]]
    said = capsys.readouterr().err
    assert "1 with 1, 1 with 3" in said and "answers 2 of the 3 questions" in said
    assert read_solutions("pqm", tmp_path / "eval.json", asked, "strong")["text"].tolist() == ["no"]


@pytest.mark.parametrize("text", ["a Step 2: b\nStep 3:  c ", "Step 1: a Step 2: b", "a", " ", "Step 1: Step 2: b Step 3:"])
def test_steps_are_cut_and_numbered_as_in_the_authors_code(text):
    cut = [(place, part.strip()) for place, part in enumerate(re.split(r"Step \d+:", text)) if part.strip() != ""]
    assert split_numbered_steps(text) == [f"Step {place + 1}: {part} " for place, part in cut]


@pytest.mark.parametrize(
    "content, told",
    [
        ("{", "neither JSON lines nor one JSON text"),
        ({}, "row 0: expected {question, responses"),
        ([1], "row 0: expected a JSON object"),
        ([{"question": "what is q-0 ?"}], "row 0: expected {question, responses"),
        ([{"question": "what is q-0 ?", "responses": [{"text": "5"}]}], "row 0, response 0: expected {text, model_name}"),
        ([{"question": "what is q-0 ?", "responses": [response(5)]}], "row 0, response 0: expected 'text', a text, found 5"),
        ([{"question": "who ?", "responses": [response("5")]}], "row 0: its question is not in"),
        ([{"question": "what is q-0 ?", "responses": []}], "no solution"),
    ],
)
def test_malformed_evaluation_files_are_refused(tmp_path, asked, content, told):
    with pytest.raises(PqmError, match=re.escape(told)):
        read_solutions("pqm", written(tmp_path, content), asked, None)


# ---------------------------------------------------------------- their measure


def tables(folder, questions, samples, seed):
    """Random grades and scores with ties, rows out of order."""
    random = np.random.default_rng(seed)
    rows = []
    for question, sample in product(range(questions), range(samples)):
        answer = random.choice(["1", "2", "3", ""]) or None
        rows.append(
            {
                "question_id": f"q-{question}",
                "cluster": "c",
                "sample_id": sample,
                "answer": answer,
                "correct": answer == "1",
                "grader": "math-verify",
                "second_correct": answer in ("1", "2"),
                "rules_correct": answer in ("1", "3"),
                "first_error": None,
                "step_scores": [float(value) for value in random.integers(-2, 3, random.integers(1, 4))],
                "checkpoint": "x",
            }
        )
    frame = pd.DataFrame(rows).astype({"first_error": "Int64"}).sample(frac=1, random_state=seed)
    formats.write(frame, formats.GRADES, folder / "grades.parquet")
    formats.write(frame, formats.SCORES, folder / "scores.parquet")
    return rows


def brute_force(rows, n, verdict):
    """The authors' computation, question by question."""
    hits = {"best-of-n": [], "best-of-n + self-consistency": [], "self-consistency": [], "pass@n": []}
    for question in sorted({row["question_id"] for row in rows}):
        first = [row for row in rows if row["question_id"] == question][:n]
        best = sorted(first, key=lambda row: min(row["step_scores"]), reverse=True)[0]
        hits["best-of-n"].append(best[verdict])
        for method, weigh in (
            ("self-consistency", lambda row: 1.0),
            ("best-of-n + self-consistency", lambda row: 1 / (1 + np.exp(-min(row["step_scores"])))),
        ):
            sums = {row["answer"]: sum(weigh(other) for other in first if other["answer"] == row["answer"]) for row in first}
            winner = next(answer for answer in sums if sums[answer] == max(sums.values()))
            hits[method].append(next(row[verdict] for row in first if row["answer"] == winner))
        hits["pass@n"].append(any(row[verdict] for row in first))
    return {method: np.mean(values) for method, values in hits.items()}


@pytest.mark.parametrize("seed", range(4))
def test_official_measures_equal_the_authors_loops(tmp_path, seed):
    rows = tables(tmp_path, questions=30, samples=8, seed=seed)
    table = official_table(tmp_path / "grades.parquet", tmp_path / "scores.parquet", "min", [1, 3, 8]).set_index(["method", "n"])
    for n in (1, 3, 8):
        for column, verdict in (
            ("authors' rules, as applied", "second_correct"),
            ("authors' rules, both sides normalised", "rules_correct"),
            ("math-verify", "correct"),
        ):
            for method, expected in brute_force(rows, n, verdict).items():
                assert table.at[(method, n), column] == pytest.approx(expected), (method, n)


@pytest.mark.parametrize("missing", [slice(None), slice(3, 4)], ids=["in every row", "in one row"])
def test_a_grading_that_samples_lack_is_not_printed(tmp_path, missing):
    tables(tmp_path, questions=3, samples=4, seed=0)
    grades = formats.read(tmp_path / "grades.parquet", formats.GRADES).astype({"rules_correct": object})
    grades.loc[grades.index[missing], "rules_correct"] = None
    formats.write(grades, formats.GRADES, tmp_path / "grades.parquet")
    table = official_table(tmp_path / "grades.parquet", tmp_path / "scores.parquet", "min", [4])
    assert list(table.columns) == ["method", "n", "questions", "authors' rules, as applied", "math-verify"]


def test_ties_of_votes_go_to_the_first():
    assert first_n_vote(["a", "b", "b", "a"], np.array([True, False, False, True]), np.ones(4), 4) == 1.0
    assert first_n_vote(["a", None, None], np.array([True, False, False]), np.ones(3), 3) == 0.0


def test_too_few_samples_are_refused(tmp_path):
    tables(tmp_path, questions=2, samples=4, seed=0)
    with pytest.raises(PqmError, match="4 samples, but n = 8"):
        official_table(tmp_path / "grades.parquet", tmp_path / "scores.parquet", "min", [8])


# ---------------------------------------------------------------- their checkpoints


class ValueHead(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dropout, self.summary = nn.Dropout(0.1), nn.Linear(width, 1)


class WithValueHead(nn.Module):
    """The layout of the authors' model."""

    def __init__(self, language_model):
        super().__init__()
        self.pretrained_model, self.v_head = language_model, ValueHead(language_model.config.hidden_size)

    def rewards(self, tokens):
        hidden = self.pretrained_model(input_ids=tokens, output_hidden_states=True).hidden_states[-1]
        return self.v_head.summary(self.v_head.dropout(hidden)).squeeze(-1)


TEXT = ["Step 1: 2 + 3 = 5 [INST] what is 7 ? [/INST]\n### Response: Below is an instruction\n\nThe answer is: 12"] * 4
QUESTION, SOLUTIONS = "what is 2 + 3 ?", ["2 + 3 = 5 Step 2: The answer is: 5", "6\nStep 2:  7 Step 3: 12"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A byte-level tokenizer and an untrained model in a `transformers` folder, and the same model in the authors' layout."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=["<end>"]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>", pad_token="<end>")
    folder = tmp_path_factory.mktemp("official") / "backbone"
    model = tiny_llama(tokenizer, positions=512, spread=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[PRM]"]})
    model.resize_token_embeddings(len(tokenizer))
    theirs = WithValueHead(model).eval()
    torch.nn.init.constant_(theirs.v_head.summary.bias, 0.7)
    return folder, theirs, tokenizer


def their_scores(model, tokenizer, template, text):
    """Prompt, steps and positions as in their evaluation script."""
    steps = [f"Step {place + 1}: {part.strip()}" for place, part in enumerate(re.split(r"Step \d+:", text)) if part.strip()]
    whole = "{}\n{}".format(template.removesuffix("\n").replace("{question}", QUESTION), " [PRM]\n".join(steps) + " [PRM]")
    tokens = torch.tensor([tokenizer.encode(whole, add_special_tokens=False)])
    with torch.no_grad():
        return model.rewards(tokens)[tokens == tokenizer.convert_tokens_to_ids("[PRM]")].tolist()


def saved(state, folder, layout):
    """The state dict in a file layout that trainers write."""
    folder.mkdir()
    state = {name: tensor.clone() for name, tensor in state.items()}
    if layout == "file":
        save_file(state, folder / "weights.safetensors")
        return folder / "weights.safetensors"
    if layout == "bin":
        torch.save(state, folder / "pytorch_model.bin")
        return folder
    names = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(state)}
    for file in set(names.values()):
        save_file({name: state[name] for name in state if names[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder


@pytest.mark.parametrize("layout, template", [("file", "evaluation"), ("bin", "training"), ("shards", "evaluation")])
def test_converted_checkpoints_score_as_before(tmp_path, backbone, layout, template):
    folder, theirs, tokenizer = backbone
    convert(saved(theirs.state_dict(), tmp_path / "weights", layout), folder, template, tmp_path / "ours")
    scorer = Scorer([tmp_path / "ours"], "reward", 512)
    found = scorer([(QUESTION, [split_numbered_steps(text) for text in SOLUTIONS])])[0]
    for text, scores in zip(SOLUTIONS, found):
        expected = their_scores(theirs, tokenizer, TEMPLATES[template], text)
        assert len(expected) == len(split_numbered_steps(text))
        assert scores == pytest.approx(expected, abs=1e-6)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
OTHERS = {
    "GPT-2": lambda size: GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.2),
    "GPT-NeoX": lambda size: GPTNeoXConfig(vocab_size=size, intermediate_size=64, initializer_range=0.2, **SMALL),
}


@pytest.mark.parametrize("name", OTHERS)
def test_backbones_with_other_names_of_heads_are_converted(tmp_path, backbone, name):
    tokenizer = backbone[2]
    model = AutoModelForCausalLM.from_config(OTHERS[name](len(tokenizer)))
    model.config.save_pretrained(tmp_path / "backbone")
    tokenizer.save_pretrained(tmp_path / "backbone")
    theirs = WithValueHead(model).eval()
    convert(saved(theirs.state_dict(), tmp_path / "weights", "file"), tmp_path / "backbone", "evaluation", tmp_path / "ours")
    found = Scorer([tmp_path / "ours"], "reward", 512)([(QUESTION, [split_numbered_steps(SOLUTIONS[0])])])[0][0]
    assert found == pytest.approx(their_scores(theirs, tokenizer, TEMPLATES["evaluation"], SOLUTIONS[0]), abs=1e-4)


def test_bfloat16_stays_and_a_head_without_bias_is_ours(tmp_path, backbone):
    folder, theirs, _ = backbone
    state = {name: tensor.to(torch.bfloat16) for name, tensor in theirs.state_dict().items() if name != "v_head.summary.bias"}
    convert(saved(state, tmp_path / "weights", "file"), folder, "evaluation", tmp_path / "ours")
    config = json.loads((tmp_path / "ours/config.json").read_text())
    assert config["dtype"] == "bfloat16" and config["token_classification_bias"] is False
    model = Scorer([tmp_path / "ours"], "reward", 512).models[0]
    assert torch.equal(model.score.weight, state["v_head.summary.weight"].float())
    name = "layers.1.mlp.down_proj.weight"
    assert torch.equal(model.model.state_dict()[name], state[f"pretrained_model.model.{name}"].float())


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda state: state.pop("v_head.summary.weight"), "the weights 'v_head.summary.weight' are missing"),
        (lambda state: state.pop("pretrained_model.model.norm.weight"), "model.norm.weight: shape none"),
        (lambda state: state.update(extra=torch.zeros(2)), "extra: shape (2,); expected none for a model like"),
        (lambda state: state.update({"v_head.summary.weight": torch.zeros(1, 8)}), "score.weight: shape (1, 8)"),
        (
            lambda state: state.update({"pretrained_model.model.embed_tokens.weight": torch.zeros(9, 32)}),
            "9 token embeddings, but",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, backbone, change, told):
    folder, theirs, _ = backbone
    state = dict(theirs.state_dict())
    change(state)
    with pytest.raises(PqmError, match=re.escape(told)):
        convert(saved(state, tmp_path / "weights", "file"), folder, "evaluation", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_files_that_are_no_weights_are_refused(tmp_path, backbone):
    folder = backbone[0]
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    torch.save({"a": re.compile("code")}, tmp_path / "code.bin")
    (tmp_path / "empty").mkdir()
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/model.safetensors.index.json").write_text('{"weight_map": {"a": "gone.safetensors"}}')
    for name, told in {
        "none.safetensors": "missing",
        "cut.safetensors": "not a state dict",
        "code.bin": "not a state dict",
        "empty": "neither",
        "shards": "gone.safetensors: missing",
    }.items():
        with pytest.raises(PqmError, match=told):
            convert(tmp_path / name, folder, "evaluation", tmp_path / "ours")
    with pytest.raises(PqmError, match="expected one of training, evaluation"):
        convert(tmp_path / "empty", folder, "other", tmp_path / "ours")
