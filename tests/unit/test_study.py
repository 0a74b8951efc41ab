"""Study files: all that is wrong with one is said at once; what is frozen of it, what is generated from it, and its verbs."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from small import read_yaml, write_yaml

from pqm.config import LabelsConfig, PublishedLabelsConfig, RunConfig, TrainingConfig
from pqm.dvc_stages import dvc_text
from pqm.errors import PqmError
from pqm.provenance.records import settings_digest
from pqm.study import Fault, frozen_file, frozen_text, killed_build, load_item, load_section, load_study, other_study, study_name
from pqm.study_check import faults, missing_files, unfit_snapshots
from pqm.study_files import reference_text, schema_text

ROOT = Path(__file__).parents[2]
STUDIES = sorted([*ROOT.glob("config/*/study.yaml"), ROOT / "tests/tiny-gpu/study.yaml"])
NUMBERS = count()  # files that hypothesis writes

studies = pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[str], list[str]]:
    """What is said of a study of this text, line by line, without the name of the file."""

    def said(text: str) -> list[str]:
        path = tmp_path / f"study-{next(NUMBERS)}.yaml"
        path.write_text(text)
        with pytest.raises(PqmError) as error:
            load_study(path)
        lines = str(error.value).splitlines()
        assert all(line.startswith(f"{path}: ") for line in lines)
        return [line.removeprefix(f"{path}: ") for line in lines]

    return said


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
  bce: {loss: bce, zeta: 4.0, labels: train, backbone: proofreader}
  pqm: {loss: pqm, labels: train}
results:
  tables:
    main: bce
"""


def test_every_fault_is_told_with_its_line_in_the_order_of_the_file(refusal):
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
        "line 15: training: key 'epochs' stands on line 15 and on line 16; expected it once",
        "line 18: training.warmup_share: Input should be less than or equal to 1, found 1.5",
        "line 26: runs.bce: loss bce has no margin; remove zeta",
        "line 27: runs.pqm: key 'backbone' is missing",
        "line 30: results.tables.main: Input should be a valid tuple, found 'bce'",
    ]


def test_of_the_same_fault_in_two_items_both_are_told(refusal):
    item = "{samples: 8, temperature: 1.0, max_new_tokens: 8, questions_per_batch: 2, sed: 1}"
    told = refusal(f"rollouts:\n  a: {item}\n  b: {item}\n")
    unknown, missing = "unknown key 'sed'; did you mean 'seed'?", "key 'seed' is missing"
    assert told == [f"line {line}: rollouts.{name}: {what}" for line, name in ((2, "a"), (3, "b")) for what in (missing, unknown)]


def test_a_section_that_is_there_twice_is_told(refusal):
    told = refusal("runs: {}\n# more\nruns:\n  bce: {loss: bce, labels: a, backbone: b}\n")
    assert told == ["line 1: key 'runs' stands on line 1 and on line 3; expected it once"]


def test_an_item_that_is_there_twice_is_told_with_the_other_faults(refusal):
    run = "{loss: bce, labels: a, backbone: b}"
    told = refusal(f"runs:\n  bce: {run}\n  bce: {run}\n  orm: {run.replace('bce', 'orn')}\n")
    assert told == [
        "line 2: runs: key 'bce' stands on line 2 and on line 3; expected it once",
        "line 4: runs.orm.loss: Input should be 'pqm', 'theorem', 'first-error', 'bce', 'mse' or 'orm', found 'orn'",
    ]


@pytest.mark.parametrize(
    ("wrong", "near"), [("qestions", "questions"), ("run", "runs"), ("trainig", "training"), ("polices", "policies"), ("xyz", "")]
)
def test_an_unknown_section_is_told_with_the_nearest_one(wrong, near, refusal):
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
def test_an_unknown_key_is_told_with_its_own_line(text, line, refusal):
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
def test_what_is_not_yaml_is_told_with_its_line(text, line, refusal):
    [told] = refusal(text)
    assert told.startswith(f"line {line}: not YAML (") and told.endswith(")")


@pytest.mark.parametrize("value", ["2001-13-45", "!!int many"])
def test_a_value_that_yaml_refuses_is_told(value, refusal):
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
    path.write_text("runs: {pqm: {loss: pqm, zeta: 4, labels: a, backbone: b}}")
    assert load_study(path).runs["pqm"].zeta == 4.0


def test_yes_no_on_and_off_are_texts_and_true_is_not(tmp_path, refusal):
    path = tmp_path / "run.yaml"
    path.write_text("runs: {no: {loss: bce, labels: yes, backbone: off, policies: [on, y]}}")
    run = load_study(path).runs["no"]
    assert (run.labels, run.backbone, run.policies) == ("yes", "off", ("on", "y"))
    assert refusal("runs: {a: {loss: bce, labels: true, backbone: b}}") == [
        "line 1: runs.a.labels: Input should be a valid string, found True"
    ]


@pytest.mark.parametrize(("value", "shown"), [("'5e-5'", "'5e-5'"), ("true", "True"), (".nan", "nan"), ("null", None)])
def test_what_is_no_number_is_refused(value, shown, tmp_path, refusal):
    text = f"runs: {{a: {{loss: bce, labels: a, backbone: b, learning_rate: {value}}}}}"
    if shown is None:
        (tmp_path / "run.yaml").write_text(text)
        assert load_study(tmp_path / "run.yaml").runs["a"].learning_rate is None
    else:
        [told] = refusal(text)
        assert told.startswith("line 1: runs.a.learning_rate: ") and told.endswith(f", found {shown}")


# ---------------------------------------------------------------- items and sections


def test_a_label_set_with_a_source_was_published(write_study):
    source = {"kind": "file", "format": "stepwise", "path": "a.jsonl"}
    made = {"dataset": "d", "policies": ["p"], "completer": "p", "completions": 1, "temperature": 1.0, "max_new_tokens": 4,
            "questions_per_batch": 3, "seed": 0}  # fmt: skip
    labels = load_study(write_study(labels={"published": {"source": source}, "made": made})).labels
    assert isinstance(labels["published"], PublishedLabelsConfig) and isinstance(labels["made"], LabelsConfig)


def test_items_and_sections_that_are_not_there_are_told(write_study):
    path = write_study(runs={"bce": {"loss": "bce", "labels": "a", "backbone": "b"}})
    assert load_item(path, "runs", "bce", RunConfig).loss == "bce"
    for name, words in (("bec", "did you mean 'bce'?"), ("other", "it has bce")):
        with pytest.raises(PqmError) as refusal:
            load_item(path, "runs", name, RunConfig)
        assert str(refusal.value) == f"{path}: runs has no {name!r}; {words}"
    with pytest.raises(PqmError) as refusal:
        load_section(path, "training", TrainingConfig)
    assert str(refusal.value) == f"{path}: section 'training' is missing, which this needs"


def test_the_other_study_whose_file_is_named(tmp_path, monkeypatch):
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


# ---------------------------------------------------------------- frozen studies


@studies
def test_what_is_frozen_of_a_study_is_the_study(path, tmp_path):
    study = load_study(path)
    frozen = tmp_path / "study.json"
    frozen.write_text(frozen_text(study))
    assert load_study(frozen) == study
    assert frozen_text(load_study(frozen)) == frozen_text(study)


@pytest.mark.parametrize("value", [".inf", ".nan", "-.inf"])
def test_a_number_that_cannot_be_frozen_is_refused(value, refusal):
    [told] = refusal(f"runs: {{a: {{loss: pqm, zeta: {value}, labels: a, backbone: b}}}}")
    assert told.startswith("line 1: runs.a.zeta: Input should be ")


FREEZE = """
import sys
from pathlib import Path
from pqm.study import freeze, load_study
freeze(load_study(Path(sys.argv[1])), "tiny")
print("frozen", flush=True)
sys.stdin.read()
"""


def freezing(path: Path) -> subprocess.Popen[str]:
    """A build, as far as freezing goes: it ends when its input does."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", FREEZE, str(path)], **pipes, text=True)


def test_freezing_writes_every_default_and_leaves_what_is_the_same_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, other, path = ROOT / "config/tiny/study.yaml", tmp_path / "other.yaml", frozen_file("tiny")
    assert freezing(source).communicate() == ("frozen\n", "")
    assert path == Path(".work/tiny/study.json") and study_name(path) == "tiny"
    assert path.read_text() == frozen_text(load_study(source))
    assert json.loads(path.read_text())["training"]["accumulation"] == 1
    os.utime(path, (1, 1))
    assert freezing(source).communicate() == ("frozen\n", "")
    assert path.stat().st_mtime == 1
    write_yaml(other, read_yaml(source) | {"results": {}})
    assert freezing(other).communicate() == ("frozen\n", "")
    assert json.loads(path.read_text())["results"]["tables"] == {}
    assert {one.name for one in path.parent.iterdir()} == {"lock", "study.json"}


def test_a_second_build_of_a_study_waits_for_the_first_and_a_killed_one_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = ROOT / "config/tiny/study.yaml"
    assert not killed_build()
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.input.lock").touch()
    with freezing(source) as first:
        assert first.stdout.readline() == "frozen\n"
        second = freezing(source)
        _, said = second.communicate()
        assert second.returncode == 1
        assert said.endswith("PqmError: a build of study tiny is running; wait for it, or stop it\n")
        assert not killed_build()
        first.kill()
    assert killed_build()
    assert freezing(source).communicate() == ("frozen\n", "")
    Path(".snakemake/locks/0.input.lock").unlink()
    assert not killed_build()


# What the rules ask for, and everything down to single settings of items.
WITHOUT = [
    "runs.bce,-policies,-seeds",
    "training,-seeds,-checkpoint_every",
    "runs.pqm-zeta4,-labels",
    "evaluation,-policies,-benchmarks,-n",
]


def places(content: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every place of a frozen study below which nothing is."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from places(value, (*place, key))
    else:
        yield place


DEMO = json.loads(frozen_text(load_study(ROOT / "config/demo/study.yaml")))
LEAVES = list(places(DEMO))
SELECTORS = sorted({".".join(place[:depth]) for place in LEAVES for depth in range(1, len(place) + 1)}) + WITHOUT


def digests(study: dict[str, Any]) -> dict[str, str | None]:
    return {name: settings_digest(study, name) for name in SELECTORS}


def selects(selector: str, place: tuple[str, ...]) -> bool:
    """Whether a selector contains a place."""
    keys, *left_out = selector.split(",-")
    parts = tuple(keys.split("."))
    below = place[len(parts) :]
    return place[: len(parts)] == parts and not (below and below[0] in left_out)


values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)


@given(place=st.sampled_from(LEAVES), value=values | st.lists(values, max_size=3))
@hypothesis_settings(max_examples=200, deadline=None)
def test_a_change_of_one_value_changes_the_digests_of_what_contains_it_and_no_other(place, value):
    before = digests(DEMO)
    assert None not in before.values()
    changed = json.loads(json.dumps(DEMO))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    same = json.dumps(inner[place[-1]]) == json.dumps(value)
    inner[place[-1]] = value
    after = digests(changed)
    assert {name for name in SELECTORS if after[name] != before[name]} == {
        name for name in SELECTORS if not same and selects(name, place)
    }


def yaml_text(content: Any, random: random.Random, flow: float, pad: str = "") -> str:
    """A value as YAML: blocks with comments, or, by chance, in flow style."""
    if isinstance(content, float):
        return " " + random.choice([repr(content), f"{content:.16e}", f"{content:.20f}"])
    if not isinstance(content, dict | list) or not content or random.random() < flow:
        return " " + json.dumps(content)  # JSON is YAML
    keys = random.sample(sorted(content), len(content)) if isinstance(content, dict) else range(len(content))
    lines = []
    for key in keys:
        if random.random() < 0.2:
            lines.append(f"{pad}# a comment: {{{random.random()}")
        head = f"{pad}{json.dumps(key)}:" if isinstance(content, dict) else f"{pad}-"
        lines.append(head + yaml_text(content[key], random, flow, pad + "  ") + random.choice(["", "  # note"]))
    return "\n" + "\n".join(lines)


@given(seed=st.integers(0, 2**32), flow=st.sampled_from([0.0, 0.1, 0.5]))
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_comments_order_and_style_change_no_digest(seed, flow, tmp_path):
    path = tmp_path / f"study-{next(NUMBERS)}.yaml"
    path.write_text(yaml_text(read_yaml(ROOT / "config/demo/study.yaml"), random.Random(seed), flow).lstrip() + "\n")
    assert digests(json.loads(frozen_text(load_study(path)))) == digests(DEMO)


def test_a_part_that_the_study_does_not_have_has_no_digest():
    for name in ("solution", "runs.nothing", "runs.bce.loss.more", "runs.nothing,-seeds", ""):
        assert settings_digest(DEMO, name) is None
    assert settings_digest(DEMO, "assumptions") is not None  # a section that is empty: null


# ---------------------------------------------------------------- what no build could be made of


def base() -> dict[str, Any]:
    """The tiny study with published solutions and with marked ones, by whom a table is made."""
    content = read_yaml(ROOT / "config/tiny/study.yaml")
    published = {"kind": "file", "format": "gsm8k", "path": "gsm8k/example_model_solutions.jsonl"}
    content["solutions"] = {"gsm8k": {"source": published, "dataset": "test", "models": ["a", "b"]}}
    content["annotated"] = {"marked": {"source": {"kind": "file", "format": "processbench", "path": "marked.json"}}}
    content["evaluation"]["annotated"] = ["marked"]
    content["results"]["tables"] |= {"annotated_errors": ["bce"], "published_solutions": [], "published_disagreements": []}
    return content


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The base with these values at these places; DELETE removes a key."""
    content = base()
    for place, value in changes.items():
        *outer, key = place.split(".")
        inner = content
        for part in outer:
            inner = inner[part]
        if value is DELETE:
            del inner[key]
        else:
            inner[key] = value
    return content


DELETE = object()
PUBLISHED_LABELS = {"source": {"kind": "file", "format": "stepwise", "path": "a.jsonl"}}
HUB = {"hub": {"repo": "a/b", "revision": "0" * 40}, "format": {}}
BCE = {"loss": "bce", "labels": "train", "backbone": "proofreader"}
AUDITED = "the audit set labels every step of the judged policies' rollouts on audit"

# What is changed, and what is said of it: place and fault.
FAULTS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "seed questions": (
        {"questions.perturbed.source.of": "tset"},
        [("questions.perturbed", "questions has no 'tset'; did you mean 'test'?")],
    ),
    "disjoint set": (
        {"questions.train.disjoint_from": ["test", "xyz"]},
        [("questions.train", "questions has no 'xyz'; it has audit, perturbed, test, train, validation")],
    ),
    "disjoint from itself": (
        {"questions.test.disjoint_from": ["test"]},
        [("questions.test", "is made from or disjoint from itself")],
    ),
    "excluded questions": (
        {"pretraining.language-model.excluded": ["audits", "test"]},
        [("pretraining.language-model.excluded", "questions has no 'audits'; did you mean 'audit'?")],
    ),
    "validation questions": (
        {"pretraining.proofreader.validation": "validaton"},
        [("pretraining.proofreader.validation", "questions has no 'validaton'; did you mean 'validation'?")],
    ),
    "start": (
        {"pretraining.proofreader.start": "languagemodel"},
        [("pretraining.proofreader.start", "pretraining has no 'languagemodel'; did you mean 'language-model'?")],
    ),
    "start from itself": (
        {"pretraining.proofreader.start": "proofreader"},
        [("pretraining.proofreader.start", "starts from itself")],
    ),
    "picked policy": (
        {"policies.weak.pick.pretraining": "model"},
        [("policies.weak.pick", "pretraining has no 'model'; it has language-model, proofreader")],
    ),
    "picked backbone": (
        {"backbones.proofreader.pick.pretraining": "profreader"},
        [("backbones.proofreader.pick", "pretraining has no 'profreader'; did you mean 'proofreader'?")],
    ),
    "rollouts of no questions": (
        {"rollouts.held-out": base()["rollouts"]["test"]},
        [("rollouts.held-out", "questions has no 'held-out'; it has audit, perturbed, test, train, validation")],
    ),
    "solutions of no questions": (
        {"solutions.gsm8k.dataset": "gsm8k"},
        [("solutions.gsm8k.dataset", "questions has no 'gsm8k'; it has audit, perturbed, test, train, validation")],
    ),
    "labelled rollouts": (
        {"labels.train.dataset": "trian"},
        [("labels.train.dataset", "rollouts has no 'trian'; did you mean 'train'?")],
    ),
    "completer": (
        {"labels.train.completer": "finale"},
        [("labels.train.completer", "policies has no 'finale'; did you mean 'final'?")],
    ),
    "labelled policies": (
        {"labels.train.policies": ["weak", "week", "x"]},
        [
            ("labels.train.policies", "policies has no 'week'; did you mean 'weak'?"),
            ("labels.train.policies", "policies has no 'x'; it has final, weak"),
        ],
    ),
    "labelled policy that samples nothing": (
        {"evaluation.policies": ["weak"], "labels.audit.policies": ["weak"], "labels.validation.policies": ["weak"]},
        [("labels.train.policies", "policy 'final' samples nothing; name it in evaluation.policies")],
    ),
    "no training": ({"training": DELETE}, [("", "section 'training' is missing, which runs need")]),
    "validation labels": (
        {"training.validation": "validate"},
        [("training.validation", "labels has no 'validate'; did you mean 'validation'?")],
    ),
    "accelerate's file": (
        {"training.accelerate": "config/accelerate/two-gpus.yaml"},
        [("training.accelerate", "config/accelerate/two-gpus.yaml does not exist")],
    ),
    "processes": (
        {"training.accelerate": "config/accelerate/cpu.yaml", "resources": {"train": {"gpus": 4}}},
        [
            (
                "training.accelerate",
                "config/accelerate/cpu.yaml: num_processes is 2, resources.train asks 4 GPUs; expected the same",
            )
        ],
    ),
    "reserved run": ({"runs.references": BCE}, [("runs.references", "'references' is reserved; rename the run")]),
    "labels of a run": (
        {"runs.bce.labels": "tran"},
        [("runs.bce.labels", "labels has no 'tran'; did you mean 'train'?")],
    ),
    "backbone of a run": (
        {"runs.bce.backbone": "x"},
        [("runs.bce.backbone", "backbones has no 'x'; it has proofreader")],
    ),
    "policies of a run": (
        {"runs.bce.policies": ["weak", "fnal"]},
        [("runs.bce.policies", "evaluation.policies has no 'fnal'; did you mean 'final'?")],
    ),
    "judged policies": (
        {"evaluation.policies": ["weak", "final", "strong"]},
        [("evaluation.policies", "policies has no 'strong'; it has final, weak")],
    ),
    "benchmarks": (
        {"evaluation.benchmarks": ["test", "perturbd"]},
        [("evaluation.benchmarks", "rollouts has no 'perturbd'; did you mean 'perturbed'?")],
    ),
    "validation set": (
        {"evaluation.validation": "valid", "results.tables": {"main": ["bce"]}, "results.figures": {}},
        [("evaluation.validation", "rollouts has no 'valid'; did you mean 'validation'?")],
    ),
    "audit set": (
        {"evaluation.audit": "odit"},
        [
            ("evaluation.audit", "rollouts has no 'odit'; did you mean 'audit'?"),
            ("evaluation.audit", "labels has no 'odit'; did you mean 'audit'?"),
        ],
    ),
    "annotated solutions": (
        {"evaluation.annotated": ["marked", "champ"]},
        [("evaluation.annotated", "annotated has no 'champ'; it has marked")],
    ),
    "reference backbone": (
        {"evaluation.reference_backbone": "proof-reader"},
        [("evaluation.reference_backbone", "backbones has no 'proof-reader'; did you mean 'proofreader'?")],
    ),
    "n above samples": (
        {"evaluation.n": [1, 16], "rollouts.test.samples": 20},
        [("evaluation.n", "n = 16 is more than the 8 samples of rollouts.perturbed; sample more or take a smaller n")],
    ),
    "backbone without a mark": (
        {"backbones.elsewhere": HUB, "evaluation.reference_backbone": "elsewhere"},
        [("evaluation.references", "backbone 'elsewhere' comes from elsewhere and has no mark; leave proofreader out")],
    ),
    "audit without labels": (
        {"evaluation.audit": "test"},
        [("evaluation.audit", "labels has no 'test'; it has audit, train, validation")],
    ),
    "audit with published labels": (
        {"labels.audit": PUBLISHED_LABELS},
        [("labels.audit", "the audit set has Monte Carlo labels; expected no source")],
    ),
    "audit of another set": ({"labels.audit.dataset": "train"}, [("labels.audit", AUDITED)]),
    "audit that stops early": ({"labels.audit.early_stop": True}, [("labels.audit", AUDITED)]),
    "audit by halving": ({"labels.audit.search": "binary"}, [("labels.audit", AUDITED)]),
    "audit of a policy that is not judged": (
        {"evaluation.policies": ["weak"], "labels.train.policies": ["weak"], "labels.validation.policies": ["weak"]},
        [
            ("labels.audit.policies", "policy 'final' samples nothing; name it in evaluation.policies"),
            ("labels.audit", AUDITED),
        ],
    ),
    "unknown table": ({"results.tables.mian": []}, [("results.tables.mian", "no table 'mian'; did you mean 'main'?")]),
    "unknown figure": (
        {"results.figures.vote": []},
        [("results.figures.vote", "no figure 'vote'; did you mean 'votes'?")],
    ),
    "table as a figure": (
        {"results.figures.cost": []},
        [
            (
                "results.figures.cost",
                "no figure 'cost'; it has best_of_n, margin, votes, framework, assumption, q_values, label_audit, separation, "
                "calibration, compute, theory",
            )
        ],
    ),
    "run of a table": (
        {"results.tables.main": ["bce", "pqm-zeta"]},
        [("results.tables.main", "runs has no 'pqm-zeta'; did you mean 'pqm-zeta4'?")],
    ),
    "run of a figure": (
        {"results.figures.separation": ["bec"]},
        [("results.figures.separation", "runs has no 'bec'; did you mean 'bce'?")],
    ),
    "run of the report": (
        {"results.report": ["bce", "references"]},
        [("results.report", "runs has no 'references'; it has bce, pqm-zeta4")],
    ),
    "table about no run": (
        {"results.tables.differences": []},
        [("results.tables.differences", "is about runs; name at least one")],
    ),
    "figure about no run": (
        {"results.figures.separation": []},
        [("results.figures.separation", "is about runs; name at least one")],
    ),
    "table that a table is made from": (
        {"results.tables": {"paper_comparison": []}, "results.figures": {}},
        [("results.tables.paper_comparison", "is drawn from table main, which is not listed")],
    ),
    "tables that figures are drawn from": (
        {"results.tables": {}, "results.figures": {"best_of_n": [], "margin": [], "votes": []}},
        [
            ("results.figures.best_of_n", "is drawn from table main, which is not listed"),
            ("results.figures.margin", "is drawn from table margin_ablation, which is not listed"),
            ("results.figures.votes", "is drawn from table self_consistency, which is not listed"),
        ],
    ),
    "no solutions": (
        {"solutions": {}},
        [
            ("results.tables.published_solutions", "needs section 'solutions'"),
            ("results.tables.published_disagreements", "needs section 'solutions'"),
        ],
    ),
    "no audit set": (
        {"evaluation.audit": DELETE, "results.figures": {"label_audit": [], "assumption": [], "theory": []}},
        [
            ("results.figures.label_audit", "needs audit; name it in evaluation"),
            ("results.figures.assumption", "needs audit; name it in evaluation"),
        ],
    ),
    "no validation set": (
        {"evaluation.validation": DELETE, "results.tables": {"first_error": ["bce"]}, "results.figures": {}},
        [("results.tables.first_error", "needs validation; name it in evaluation")],
    ),
    "no annotated solutions": (
        {"evaluation.annotated": DELETE},
        [("results.tables.annotated_errors", "needs annotated; name it in evaluation")],
    ),
    "no labels of the validation set": (
        {"labels.validation": DELETE, "training.validation": "train"},
        [("results.tables.annotated_errors", "labels has no 'validation'; it has audit, train")],
    ),
    "no evaluation": (
        {"evaluation": DELETE, "results.tables": {"main": ["bce"], "grader_disagreement": []}, "results.figures": {"theory": []}},
        [
            ("", "section 'evaluation' is missing, which runs need"),
            ("results.tables.main", "needs section 'evaluation'"),
            ("results.tables.grader_disagreement", "needs section 'evaluation'"),
        ],
    ),
}


@pytest.fixture
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def found(study: list[Fault]) -> list[tuple[str, str]]:
    return [(".".join(map(str, fault.place)), fault.what) for fault in study]


def test_nothing_is_wrong_with_what_the_faults_are_put_into(write_study, in_root):
    assert faults(load_study(write_study(**base()))) == []


@pytest.mark.parametrize(("changes", "expected"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_found(changes, expected, write_study, in_root):
    assert found(faults(load_study(write_study(**changed(changes))))) == expected


def test_several_faults_are_found_at_once(write_study, in_root):
    chosen = [
        FAULTS[name] for name in ("seed questions", "start", "completer", "backbone of a run", "unknown table", "no solutions")
    ]
    content = changed({place: value for changes, _ in chosen for place, value in changes.items()})
    assert sorted(found(faults(load_study(write_study(**content))))) == sorted(one for _, expected in chosen for one in expected)


def test_one_process_for_each_gpu_is_no_fault(write_study, in_root):
    for gpus in (0, 2):
        changes = {"training.accelerate": "config/accelerate/cpu.yaml", "resources": {"train": {"gpus": gpus}}}
        assert faults(load_study(write_study(**changed(changes)))) == []


def test_a_reference_from_elsewhere_without_its_mark_is_no_fault(write_study, in_root):
    changes = {"backbones.elsewhere": HUB, "evaluation.reference_backbone": "elsewhere", "evaluation.references": ["likelihood"]}
    assert faults(load_study(write_study(**changed(changes)))) == []


def test_a_study_of_published_data_needs_neither_runs_nor_training(write_study):
    source = {"kind": "file", "format": "gsm8k", "path": "gsm8k/test.jsonl"}
    solutions = {"source": source, "dataset": "gsm8k", "models": ["a"]}
    tables = {"published_solutions": [], "published_disagreements": []}
    path = write_study(questions={"gsm8k": {"source": source}}, solutions={"gsm8k": solutions}, results={"tables": tables})
    assert faults(load_study(path)) == []
    assert faults(load_study(write_study())) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"questions.test.disjoint_from": ["perturbed"]},
        {"pretraining.language-model.start": "proofreader", "pretraining.language-model.architecture": DELETE},
    ],
    ids=["questions", "pretraining"],
)
def test_items_that_are_made_from_each_other_are_found(changes, write_study):
    assert faults(load_study(write_study(**changed(changes)))) != []


# ---------------------------------------------------------------- what lies on the disk


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The study of published data in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return load_study(ROOT / "config/published/study.yaml")


def test_missing_published_files_are_told_with_the_place_to_get_them(published):
    expected = [
        ("questions.gsm-plus.source", "gsm-plus/testmini.jsonl", "huggingface.co/datasets/qintongli/GSM-Plus"),
        ("questions.gsm8k.source", "gsm8k/test.jsonl", "github.com/openai/grade-school-math (grade_school_math/data)"),
        ("questions.math500.source", "math500/test.jsonl", "huggingface.co/datasets/HuggingFaceH4/MATH-500"),
        (
            "solutions.gsm8k.source",
            "gsm8k/example_model_solutions.jsonl",
            "github.com/openai/grade-school-math (grade_school_math/data)",
        ),
    ]
    told = [(place, f"data/published/{file} is missing; get it from {source}") for place, file, source in expected]
    assert found(missing_files(published)) == told
    for _, file, _ in expected:
        Path("data/published", file).parent.mkdir(parents=True, exist_ok=True)
        Path("data/published", file).touch()
    assert missing_files(published) == []


def test_files_of_users_own_and_packages_that_are_missing(tmp_path, write_study):
    package = {"kind": "package", "package": "no_such_package", "file": "a.json", "format": "champ"}
    gguf = {"gguf": {"package": "no_other_package", "file": "a.gguf"}, "format": {}}
    own = {"kind": "file", "format": "stepwise", "path": str(tmp_path / "own.jsonl")}
    study = load_study(
        write_study(
            annotated={"champ": {"source": package}, "there": {"source": package | {"package": "pqm"}}},
            labels={"own": {"source": own}},
            policies={"small": gguf},
            backbones={"small": gguf, "picked": {"pick": {"pretraining": "p", "metric": "step_auc"}}},
        )
    )
    assert found(missing_files(study)) == [
        ("annotated.champ.source", "package no_such_package is not installed"),
        ("labels.own.source", f"{tmp_path / 'own.jsonl'} is missing; get it from whoever made it; the path stands in the study"),
        ("policies.small.gguf", "package no_other_package is not installed"),
        ("backbones.small.gguf", "package no_other_package is not installed"),
    ]


def pick(metric: str, at_least: float | None = None, pretraining: str = "model") -> dict[str, Any]:
    return {"pick": {"pretraining": pretraining, "metric": metric} | ({} if at_least is None else {"at_least": at_least})}


def test_bands_that_no_snapshot_reached_and_policies_that_picked_the_same(tmp_path, write_study):
    snapshots = tmp_path / "data/pretraining/model/snapshots.csv"
    snapshots.parent.mkdir(parents=True)
    snapshots.write_text("snapshot,pass_at_1,step_auc\na,0.25,\nb,0.5,\nc,0.75,0.9\n")
    study = load_study(
        write_study(
            policies={
                "first": pick("pass_at_1", 0.1),
                "again": pick("pass_at_1", 0.25),
                "second": pick("pass_at_1", 0.3),
                "never": pick("pass_at_1", 0.8),
                "last": pick("pass_at_1"),
                "not-yet": pick("pass_at_1", 0.9, "other"),
                "elsewhere": HUB,
            },
            backbones={"last": pick("step_auc"), "same": pick("pass_at_1", 0.7)},
        )
    )
    folder = tmp_path / "data/pretraining/model"
    assert found(unfit_snapshots(study, tmp_path / "data")) == [
        ("policies.again.pick", f"picks {folder / 'a'}, as policies.first does"),
        ("policies.never.pick", f"{folder}: no snapshot reaches pass_at_1 0.8; the best has 0.750"),
        ("backbones.same.pick", f"picks {folder / 'c'}, as backbones.last does"),
    ]
    assert unfit_snapshots(study, tmp_path / "nowhere") == []


# ---------------------------------------------------------------- pqm study


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the tiny study alone."""
    monkeypatch.chdir(tmp_path)
    Path("config/tiny").mkdir(parents=True)
    shutil.copy(ROOT / "config/tiny/study.yaml", "config/tiny/study.yaml")


def test_a_new_study_is_a_copy_with_stages_of_its_own(project, run_pqm):
    code, said, error = run_pqm("study", "new", "mine-2")
    assert (code, said, error) == (0, "config/mine-2/study.yaml: edit it, then: pqm study check mine-2\n", "")
    assert Path("config/mine-2/study.yaml").read_bytes() == Path("config/tiny/study.yaml").read_bytes()
    stages = Path("config/mine-2/dvc.yaml").read_text()
    assert stages == dvc_text(load_study(Path("config/mine-2/study.yaml")), "mine-2")
    assert "data/mine-2/questions" in stages and "tiny" not in stages
    assert run_pqm("study", "check", "mine-2") == (0, "study mine-2: nothing is wrong\n", "")
    assert run_pqm("study", "new", "third", "--from", "mine-2")[0] == 0
    assert sorted(path.name for path in Path("config").iterdir()) == ["mine-2", "third", "tiny"]


@pytest.mark.parametrize("name", ["a b", "../mine", "a/b", ".hidden", "", "a.b", "tables", "figures", "accelerate"])
def test_what_cannot_name_a_study_is_refused(name, project, run_cli):
    code, told = run_cli("study", "new", "--", name)
    assert code == 1
    assert told == (
        f"pqm: {name!r} cannot name a study; expected letters, digits, - and _, and none of accelerate, figures, tables\n"
    )
    assert [path.name for path in Path("config").iterdir()] == ["tiny"]


def test_a_study_that_is_there_is_not_written_over(project, run_cli):
    Path("config/mine").mkdir()
    Path("config/mine/study.yaml").write_text("runs: {}\n")
    assert run_cli("study", "new", "mine") == (1, "pqm: config/mine/study.yaml: exists already\n")
    assert Path("config/mine/study.yaml").read_text() == "runs: {}\n" and not Path("config/mine/dvc.yaml").exists()


@pytest.mark.parametrize("verb", [("new", "mine", "--from", "demo"), ("check", "demo"), ("dvc", "demo")])
def test_a_study_that_is_not_there_is_told_with_those_that_are(verb, project, run_cli):
    assert run_cli("study", *verb) == (1, "pqm: config/demo/study.yaml: no such study; there are tiny\n")
    assert [path.name for path in Path("config").iterdir()] == ["tiny"]
    shutil.rmtree("config/tiny")
    assert run_cli("study", *verb) == (1, "pqm: config/demo/study.yaml: no such study; there are none\n")


def test_check_tells_every_kind_of_fault_with_its_line(project, run_cli):
    run_cli("study", "new", "mine")
    content = base()
    content["runs"]["bce"]["labels"] = "tran"
    content["annotated"]["marked"]["source"]["path"] = "nowhere.json"
    snapshots = Path("data/mine/pretraining/language-model/snapshots.csv")
    snapshots.parent.mkdir(parents=True)
    snapshots.write_text("snapshot,pass_at_1\na,0.25\n")
    path = Path("config/mine/study.yaml")
    write_yaml(path, content)
    lines = path.read_text().splitlines()
    code, told = run_cli("study", "check", "mine")
    assert code == 1
    first, *said = told.removeprefix("pqm: ").splitlines()
    assert first == f"{path}: config/mine/dvc.yaml is not up to date; run `pqm study dvc mine`"
    expected = {
        "runs.bce.labels: labels has no 'tran'; did you mean 'train'?": "labels: tran",
        "annotated.marked.source: data/published/nowhere.json is missing; "
        "get it from huggingface.co/datasets/Qwen/ProcessBench": "source:",
        "solutions.gsm8k.source: data/published/gsm8k/example_model_solutions.jsonl is missing; "
        "get it from github.com/openai/grade-school-math (grade_school_math/data)": "source:",
        "policies.weak.pick: picks data/mine/pretraining/language-model/a, as policies.final does": "pick:",
    }
    numbers = []
    for line in said:
        _, number, what = line.split(": ", 2)
        numbers.append(int(number.removeprefix("line ")))
        assert lines[numbers[-1] - 1].strip().startswith(expected.pop(what))
    assert expected == {} and numbers == sorted(numbers)


def test_check_of_a_study_that_does_not_load_tells_that(project, run_cli):
    Path("config/tiny/study.yaml").write_text("runs:\n  a: {loss: bce}\n")
    assert run_cli("study", "check", "tiny") == (
        1,
        "pqm: config/tiny/study.yaml: line 2: runs.a: key 'backbone' is missing\n"
        "config/tiny/study.yaml: line 2: runs.a: key 'labels' is missing\n",
    )


def test_dvc_stages_are_written_and_then_up_to_date(project, run_pqm):
    code, _, error = run_pqm("study", "check", "tiny")
    assert code == 1 and error.endswith("config/tiny/dvc.yaml is not up to date; run `pqm study dvc tiny`\n")
    assert run_pqm("study", "dvc", "tiny") == (0, "config/tiny/dvc.yaml\n", "")
    assert run_pqm("study", "check", "tiny")[0] == 0


def test_the_schema_and_the_reference_are_written(project, run_pqm):
    Path("docs").mkdir()
    assert run_pqm("study", "schema") == (0, "config/study.schema.json\ndocs/settings.md\n", "")
    assert Path("config/study.schema.json").read_text() == schema_text()
    assert Path("docs/settings.md").read_text() == reference_text()


# ---------------------------------------------------------------- what is generated and committed


@pytest.mark.parametrize("path", [path for path in STUDIES if "config" in path.parts], ids=lambda path: path.parent.name)
def test_dvc_stages_are_up_to_date(path):
    name = path.parent.name
    assert path.with_name("dvc.yaml").read_text() == dvc_text(load_study(path), name), f"run `pqm study dvc {name}`"


def test_schema_and_reference_are_up_to_date():
    for path, text in (("config/study.schema.json", schema_text()), ("docs/settings.md", reference_text())):
        assert (ROOT / path).read_text() == text, "run `pqm study schema`"


def test_the_reference_has_every_setting():
    def keys(schema: dict[str, Any]) -> set[str]:
        return {key for model in [schema, *schema["$defs"].values()] for key in model.get("properties", {})}

    text = reference_text()
    assert {key for key in keys(json.loads(schema_text())) if f"| `{key}` |" not in text} == set()
    links = {line.partition("(#")[2].partition(")")[0] for line in text.splitlines() if "(#" in line}
    heads = {
        line[3:].lower().replace(" ", "-").replace(",", "").replace(".", "") for line in text.splitlines() if line[:3] == "## "
    }
    assert links <= heads


@pytest.fixture(scope="module")
def schema() -> jsonschema.protocols.Validator:
    content = json.loads((ROOT / "config/study.schema.json").read_text())
    kind = jsonschema.validators.validator_for(content)
    kind.check_schema(content)
    return kind(content)


@studies
def test_the_schema_takes_every_study(path, schema):
    assert [error.message for error in schema.iter_errors(read_yaml(path))] == []


@pytest.mark.parametrize(
    ("place", "wrong", "right"),
    [
        ((), "qestions", "questions"),
        (("training",), "sedes", "seeds"),
        (("runs", "bce"), "zetta", "loss"),
        (("questions", "test", "source"), "qestions", "questions"),
        (("pretraining", "language-model", "phases", 0), "lesons", "lessons"),
        (("labels", "train"), "complettions", "completions"),
    ],
)
def test_the_schema_refuses_a_misspelled_key(place, wrong, right, schema):
    content = read_yaml(ROOT / "config/demo/study.yaml")
    inner = content
    for part in place:
        inner = inner[part]
    inner[wrong] = inner[right]
    told = [error for each in schema.iter_errors(content) for error in (each, *(each.context or ()))]
    assert any(f"'{wrong}'" in error.message for error in told)


@pytest.mark.parametrize(("key", "value"), [("samples", 0), ("samples", "many"), ("temperature", -1.0), ("seed", None)])
def test_the_schema_refuses_wrong_values(key, value, schema):
    content = read_yaml(ROOT / "config/demo/study.yaml")
    content["rollouts"]["test"][key] = value
    assert list(schema.iter_errors(content)) != []
