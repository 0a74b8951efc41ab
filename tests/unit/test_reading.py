"""Reading study files: every fault is reported at once, with its line."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from small import write_yaml

from pqm.errors import PqmError
from pqm.study.labels import LabelsConfig, PublishedLabelsConfig
from pqm.study.reading import load_item, load_section, load_study, other_study
from pqm.study.runs import RunConfig
from pqm.study.training import TrainingConfig

NUMBERS = count()  # files that hypothesis writes


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[str], list[str]]:
    """The messages about a study with this text, line by line, without the file name."""

    def said(text: str) -> list[str]:
        path = tmp_path / f"study-{next(NUMBERS)}.yaml"
        path.write_text(text)
        with pytest.raises(PqmError) as error:
            load_study(path)
        lines = str(error.value).splitlines()
        assert all(line.startswith(f"{path}: ") for line in lines)
        return [line.removeprefix(f"{path}: ") for line in lines]

    return said


# ---------------------------------------------------------------- unknown keys of sources, long values, odd characters


@pytest.mark.parametrize(
    ("section", "source", "key", "near"),
    [
        ("questions", {"kind": "file", "format": "gsm8k", "file": "a"}, "file", None),
        ("questions", {"kind": "file", "format": "gsm8k", "dataset": "a"}, "dataset", None),
        ("questions", {"kind": "file", "format": "gsm8k", "paht": "a"}, "paht", "path"),
        ("questions", {"kind": "hub", "format": "gsm8k", "path": "a"}, "path", None),
        ("questions", {"kind": "hub", "format": "gsm8k", "fil": "a"}, "fil", "file"),
        ("questions", {"kind": "gsm-symbolic", "question": 3}, "question", "questions"),
        ("questions", {"kind": "gsm-symbolic", "facts": 3}, "facts", None),
        ("annotated", {"kind": "package", "format": "champ", "pakage": "a"}, "pakage", "package"),
        ("labels", {"kind": "file", "format": "prm800k", "file": "a"}, "file", None),
    ],
)
def test_an_unknown_key_is_compared_with_the_keys_of_its_own_kind(section, source, key, near, refusal):
    for item in ("tiny", "file", "hub", "published"):  # names that are also kinds
        told = refusal(json.dumps({section: {item: {"source": source}}}))
        expected = f"{section}.{item}.source: unknown key '{key}'" + (f"; did you mean '{near}'?" if near else "")
        assert [line.partition(": ")[2] for line in told if "unknown key" in line] == [expected]


@pytest.mark.parametrize(
    ("label_set", "key", "near"),
    [
        ({"source": {"kind": "file", "format": "prm800k", "path": "a"}, "completer": "weak"}, "completer", None),
        ({"source": {"kind": "file", "format": "prm800k", "path": "a"}, "cuonts": {}}, "cuonts", "counts"),
        ({"dataset": "a", "counts": {}}, "counts", None),
        ({"dataset": "a", "completr": "weak"}, "completr", "completer"),
    ],
)
def test_an_unknown_key_of_a_label_set_is_compared_with_its_kind(label_set, key, near, refusal):
    [told] = [line for line in refusal(json.dumps({"labels": {"tiny": label_set}})) if "unknown key" in line]
    assert told.endswith(f"labels.tiny: unknown key '{key}'" + (f"; did you mean '{near}'?" if near else ""))


@pytest.mark.parametrize(
    "content",
    [
        {"questions": {"tiny": {"source": {"kind": "file", "format": "x" * 50_000, "path": "a"}}}},
        {"questions": {"tiny": {"source": {"kind": "x" * 50_000}}}},
        {"questions": {"tiny": {"x" * 1000: 1}}},
        {"x" * 1000: 1},
        {"runs": ["x"] * 500},
        {"training": {"epochs": "x" * 50_000}},
    ],
    ids=["value", "kind", "key", "section", "list", "number"],
)
def test_long_values_are_shortened(content, refusal):
    told = refusal(json.dumps(content))
    assert max(map(len, told)) < 600 and any("xxx" in line or "'x', 'x'" in line for line in told)


def test_half_of_a_surrogate_pair_is_refused(refusal):
    for text in (r'questions: {tiny: {source: {path: "\ud800"}}}', r'"\udfff": 1'):
        assert refusal(f"\n{text}\n") == [r"line 2: half of a surrogate pair (\ud800 to \udfff) is no character"]


# ---------------------------------------------------------------- every fault at once

FAULTY = """\
rollouts:
  test: {samples: 0, temperature: warm, max_new_tokens: 8, questions_per_batch: 2, seed: -1}
  train: {samples: 8, temprature: 1.0, max_new_tokens: 8, questions_per_batch: 2, seed: 1}
labels:
  train: {dataset: a, policies: [], completer: weak, completions: 2, temperature: 1.0, max_new_tokens: 8, questions_per_batch: 5}
  again:
    source: {kind: fil, format: prm800k, path: a.jsonl}
  a b:
    source:
      kind: file
      format: prm80k
      path: a.jsonl
training:
  seeds: [0, zero]
  epochs: 1.0
  epochs: 2.0
  learning_rate: 0.001
  warmup_share: 1.5
  clip: 1.0
  batch_tokens: 64
  weighting: trajectory
  normalizer: factors
  checkpoint_every: 5
  validation: validation
runs:
  bce: {loss: bce, zeta: 4.0, labels: train, backbone: error-detecting}
  pqm: {loss: pqm, labels: train}
results:
  tables:
    main: bce
"""


def test_every_fault_is_reported_with_its_line_in_the_order_of_the_file(refusal):
    assert refusal(FAULTY) == [
        "line 2: rollouts.test.samples: Input should be greater than or equal to 1, found 0",
        "line 2: rollouts.test.seed: Input should be greater than or equal to 0, found -1",
        "line 2: rollouts.test.temperature: Input should be a valid number, found 'warm'",
        "line 3: rollouts.train: key 'temperature' is missing",
        "line 3: rollouts.train: unknown key 'temprature'; did you mean 'temperature'?",
        "line 5: labels.train.policies: Tuple should have at least 1 item after validation, not 0, found ()",
        "line 5: labels.train: key 'seed' is missing",
        "line 7: labels.again.source.kind: expected one of 'file', 'hub', found 'fil'; did you mean 'file'?",
        "line 8: labels.a b: expected a name of letters, digits, - and _, found 'a b'",
        "line 11: labels.a b.source.format: Input should be 'math-shepherd', 'prm800k' or 'stepwise', found 'prm80k'",
        "line 14: training.seeds.1: Input should be a valid integer, found 'zero'",
        "line 15: training: duplicate key 'epochs' on lines 15 and 16; expected it once",
        "line 18: training.warmup_share: Input should be less than or equal to 1, found 1.5",
        "line 22: training: unknown key 'normalizer'; it is now loss_settings.normalizer, in each run",
        "line 26: runs.bce: unknown key 'zeta'; it is now loss_settings.zeta",
        "line 27: runs.pqm: key 'backbone' is missing",
        "line 30: results.tables.main: Input should be a valid tuple, found 'bce'",
    ]


def test_the_same_fault_in_two_items_is_reported_twice(refusal):
    item = "{samples: 8, temperature: 1.0, max_new_tokens: 8, questions_per_batch: 2, sed: 1}"
    told = refusal(f"rollouts:\n  a: {item}\n  b: {item}\n")
    unknown, missing = "unknown key 'sed'; did you mean 'seed'?", "key 'seed' is missing"
    assert told == [f"line {line}: rollouts.{name}: {what}" for line, name in ((2, "a"), (3, "b")) for what in (missing, unknown)]


def test_a_doubled_section_is_reported(refusal):
    told = refusal("runs: {}\n# more\nruns:\n  bce: {loss: bce, labels: a, backbone: b}\n")
    assert told == ["line 1: duplicate key 'runs' on lines 1 and 3; expected it once"]


def test_a_doubled_item_is_reported_with_the_other_faults(refusal):
    run = "{loss: bce, labels: a, backbone: b}"
    told = refusal(f"runs:\n  bce: {run}\n  bce: {run}\n  soft: {run.replace('bce', 'bce, targets: sotf')}\n")
    assert told == [
        "line 2: runs: duplicate key 'bce' on lines 2 and 3; expected it once",
        "line 4: runs.soft.targets: Input should be 'hard' or 'soft', found 'sotf'",
    ]


@pytest.mark.parametrize(
    ("wrong", "near"), [("qestions", "questions"), ("run", "runs"), ("trainig", "training"), ("polices", "policies"), ("xyz", "")]
)
def test_an_unknown_section_is_reported_with_the_nearest_one(wrong, near, refusal):
    [told] = refusal(f"results: {{}}\n{wrong}: {{}}\n")
    assert told.endswith(f"unknown key {wrong!r}" + (f"; did you mean {near!r}?" if near else ""))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("results: {}\nqestions: {}\n", 2),
        ("resources:\n  train: {gpus: 1}\n  lables: {gpus: 1}\n", 3),
        ("resources:\n  train:\n    gpus: 1\n    minuts: 1\n", 4),
    ],
)
def test_an_unknown_key_is_reported_with_its_own_line(text, line, refusal):
    [told] = refusal(text)
    assert told.startswith(f"line {line}: ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("runs:\n  bce: {loss: bce\n  orm: {}\n", 3),
        ("runs:\n\tbce: {}\n", 2),
        ("runs: {}\nresults: a: b\n", 2),
        ("runs: {}\n---\nresults: {}\n", 2),
        ("runs: {}\nresults: *nothing\n", 2),
        ("runs: {}\nresults: !python/name:os.system {}\n", 2),
    ],
    ids=["open brace", "tab", "two colons", "two documents", "no anchor", "tag"],
)
def test_text_that_is_not_yaml_is_reported_with_its_line(text, line, refusal):
    [told] = refusal(text)
    assert told.startswith(f"line {line}: not YAML (") and told.endswith(")")


@pytest.mark.parametrize("value", ["2001-13-45", "!!int many"])
def test_a_value_that_yaml_refuses_is_reported(value, refusal):
    [told] = refusal(f"runs: {{}}\nresults: {{seed: {value}}}\n")
    assert told.startswith("line 2: ")


def test_a_frozen_study_is_refused_without_lines(tmp_path):
    path = tmp_path / "study.json"
    path.write_text('{"runs": {"bce": {"loss": "bce", "labels": "a"}}, "rns": {}}')
    with pytest.raises(PqmError) as refusal:
        load_study(path)
    assert sorted(str(refusal.value).splitlines()) == [
        f"{path}: runs.bce: key 'backbone' is missing",
        f"{path}: unknown key 'rns'; did you mean 'runs'?",
    ]
    path.write_text('{"runs": ')
    with pytest.raises(PqmError, match=r"study\.json: not JSON \(.*line 1"):
        load_study(path)


# ---------------------------------------------------------------- YAML 1.2


@pytest.mark.parametrize("text", ["5e-5", "5e-05", "5.0e-5", "0.00005", "5.0E-5"])
def test_numbers_as_people_and_dvc_write_them(text, write_study, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"runs: {{bce: {{loss: bce, labels: a, backbone: b, learning_rate: {text}}}}}")
    assert load_item(path, "runs", "bce", RunConfig).learning_rate == 5e-5


def test_a_large_number_and_whole_numbers_for_fractions(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("runs: {bce: {loss: bce, labels: a, backbone: b, learning_rate: 1e5}}")
    assert load_study(path).runs["bce"].learning_rate == 1e5
    path.write_text(
        "training: {epochs: 1, seeds: [0], learning_rate: 1, warmup_share: 0, clip: 1, batch_tokens: 1, weighting: step, checkpoint_every: 1, validation: a}"
    )
    assert load_study(path).training.epochs == 1.0


def test_yes_no_on_and_off_are_texts_and_true_is_not(tmp_path, refusal):
    path = tmp_path / "run.yaml"
    path.write_text("runs: {no: {loss: bce, labels: yes, backbone: off, policies: [on, y]}}")
    run = load_study(path).runs["no"]
    assert (run.labels, run.backbone, run.policies) == ("yes", "off", ("on", "y"))
    assert refusal("runs: {a: {loss: bce, labels: true, backbone: b}}") == [
        "line 1: runs.a.labels: Input should be a valid string, found True"
    ]


@pytest.mark.parametrize(("value", "shown"), [("'5e-5'", "'5e-5'"), ("true", "True"), (".nan", "nan"), ("null", None)])
def test_a_value_that_is_no_number_is_refused(value, shown, tmp_path, refusal):
    text = f"runs: {{a: {{loss: bce, labels: a, backbone: b, learning_rate: {value}}}}}"
    if shown is None:
        (tmp_path / "run.yaml").write_text(text)
        assert load_study(tmp_path / "run.yaml").runs["a"].learning_rate is None
    else:
        [told] = refusal(text)
        assert told.startswith("line 1: runs.a.learning_rate: ") and told.endswith(f", found {shown}")


@pytest.mark.parametrize("value", [".inf", ".nan", "-.inf"])
def test_a_number_that_cannot_be_frozen_is_refused(value, refusal):
    [told] = refusal(f"runs: {{a: {{loss: pqm, loss_settings: {{zeta: {value}}}, labels: a, backbone: b}}}}")
    assert told.startswith("line 1: runs.a.loss_settings.zeta: expected a finite number")


# ---------------------------------------------------------------- items and sections


def test_a_label_set_with_a_source_was_published(write_study):
    source = {"kind": "file", "format": "stepwise", "path": "a.jsonl"}
    made = {"dataset": "d", "policies": ["p"], "completer": "p", "completions": 1, "temperature": 1.0, "max_new_tokens": 4,
            "questions_per_batch": 3, "seed": 0}  # fmt: skip
    labels = load_study(write_study(labels={"published": {"source": source}, "made": made})).labels
    assert isinstance(labels["published"], PublishedLabelsConfig) and isinstance(labels["made"], LabelsConfig)


def test_missing_items_and_sections_are_reported(write_study):
    path = write_study(runs={"bce": {"loss": "bce", "labels": "a", "backbone": "b"}})
    assert load_item(path, "runs", "bce", RunConfig).loss == "bce"
    for name, words in (("bec", "did you mean 'bce'?"), ("other", "it has bce")):
        with pytest.raises(PqmError) as refusal:
            load_item(path, "runs", name, RunConfig)
        assert str(refusal.value) == f"{path}: runs has no {name!r}; {words}"
    with pytest.raises(PqmError) as refusal:
        load_section(path, "training", TrainingConfig)
    assert str(refusal.value) == f"{path}: section 'training' is missing; this command needs it"


def test_a_file_of_another_study_is_recognised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "tiny"):
        write_yaml(Path("config", name, "study.yaml"), {})
    mine = [
        "results/demo/tables/main.csv",
        "data/demo/questions",
        "config/tiny/study.yaml",
        "results/gone/tables/main.csv",
        "all",
    ]
    assert other_study(mine, "demo") is None
    assert other_study(["results/tables", "data/tiny", "--cores"], "demo") is None  # targets of every study
    assert other_study([*mine, "results/tiny/tables/main.csv"], "demo") == "results/tiny/tables/main.csv"
    assert other_study(["data/tiny/questions/test.parquet", "results/tiny/tables/main.csv"], "demo").startswith("data/")
    assert other_study(mine, "tiny") == mine[0]
