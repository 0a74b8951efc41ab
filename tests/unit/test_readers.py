"""Readers of published data: label sets, questions and the hub, on fixtures in the publishers' formats and on real files."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import constants
from small import TRAINING

from pqm import formats
from pqm.config import (
    FileSource,
    HubSource,
    PublishedLabelsConfig,
    QuestionsConfig,
    SymbolicSource,
)
from pqm.errors import PqmError
from pqm.evaluate import grade
from pqm.evaluate.unanswerable import stated_answer
from pqm.labels.published import published_labels
from pqm.questions import make_questions
from pqm.questions.symbolic import UNSOUND, adds_up
from pqm.reward_model import Encoder, reward_model
from pqm.solution import SolutionFormat
from pqm.study import load_study
from pqm.train.data import examples

DATA = Path(__file__).parents[3] / "shared" / "data"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# ---------------------------------------------------------------- label sets

EGGS = "Janet has 3 eggs and buys 4 more. How many?"
MATH_SHEPHERD = [
    {
        "input": f"{EGGS} Step 1: She has 3 + 4 = 7 eggs. ки\nStep 2: The answer is: 7 ки",
        "label": f"{EGGS} Step 1: She has 3 + 4 = 7 eggs. +\nStep 2: The answer is: 7 +",
        "task": "GSM8K",
    },
    {  # headings out of order, a mark in the middle of a step, a word that holds the mark
        "input": f"{EGGS} Step 1: Say книжки, 3 ки\nso far.  ки\nStep 3: The answer is: 3 ки",
        "label": f"{EGGS} Step 1: Say книжки, 3 +\nso far.  +\nStep 3: The answer is: 3 -",
        "task": "GSM8K",
    },
    {"input": "A question alone ки", "label": "A question alone +", "task": "MATH"},
    {"input": "Q? Step 1: a ки\nStep 2: b ки", "label": "Q? Step 1: a +\nStep 2: b", "task": "MATH"},
    {"input": "Q? Step 1: a ки\nStep 2: b ки", "label": "Q? Step 1: a +", "task": "MATH"},
    {  # again, with other labels
        "input": f"{EGGS} Step 1: She has 3 + 4 = 7 eggs. ки\nStep 2: The answer is: 7 ки",
        "label": f"{EGGS} Step 1: She has 3 + 4 = 7 eggs. -\nStep 2: The answer is: 7 -",
        "task": "GSM8K",
    },
]


def completion(text: str, rating: int | None) -> dict[str, Any]:
    return {"text": text, "rating": rating, "flagged": None}


def prm800k(steps: list[dict[str, Any]], ending: str) -> dict[str, Any]:
    label = {"steps": steps, "total_time": 1000, "finish_reason": ending}
    return {"labeler": "a", "question": {"problem": "What is 1 + 1?", "ground_truth_answer": "2"}, "label": label}


PRM800K = [
    # phase 2: one completion a step, the last one wrong and not chosen
    prm800k(
        [
            {"completions": [completion("Add.", 1)], "human_completion": None, "chosen_completion": 0},
            {"completions": [completion("It is fine.", 0)], "human_completion": None, "chosen_completion": 0},
            {"completions": [completion("It is 3.", -1)], "human_completion": None, "chosen_completion": None},
        ],
        "found_error",
    ),
    # phase 1: alternatives, one of them unrated; a step that the labeller wrote; solved
    prm800k(
        [
            {
                "completions": [completion("Subtract.", -1), completion("Sum.", 1), completion("Hm.", None)],
                "human_completion": None,
                "chosen_completion": 1,
            },
            {
                "completions": [completion("So 4.", -1)],
                "human_completion": {"text": "1 + 1 = 2.", "rating": None},
                "chosen_completion": None,
            },
            {"completions": [completion("# Answer\n\n2", 1)], "human_completion": None, "chosen_completion": 0},
        ],
        "solution",
    ),
    prm800k([{"completions": None, "human_completion": None, "chosen_completion": None}], "give_up"),
    prm800k([{"completions": [completion("Odd.", 1)], "human_completion": None, "chosen_completion": 0}], "bad_problem"),
]
STEPWISE = [
    {"prompt": "1 + 1?", "completions": ["Add.", "2"], "labels": [True, True]},
    {"prompt": "1 + 1?", "completions": ["Add.", "3"], "labels": [True, False]},
    {"prompt": "2 + 2?", "completions": [], "labels": []},
]

ReadLabels = Callable[..., pd.DataFrame]


def lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def read_labels(tmp_path: Path) -> ReadLabels:
    """The checked label table of records in a format, written and read again."""

    def read(form: str, records: list[Any], **more: Any) -> pd.DataFrame:
        lines(tmp_path / "corpus.jsonl", records)
        source = {"kind": "file", "format": form, "path": "corpus.jsonl"}
        table = published_labels(PublishedLabelsConfig(source=source, **more), tmp_path)
        formats.write(table, formats.LABELS, tmp_path / "labels.parquet")
        return formats.read(tmp_path / "labels.parquet", formats.LABELS)

    return read


def test_math_shepherd(read_labels, capsys):
    table = read_labels("math-shepherd", MATH_SHEPHERD)
    assert table["prompt"].tolist() == [EGGS, EGGS]
    assert [list(steps) for steps in table["completions"]] == [
        ["Step 1: She has 3 + 4 = 7 eggs.", "Step 2: The answer is: 7"],
        ["Step 1: Say книжки, 3\nso far.", "Step 2: The answer is: 3"],
    ]
    assert [list(labels) for labels in table["labels"]] == [[1, 1], [1, 0]]
    assert table["answer"].tolist() == ["7", "3"] and table["correct"].tolist() == [True, False]
    assert set(table["method"]) == {"published math-shepherd, hard labels only"}
    said = capsys.readouterr().err
    assert "6 rows, 3 solutions, 66.7 %" in said and "1 stand twice" in said
    for reason in ("1 without steps", "1 with a label that ends in neither + nor -", "1 with more or fewer labels than steps"):
        assert reason in said


def test_counts_of_a_whole_corpus_are_asserted(read_labels):
    counts = {"rows": 6, "solutions": 3, "wrong_endings": 66.7}
    assert len(read_labels("math-shepherd", MATH_SHEPHERD, counts=counts)) == 2
    with pytest.raises(PqmError, match=r"rows 5, expected 6; it is not the whole corpus"):
        read_labels("math-shepherd", MATH_SHEPHERD[:5], counts=counts)
    with pytest.raises(PqmError, match=r"wrong_endings 66\.6667, expected 63\.4"):
        read_labels("math-shepherd", MATH_SHEPHERD, counts=counts | {"wrong_endings": 63.4})


def test_prm800k(read_labels, capsys):
    table = read_labels("prm800k", PRM800K)
    found = [(list(row.completions), list(row.labels), row.correct) for row in table.itertuples()]
    assert found == [
        (["Add.", "It is fine.", "It is 3."], [1, 1, 0], False),
        (["Subtract."], [0], False),
        (["Sum.", "So 4."], [1, 0], False),
        (["Sum.", "1 + 1 = 2.", "# Answer\n\n2"], [1, 1, 1], True),
    ]
    said = capsys.readouterr().err
    assert "1 about a bad problem" in said and "1 without a rated step" in said


def test_prm800k_of_a_solution_that_was_given_up_is_not_right(read_labels):
    steps = [
        {"completions": [completion("Add.", 1)], "human_completion": None, "chosen_completion": 0},
        {"completions": [completion("Hm.", None)], "human_completion": None, "chosen_completion": 0},
    ]
    table = read_labels("prm800k", [prm800k(steps, "give_up")])
    assert [list(one) for one in table["completions"]] == [["Add."]] and not table["correct"].any()


@pytest.mark.parametrize("rows", ["json", "parquet"])
def test_stepwise(rows, read_labels, tmp_path, capsys):
    if rows == "json":
        table = read_labels("stepwise", STEPWISE)
    else:
        pd.DataFrame(STEPWISE).to_parquet(tmp_path / "rows.parquet")
        source = {"kind": "file", "format": "stepwise", "path": "rows.parquet"}
        table = published_labels(PublishedLabelsConfig(source=source), tmp_path)
    assert [list(labels) for labels in table["labels"]] == [[1.0, 1.0], [1.0, 0.0]]
    assert table["correct"].tolist() == [True, False]
    assert table["question_id"].nunique() == 1
    assert "1 without steps" in capsys.readouterr().err


def test_soft_stepwise_labels_are_shares_of_right_completions(read_labels):
    table = read_labels("stepwise", [{"prompt": "1 + 1?", "completions": ["a", "b", "c"], "labels": [0.75, 0.25, 0]}])
    assert list(table["soft_labels"][0]) == [0.75, 0.25, 0] and list(table["labels"][0]) == [1, 1, 0]
    assert "hard" not in table["method"][0]


def test_shares_of_the_questions_are_disjoint_and_complete(read_labels):
    rows = [{"prompt": f"{number // 2} + 1?", "completions": [f"{number}"], "labels": [True]} for number in range(400)]
    parts = [read_labels("stepwise", rows, share=share) for share in ((0.0, 0.9), (0.9, 1.0))]
    questions = [set(part["prompt"]) for part in parts]
    assert not questions[0] & questions[1] and len(questions[0] | questions[1]) == 200
    assert len(parts[0]) + len(parts[1]) == 400
    assert 8 <= len(questions[1]) <= 35  # 20 expected


def test_published_labels_train(read_labels, policy):
    _, tokenizer = reward_model(policy, seed=0)
    data = examples(read_labels("prm800k", PRM800K), Encoder(tokenizer, SolutionFormat()), "hard")
    assert data[0].labels == (1, 1, 0)
    assert all(len(one.encoded.step_ends) == len(one.labels) for one in data)


@pytest.mark.parametrize(
    ("form", "row", "words"),
    [
        ("math-shepherd", {"input": "Q? Step 1: a ки"}, "row 1: expected 'label', a text"),
        ("math-shepherd", {"input": 1, "label": "Q? Step 1: a +"}, "row 1: expected 'input', a text, found 1"),
        ("prm800k", {"question": {"problem": "Q?"}}, "row 1: key 'label' is missing"),
        ("prm800k", prm800k([{"completions": [completion("a", 2)], "human_completion": None, "chosen_completion": 0}], "solution"), "row 1"),
        ("prm800k", prm800k([{"completions": [completion("a", 1)], "human_completion": None, "chosen_completion": 4}], "solution"), "row 1"),
        ("prm800k", {"question": "Q?", "label": {}}, "row 1: a value of another type"),
        ("stepwise", {"prompt": "Q?", "completions": ["a", "b"], "labels": [True]}, "row 1: 2 completions but 1 labels"),
        ("stepwise", {"prompt": "Q?", "completions": "a", "labels": [True]}, "row 1: expected completions, a list of texts"),
        ("stepwise", {"prompt": "Q?", "completions": ["a"], "labels": [2]}, "row 1: expected labels true, false or in"),
        ("stepwise", {"prompt": "Q?", "completions": ["a"], "labels": ["+"]}, "row 1: expected labels true, false or in"),
        ("stepwise", ["Q?"], "row 1: expected a JSON object, found list"),
    ],
)  # fmt: skip
def test_malformed_row_is_named(form, row, words, read_labels):
    good = {"math-shepherd": MATH_SHEPHERD, "prm800k": PRM800K, "stepwise": STEPWISE}[form][0]
    with pytest.raises(PqmError, match=re.escape(words)):
        read_labels(form, [good, row])


def test_corpus_in_another_format_is_said(read_labels):
    with pytest.raises(PqmError, match="no labelled solution in 1 rows"):
        read_labels("math-shepherd", [{"input": "Q?", "label": "Q?"}])


def test_labels_verb_reads_published_labels(run_cli, settings, tmp_path):
    lines(tmp_path / "rows.jsonl", STEPWISE)
    config = settings("labels", source={"kind": "file", "format": "stepwise", "path": "rows.jsonl"}, share=[0.0, 1.0])
    out = tmp_path / "out.parquet"
    code, _ = run_cli("labels", config, "--output", out, "--published", tmp_path)
    assert code == 0 and len(formats.read(out, formats.LABELS)) == 2
    code, text = run_cli("labels", config, "--output", tmp_path / "other.parquet", "--published", tmp_path / "nowhere")
    assert code == 1 and "nowhere/rows.jsonl is missing; get it from whoever made it" in text and text.count("\n") == 1
    assert not (tmp_path / "other.parquet").exists()


def test_soft_targets_need_soft_labels(run_cli, write_study, tmp_path, read_labels, policy):
    read_labels("stepwise", STEPWISE)
    table = tmp_path / "labels.parquet"
    run = {"loss": "bce", "targets": "soft", "labels": "a", "backbone": "b"}
    study = write_study(training=TRAINING.model_dump(mode="json"), runs={"soft": run})
    tables = ["--seed", 0, "--labels", table, "--validation", table, "--backbone", policy]
    code, text = run_cli("train", study, "soft", "--output", tmp_path / "out", *tables, "--work", tmp_path / "work")
    assert code == 1 and "hard labels only; the run asks for soft ones" in text


# ---------------------------------------------------------------- questions


def symbolic(name: str, taken: list[Path] | None = None, **more: Any) -> pd.DataFrame:
    source = SymbolicSource(**{"kind": "gsm-symbolic", "questions": 60, "seed": 1, **more})
    others = taken or []
    config = QuestionsConfig(source=source, disjoint_from=tuple(path.stem for path in others))
    return make_questions(config, name, {path.stem: path for path in others}, Path("."))


def test_symbolic_questions_are_sound_and_repeat(tmp_path):
    table = symbolic("train", questions=2000)
    formats.write(table, formats.QUESTIONS, tmp_path / "train.parquet")
    assert table["question"].is_unique and table["cluster"].nunique() > 70
    assert not set(table["cluster"]) & {f"template-{number:02d}" for number in UNSOUND}
    for row in table.itertuples():
        assert re.search(rf"(?<![\d.]){re.escape(row.answer)}(?:\.0+)?(?![\d])", row.solution[-1].replace(",", ""))
        assert adds_up(row.solution, row.answer) and "####" not in " ".join(row.solution)
    pd.testing.assert_frame_equal(table.head(60), symbolic("train"))
    other = symbolic("other", [tmp_path / "train.parquet"])
    assert not set(other["question"]) & set(table["question"])


def test_symbolic_templates_are_a_range():
    assert set(symbolic("held-out", templates=(80, 85))["cluster"]) == {f"template-{number}" for number in range(80, 86)}


def test_symbolic_templates_that_are_exhausted_are_said(monkeypatch):
    monkeypatch.setattr("pqm.questions.symbolic.TRIES", 20)
    with pytest.raises(PqmError, match=r"few: 100000 questions are asked for, templates 52 to 52 gave only \d+"):
        symbolic("few", questions=100_000, templates=(52, 52))
    with pytest.raises(PqmError, match="none of the templates 97 to 98 is sound"):
        symbolic("none", templates=(97, 98))


@pytest.mark.parametrize(
    ("steps", "answer", "sound"),
    [
        (["0.39 * 80 = 31.20", "31.20 + 2 = 33.2"], "33.2", True),
        (["0.39 * 80 = 31", "31 + 2 = 33"], "33", False),
        (["€12 + €18 + €22 = €52", "€52 x 2 = €104"], "104", True),
        (["€12 - €18.5 = €6"], "6", False),
        (["he was 69 years - 70 years = -1 years old"], "-1", False),
        (["6 / 12 = 50.0%, so 50"], "50", True),
        (["10 / 3 = 3.33"], "3.33", True),
        (["3 + 4 = 7"], "8", False),
        (["$1,500 * 2 = $3,000"], "3000", True),
    ],
)
def test_solutions_that_do_not_add_up(steps, answer, sound):
    assert adds_up(steps, answer) is sound


def test_package_that_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("pqm.questions.symbolic.PACKAGE", "no_such_package")
    with pytest.raises(PqmError, match="reasoning-gym is not installed"):
        symbolic("train")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Nobody says how much.\n#### None", "None"),
        (r"So \boxed{\text{None}}", "None"),
        ("The answer is unknown.", "None"),
        ("The answer cannot be determined from what is given.", "None"),
        ("The price of a pen is missing.\nThere is not enough information to solve this.", "None"),
        ("It is impossible to determine the total.", "None"),
        ("The answer is: it can't be calculated", "None"),
        ("The answer is none of them", "none of them"),
        ("None are left, so the answer is 0", "0"),
        ("What cannot be determined is left out.\nThe answer is 5", "5"),
        ("We do not stop here", None),
    ],
)
def test_solutions_that_say_that_there_is_no_answer(text, answer):
    assert stated_answer(text) == answer


def test_question_without_answer_is_graded_by_what_the_solution_says(tmp_path, capsys):
    row = {"question": "How many?", "solution": "Unknown.\n#### None", "answer": "None", "perturbation_type": "critical thinking"}
    lines(tmp_path / "plus.jsonl", [row | {"seed_question": "How many of 3?"}])
    source = FileSource(kind="file", format="gsm-plus", path="plus.jsonl")
    questions = make_questions(QuestionsConfig.model_construct(source=source, disjoint_from=()), "plus", {}, tmp_path)
    assert "plus: 1 of 1 questions have no answer (gold None)" in capsys.readouterr().err
    texts = ["It cannot be determined.", "The answer is 0", "#### None"]
    shared = {"question_id": "plus-00000", "n_tokens": 3, "log_likelihood": -1.0, "seed": 0, "engine": "made up"}
    rollouts = [
        shared | {"sample_id": number, "text": text, "steps": [text], "finish_reason": reason}
        for number, (text, reason) in enumerate([*((text, "stop") for text in texts), (texts[0], "length")])
    ]
    formats.write(questions, formats.QUESTIONS, tmp_path / "questions.parquet")
    formats.write(pd.DataFrame(rollouts), formats.ROLLOUTS, tmp_path / "rollouts.parquet")
    grades = grade(tmp_path / "questions.parquet", tmp_path / "rollouts.parquet")
    assert grades["correct"].tolist() == [True, False, True, False]


@pytest.mark.skipif(not DATA.exists(), reason="the published data is not beside the checkout")
def test_questions_without_answer_of_gsm_plus_are_counted(capsys):
    config = load_study(Path(__file__).parents[2] / "config/published/study.yaml").questions["gsm-plus"]
    table = make_questions(config, "gsm-plus", {}, DATA)
    none = table["answer"] == "None"
    assert f"{none.sum()} of 2400 questions have no answer" in capsys.readouterr().err
    assert set(table["perturbation"][none]) == {"critical thinking"}


# ---------------------------------------------------------------- the hub

Answers = dict[str, tuple[int, dict[str, str], bytes]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A local server that answers as the hub does, and an empty cache.

    `publish` gives a data set its files; `refuse` lets every request that begins with a path fail as the hub says it.
    """
    answers: Answers = {}
    refused: dict[str, tuple[int, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            path = self.path.split("?")[0]
            failure = next((failure for start, failure in reversed(refused.items()) if path.startswith(start)), None)
            if failure is None and path not in answers:
                known = any(other.startswith("/".join(path.split("/")[:5])) for other in answers)
                failure = (404, "EntryNotFound" if known else "RepoNotFound")
            status, headers, body = (failure[0], {"X-Error-Code": failure[1]}, b"{}") if failure else answers[path]
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between tries to reach the server
    monkeypatch.delenv("HF_TOKEN", raising=False)

    def publish(dataset: str, files: dict[str, bytes]) -> None:
        tree = [{"type": "file", "path": name, "size": len(body), "oid": f"{len(body):040x}"} for name, body in files.items()]
        answers[f"/api/datasets/{dataset}/tree/{COMMIT}"] = (200, {"Content-Type": "application/json"}, json.dumps(tree).encode())
        for name, body in files.items():
            headers = {"ETag": f'"{len(body):040x}"', "X-Repo-Commit": COMMIT}
            answers[f"/datasets/{dataset}/resolve/{COMMIT}/{name}"] = (200, headers, body)

    def close() -> None:
        if thread.is_alive():
            server.shutdown()
            server.server_close()
            thread.join()

    yield SimpleNamespace(publish=publish, refuse=lambda start, *failure: refused.update({start: failure}), close=close)
    close()


def hub_source(**more: Any) -> HubSource[str]:
    return HubSource[str](
        **{"kind": "hub", "format": "gsm8k", "dataset": "someone/gsm8k", "revision": COMMIT, "split": "test", **more}
    )


def hub_questions(**more: Any) -> pd.DataFrame:
    source = hub_source(**more)
    return make_questions(QuestionsConfig.model_construct(source=source, disjoint_from=()), "gsm8k", {}, Path("."))


GSM8K = [{"question": f"{n} + 1?", "answer": f"{n} + 1 = <<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"} for n in range(3)]
CARD = b"---\nconfigs:\n- config_name: main\n  data_files:\n  - {split: test, path: main.jsonl}\n- config_name: other\n  data_files: other.jsonl\n---\n"


def published_gsm8k(hub: SimpleNamespace) -> None:
    text = "".join(json.dumps(row) + "\n" for row in GSM8K).encode()
    hub.publish("someone/gsm8k", {"README.md": CARD, "main.jsonl": text, "other.jsonl": text[: len(text) // 3]})


def test_hub_questions_are_read_and_read_again_without_the_hub(hub):
    published_gsm8k(hub)
    table = hub_questions(name="main")
    assert table["question"].tolist() == [row["question"] for row in GSM8K]
    assert table["answer"].tolist() == ["1", "2", "3"] and list(table["solution"][0]) == ["0 + 1 = 1"]
    hub.close()
    pd.testing.assert_frame_equal(hub_questions(name="main"), table)


def test_hub_file_is_read(hub):
    published_gsm8k(hub)
    assert hub_questions(split=None, file="main.jsonl")["answer"].tolist() == ["1", "2", "3"]


def test_nested_rows_survive_the_hub(hub, capsys):
    hub.publish("someone/prm800k", {"train.jsonl": "".join(json.dumps(row) + "\n" for row in PRM800K).encode()})
    source = hub_source(dataset="someone/prm800k", split="train", format="prm800k")
    table = published_labels(PublishedLabelsConfig.model_construct(source=source, share=(0.0, 1.0), counts=None), Path("."))
    assert len(table) == 4 and "hub dataset someone/prm800k, split train: 4 rows" in capsys.readouterr().err


def failure(hub: SimpleNamespace, **more: Any) -> str:
    with pytest.raises(PqmError) as error:
        hub_questions(**more)
    message = str(error.value)
    assert "\n" not in message and "someone/" in message
    return message


@pytest.mark.parametrize("more", [{}, {"split": None, "file": "main.jsonl"}], ids=["split", "file"])
def test_hub_errors_are_said_in_one_sentence(hub, more):
    published_gsm8k(hub)
    assert "no such dataset, or it is private" in failure(hub, dataset="someone/nothing", **more)
    hub.refuse("/datasets/someone/gsm8k/resolve", 401, "GatedRepo")  # the hub lists gated files, and keeps them
    assert re.search("gated; accept its terms.*hf auth login", failure(hub, **(more or {"name": "main"})))
    for path in ("/api/datasets/someone/gsm8k", "/datasets/someone/gsm8k"):
        hub.refuse(path, 404, "RevisionNotFound")
    other = "f" * 40
    assert f"the hub has no revision {other}" in failure(hub, revision=other, **more)


def test_hub_file_that_is_missing_is_said(hub):
    published_gsm8k(hub)
    assert "file nothing.jsonl" in failure(hub, split=None, file="nothing.jsonl")


@pytest.mark.parametrize(
    ("more", "words"),
    [({"name": "main", "split": "dev"}, "Available splits: ['test']"), ({"name": "nothing"}, "Available: ['main', 'other']")],
    ids=["split", "configuration"],
)
def test_split_or_configuration_that_is_missing_is_said_with_those_there_are(hub, more, words):
    published_gsm8k(hub)
    assert words in failure(hub, **more)


@pytest.mark.parametrize("way", ["unreachable", "offline"])
@pytest.mark.parametrize("more", [{}, {"split": None, "file": "main.jsonl"}], ids=["split", "file"])
def test_hub_out_of_reach_says_what_to_download_and_where_to_put_it(hub, way, more, monkeypatch, tmp_path):
    hub.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", way == "offline")
    message = failure(hub, **more)
    file = " main.jsonl" if more else ""
    assert f"hf download someone/gsm8k{file} --repo-type dataset --revision {COMMIT}" in message
    assert str(tmp_path / "cache") in message


def test_offline_by_the_environment_ends_in_one_sentence(tmp_path, settings):
    """The whole command in a process of its own, with the variable that users set."""
    source = {"kind": "hub", "format": "gsm8k", "dataset": "someone/gsm8k", "revision": COMMIT, "split": "test"}
    config = settings("questions", source=source)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "pqm.cli", "questions", *map(str, config), "--output", str(tmp_path / "out.parquet")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "out.parquet").exists()
    assert re.fullmatch(r"pqm: hub dataset someone/gsm8k: not in the hub's cache.*hf download.*home/hub.*\n", done.stderr)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"revision": "main"}, "expected a commit, 40 hexadecimal digits"),
        ({"split": None}, "either split or file"),
        ({"file": "a.jsonl"}, "either split or file"),
        ({"split": None, "file": "a.jsonl", "name": "main"}, "remove it beside file"),
    ],
)
def test_hub_source_that_is_not_pinned_or_says_too_much(change, words, settings):
    source = {"kind": "hub", "format": "gsm8k", "dataset": "someone/gsm8k", "revision": COMMIT, "split": "test"} | change
    with pytest.raises(PqmError, match=words):
        load_study(settings("questions", source=source)[0])


@pytest.mark.parametrize("source", [{"share": [0.9, 0.1]}, {"share": [0.5]}, {"counts": {"rows": 1, "solutions": 0}}])
def test_label_settings_that_make_no_sense(source, settings):
    with pytest.raises(PqmError, match=rf"line \d+: labels\.tiny\.{next(iter(source))}"):
        load_study(settings("labels", source={"kind": "file", "format": "stepwise", "path": "a.jsonl"}, **source)[0])
