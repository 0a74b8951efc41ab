"""Faults across the settings of a study: unknown names, inconsistent numbers."""

from typing import Any

import pytest
from studies import HUB, ROOT, tiny_study

from pqm.study.faults import Fault
from pqm.study.reading import load_study
from pqm.workflow.checks import faults


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The study with these values at these places; DELETE removes a key."""
    content = tiny_study()
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
BCE = {"loss": "bce", "labels": "train", "backbone": "error-detecting"}
AUDITED = "expected labels of every step of the evaluated policies' rollouts on audit, without early stop"

INJECTED = {
    "kind": "gsm-symbolic",
    "questions": 5,
    "templates": [0, 9],
    "injected_error_share": 0.5,
    "injected_error_chance": 0.5,
    "seed": 1,
}

# Changes, and the places and messages of their faults.
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
        [("questions.test", "depends on itself")],
    ),
    "excluded questions": (
        {"pretraining.language-model.excluded": ["audits", "test"]},
        [("pretraining.language-model.excluded", "questions has no 'audits'; did you mean 'audit'?")],
    ),
    "validation questions": (
        {"pretraining.error-detection.validation": "validaton"},
        [("pretraining.error-detection.validation", "questions has no 'validaton'; did you mean 'validation'?")],
    ),
    "start": (
        {"pretraining.error-detection.start": "languagemodel"},
        [("pretraining.error-detection.start", "pretraining has no 'languagemodel'; did you mean 'language-model'?")],
    ),
    "start from itself": (
        {"pretraining.error-detection.start": "error-detection"},
        [("pretraining.error-detection.start", "starts from itself")],
    ),
    "picked policy": (
        {"policies.weak.pick.pretraining": "model"},
        [("policies.weak.pick", "pretraining has no 'model'; it has language-model, error-detection")],
    ),
    "picked backbone": (
        {"backbones.error-detecting.pick.pretraining": "error-detectio"},
        [("backbones.error-detecting.pick", "pretraining has no 'error-detectio'; did you mean 'error-detection'?")],
    ),
    "rollouts of no questions": (
        {"rollouts.held-out": tiny_study()["rollouts"]["test"]},
        [("rollouts.held-out", "questions has no 'held-out'; it has audit, perturbed, test, train, validation")],
    ),
    "solutions of no questions": (
        {"solutions.gsm8k.dataset": "gsm8k"},
        [("solutions.gsm8k.dataset", "questions has no 'gsm8k'; it has audit, perturbed, test, train, validation")],
    ),
    "labelled rollouts": (
        {"labels.train.dataset": "trian"},
        [("labels.train.dataset", "rollouts (with annotated) has no 'trian'; did you mean 'train'?")],
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
        [("labels.train.policies", "policy 'final' has no rollouts; add it to evaluation.policies")],
    ),
    "no training": ({"training": DELETE}, [("", "section 'training' is missing; runs need it")]),
    "validation labels": (
        {"training.validation": "validate"},
        [("training.validation", "labels has no 'validate'; did you mean 'validation'?")],
    ),
    "accelerate's file": (
        {"training.accelerate": "config/accelerate/two-gpus.yaml"},
        [("training.accelerate", "config/accelerate/two-gpus.yaml does not exist")],
    ),
    "processes": (
        {"training.accelerate": "config/accelerate/cpu.yaml", "device": "cuda", "resources": {"train": {"gpus": 4}}},
        [
            (
                "training.accelerate",
                "config/accelerate/cpu.yaml: num_processes is 2, but a training requests 4 GPUs (resources.train.gpus); expected"
                " the same number",
            )
        ],
    ),
    "GPUs without a device": (
        {"resources": {"train": {"gpus": 4}, "labels": {"gpus": 0}}},
        [("resources.train.gpus", "4 GPUs, but the study has device: cpu; expected device: cuda")],
    ),
    "start of a pretraining": (
        {"backbones.elsewhere": HUB, "pretraining.error-detection.start": "elsewher"},
        [
            (
                "pretraining.error-detection.start",
                "pretraining (with the pretrained backbones) has no 'elsewher'; did you mean 'elsewhere'?",
            )
        ],
    ),
    "policies of annotated solutions": (
        {"annotated.known": {"source": INJECTED}, "labels.audit.dataset": "known"},
        [("labels.audit.policies", "known is in annotated; expected policies: [annotated]"), ("labels.audit", AUDITED)],
    ),
    "reserved run": ({"runs.references": BCE}, [("runs.references", "'references' is reserved; rename the run")]),
    "reserved policy": (
        {"policies.annotated": HUB},
        [("policies.annotated", "'annotated' is reserved; rename the policy")],
    ),
    "labels of a run": (
        {"runs.bce.labels": "tran"},
        [("runs.bce.labels", "labels has no 'tran'; did you mean 'train'?")],
    ),
    "backbone of a run": (
        {"runs.bce.backbone": "x"},
        [("runs.bce.backbone", "backbones has no 'x'; it has error-detecting")],
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
        {"evaluation.annotated": ["processbench", "champ"]},
        [("evaluation.annotated", "annotated has no 'champ'; it has processbench")],
    ),
    "reference backbone": (
        {"evaluation.reference_backbone": "error-detectin"},
        [("evaluation.reference_backbone", "backbones has no 'error-detectin'; did you mean 'error-detecting'?")],
    ),
    "n above samples": (
        {"evaluation.n": [1, 16], "rollouts.test.samples": 20},
        [("evaluation.n", "n = 16 is more than the 8 samples of rollouts.perturbed; sample more or use a smaller n")],
    ),
    "backbone without a step classifier": (
        {"backbones.elsewhere": HUB, "evaluation.reference_backbone": "elsewhere"},
        [
            (
                "evaluation.references",
                "backbone 'elsewhere' is a pretrained model and has no step classifier; remove step-classifier",
            )
        ],
    ),
    "audit without labels": (
        {"evaluation.audit": "test"},
        [("evaluation.audit", "labels has no 'test'; it has audit, train, validation")],
    ),
    "audit with published labels": (
        {"labels.audit": PUBLISHED_LABELS},
        [("labels.audit", "the audit set needs Monte Carlo labels; expected no source")],
    ),
    "audit of another set": ({"labels.audit.dataset": "train"}, [("labels.audit", AUDITED)]),
    "audit that stops early": ({"labels.audit.early_stop": True}, [("labels.audit", AUDITED)]),
    "audit by halving": ({"labels.audit.search": "binary"}, [("labels.audit", AUDITED)]),
    "audit of a policy that is not judged": (
        {"evaluation.policies": ["weak"], "labels.train.policies": ["weak"], "labels.validation.policies": ["weak"]},
        [
            ("labels.audit.policies", "policy 'final' has no rollouts; add it to evaluation.policies"),
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
                "no figure 'cost'; it has assumption, best_of_n, calibration, compute, framework, label_audit, margin, q_values, "
                "rebuilds, separation, theory, votes",
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
        [("results.tables.differences", "expected at least one run")],
    ),
    "figure about no run": (
        {"results.figures.separation": []},
        [("results.figures.separation", "expected at least one run")],
    ),
    "table that a table is made from": (
        {"results.tables": {"paper_comparison": []}, "results.figures": {}},
        [("results.tables.paper_comparison", "needs table main; add it to results.tables")],
    ),
    "tables that figures are drawn from": (
        {"results.tables": {}, "results.figures": {"best_of_n": [], "margin": [], "votes": []}},
        [
            ("results.figures.best_of_n", "needs table main; add it to results.tables"),
            ("results.figures.margin", "needs table margin_ablation; add it to results.tables"),
            ("results.figures.votes", "needs table self_consistency; add it to results.tables"),
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
            ("results.figures.label_audit", "needs audit; set evaluation.audit"),
            ("results.figures.assumption", "needs audit; set evaluation.audit"),
        ],
    ),
    "no validation set": (
        {"evaluation.validation": DELETE, "results.tables": {"first_error": ["bce"]}, "results.figures": {}},
        [("results.tables.first_error", "needs validation; set evaluation.validation")],
    ),
    "no annotated solutions": (
        {"evaluation.annotated": DELETE},
        [("results.tables.annotated_errors", "needs annotated; set evaluation.annotated")],
    ),
    "no labels of the validation set": (
        {"labels.validation": DELETE, "training.validation": "train"},
        [("results.tables.annotated_errors", "labels has no 'validation'; it has audit, train")],
    ),
    "no evaluation": (
        {"evaluation": DELETE, "results.tables": {"main": ["bce"], "grader_disagreement": []}, "results.figures": {"theory": []}},
        [
            ("", "section 'evaluation' is missing; runs need it"),
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


def test_the_study_that_the_faults_are_put_into_has_none(write_study, in_root):
    assert faults(load_study(write_study(**tiny_study()))) == []


@pytest.mark.parametrize(("changes", "expected"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_found(changes, expected, write_study, in_root):
    assert found(faults(load_study(write_study(**changed(changes))))) == expected


@pytest.mark.parametrize(
    ("change", "place", "beginning"),
    [
        ({"loss": "bec"}, "loss", "no loss 'bec'; did you mean 'bce'?"),
        ({"loss": "no_such_module:loss"}, "loss", "loss 'no_such_module:loss': cannot be imported"),
        ({"loss": "pqm"}, "loss_settings", "key 'zeta' is missing"),
        ({"loss_settings": {"margin": 4.0}}, "loss_settings", "unknown key 'margin'"),
        ({"loss": "pqm", "loss_settings": {"zeta": -1.0}}, "loss_settings.zeta", "Input should be greater than or equal to 0"),
        ({"loss": "orm", "targets": "soft"}, "targets", "loss orm accepts hard targets only"),
    ],
    ids=["unknown", "no module", "missing setting", "unknown setting", "refused setting", "soft targets"],
)
def test_a_loss_that_does_not_fit_its_run_is_found(change, place, beginning, write_study, in_root):
    [(found_place, what)] = found(faults(load_study(write_study(**changed({"runs.bce": BCE | change})))))
    assert found_place == f"runs.bce.{place}" and what.startswith(beginning)


def test_several_faults_are_found_at_once(write_study, in_root):
    chosen = [
        FAULTS[name] for name in ("seed questions", "start", "completer", "backbone of a run", "unknown table", "no solutions")
    ]
    content = changed({place: value for changes, _ in chosen for place, value in changes.items()})
    assert sorted(found(faults(load_study(write_study(**content))))) == sorted(one for _, expected in chosen for one in expected)


def test_one_process_for_each_gpu_is_no_fault(write_study, in_root):
    for gpus, device in ((0, "cpu"), (2, "cuda")):
        changes = {"training.accelerate": "config/accelerate/cpu.yaml", "device": device, "resources": {"train": {"gpus": gpus}}}
        assert faults(load_study(write_study(**changed(changes)))) == []


def test_a_reference_from_elsewhere_without_a_step_classifier_is_no_fault(write_study, in_root):
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
        {"pretraining.language-model.start": "error-detection", "pretraining.language-model.architecture": DELETE},
    ],
    ids=["questions", "pretraining"],
)
def test_cycles_of_items_are_found(changes, write_study):
    assert faults(load_study(write_study(**changed(changes)))) != []
