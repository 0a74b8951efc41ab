"""Checks of a study across its settings: unknown names, inconsistent numbers, missing files.

`faults` needs only the study, and a build does not start if it finds any. `missing_files` reads the disk.
"""

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from pqm.errors import PqmError, shortened
from pqm.io.published_files import missing_file, published_file
from pqm.losses.common.loss import find
from pqm.paper.declared import OF_RUNS, declared, names
from pqm.study.evaluation import EvaluationConfig
from pqm.study.faults import Fault, Place, instead, validation_faults
from pqm.study.labels import LabelsConfig, PublishedLabelsConfig
from pqm.study.layout import ANNOTATED, REFERENCES
from pqm.study.models import GgufModel, Pick
from pqm.study.results import ResultsConfig
from pqm.study.runs import RunConfig
from pqm.study.sources import PackageSource
from pqm.study.study import StudyConfig


def faults(study: StudyConfig) -> list[Fault]:
    """All faults that prevent a build of the study."""
    return [
        *_devices(study),
        *_questions(study),
        *_models(study),
        *_rollouts(study),
        *_labels(study),
        *_runs(study),
        *(_evaluation(study, study.evaluation) if study.evaluation else ()),
        *(_results(study, study.results) if study.results else ()),
    ]


def _unknown(place: Place, kind: str, names: Iterable[str], known: Iterable[str]) -> Iterator[Fault]:
    """A fault for each name that is not in the section `kind`."""
    known = list(known)
    for name in names:
        if name not in known:
            yield Fault(place, f"{kind} has no {shortened(name)}; {instead(name, known)}")


def _cycles(section: str, needs: dict[str, list[str]], what: str, *key: str) -> Iterator[Fault]:
    """A fault for each item that depends on itself, directly or through others."""
    for name in needs:
        if name in _reached(needs, name):
            others = [one for one in needs if one != name and one in _reached(needs, name) and name in _reached(needs, one)]
            yield Fault((section, name, *key), what + (f", through {', '.join(others)}" if others else ""))


def _reached(needs: dict[str, list[str]], start: str) -> set[str]:
    """All items that an item depends on, directly or through others."""
    reached: set[str] = set()
    pending = list(needs.get(start, []))
    while pending:
        if (one := pending.pop()) not in reached:
            reached.add(one)
            pending += needs.get(one, [])
    return reached


def _devices(study: StudyConfig) -> Iterator[Fault]:
    """Faults of the GPUs that jobs request."""
    for stage, wanted in study.resources:
        if wanted.gpus and study.device == "cpu":
            yield Fault(("resources", stage, "gpus"), f"{wanted.gpus} GPUs, but the study has device: cpu; expected device: cuda")


def _questions(study: StudyConfig) -> Iterator[Fault]:
    for name, item in study.questions.items():
        yield from _unknown(("questions", name), "questions", item.upstream, study.questions)
    upstream = {name: list(item.upstream) for name, item in study.questions.items()}
    yield from _cycles("questions", upstream, "depends on itself")


def _models(study: StudyConfig) -> Iterator[Fault]:
    for name, pretraining in study.pretraining.items():
        place = ("pretraining", name)
        yield from _unknown((*place, "excluded"), "questions", pretraining.excluded, study.questions)
        yield from _unknown((*place, "validation"), "questions", [pretraining.validation], study.questions)
        yield from _start(study, (*place, "start"), pretraining.start)
    starts = {name: [one.start] if one.start else [] for name, one in study.pretraining.items()}
    yield from _cycles("pretraining", starts, "starts from itself", "start")
    if ANNOTATED in study.policies:
        yield Fault(("policies", ANNOTATED), f"{ANNOTATED!r} is reserved; rename the policy")
    for kind, models in (("policies", study.policies), ("backbones", study.backbones)):
        yield from _picks(study, kind, {name: model.pick for name, model in models.items() if model.pick is not None})


def _start(study: StudyConfig, place: Place, start: str | None) -> Iterator[Fault]:
    """Faults of the pretraining or backbone that a pretraining starts from."""
    pretrained = [name for name, backbone in study.backbones.items() if backbone.pick is None]
    if start is None:
        return
    kind = "pretraining (with the pretrained backbones)" if pretrained else "pretraining"
    yield from _unknown(place, kind, [start], [*study.pretraining, *pretrained])
    if start in study.pretraining and start in pretrained:
        yield Fault(place, f"{start!r} is a pretraining and a backbone; rename one")


def _picks(study: StudyConfig, kind: str, picks: dict[str, Pick]) -> Iterator[Fault]:
    """Faults of the picked snapshots of a section: an unknown pretraining, or the same snapshot twice."""
    picked: dict[tuple[str, str], str] = {}
    for name, pick in picks.items():
        place = (kind, name, "pick")
        yield from _unknown(place, "pretraining", [pick.pretraining], study.pretraining)
        if pick.pretraining in study.pretraining:
            snapshot = pick.choose(study.pretraining[pick.pretraining].snapshot_shares())
            if picked.setdefault((pick.pretraining, snapshot), name) != name:
                first = picked[pick.pretraining, snapshot]
                yield Fault(place, f"picks {snapshot} of {pick.pretraining}, the same as {kind}.{first}; expected another share")


def _rollouts(study: StudyConfig) -> Iterator[Fault]:
    for name in study.rollouts:
        yield from _unknown(("rollouts", name), "questions", [name], study.questions)
    for name, annotated in study.annotated.items():
        yield from _unknown(("annotated", name, "disjoint_from"), "questions", annotated.disjoint_from, study.questions)
    for name, item in study.solutions.items():
        yield from _unknown(("solutions", name, "dataset"), "questions", [item.dataset], study.questions)


def _labels(study: StudyConfig) -> Iterator[Fault]:
    for name, item in study.labels.items():
        if isinstance(item, PublishedLabelsConfig):
            continue
        place = ("labels", name)
        yield from _unknown((*place, "completer"), "policies", [item.completer], study.policies)
        if item.dataset in study.annotated:
            if item.policies != (ANNOTATED,):
                yield Fault((*place, "policies"), f"{item.dataset} is in annotated; expected policies: [{ANNOTATED}]")
            continue
        kind = "rollouts (with annotated)" if study.annotated else "rollouts"
        yield from _unknown((*place, "dataset"), kind, [item.dataset], [*study.rollouts, *study.annotated])
        yield from _unknown((*place, "policies"), "policies", item.policies, study.policies)
        for policy in item.policies:
            if study.evaluation and policy in study.policies and policy not in study.evaluation.policies:
                yield Fault((*place, "policies"), f"policy {shortened(policy)} has no rollouts; add it to evaluation.policies")


def _runs(study: StudyConfig) -> Iterator[Fault]:
    if not study.runs:
        return
    for section in ("training", "evaluation"):
        if getattr(study, section) is None:
            yield Fault((), f"section {section!r} is missing; runs need it")
    if study.training is not None:
        yield from _unknown(("training", "validation"), "labels", [study.training.validation], study.labels)
        yield from _processes(study, study.training.accelerate)
    for name, run in study.runs.items():
        place = ("runs", name)
        if name == REFERENCES:
            yield Fault(place, f"{REFERENCES!r} is reserved; rename the run")
        yield from _unknown((*place, "labels"), "labels", [run.labels], study.labels)
        yield from _unknown((*place, "backbone"), "backbones", [run.backbone], study.backbones)
        yield from _loss(place, run)
        if study.evaluation is not None:
            yield from _unknown((*place, "policies"), "evaluation.policies", run.policies or (), study.evaluation.policies)


def _loss(place: Place, run: RunConfig) -> Iterator[Fault]:
    """Faults of a run's loss, its settings and targets."""
    try:
        loss = find(run.loss)
        loss.schema.model_validate(dict(run.loss_settings))
    except PqmError as error:
        yield Fault((*place, "loss"), str(error))
        return
    except ValidationError as error:
        yield from validation_faults(loss.schema, error, (*place, "loss_settings"))
    if run.targets == "soft" and not loss.soft_targets:
        yield Fault((*place, "targets"), f"loss {run.loss} accepts hard targets only")


def _processes(study: StudyConfig, accelerate: str | None) -> Iterator[Fault]:
    """A fault if the number of processes is not the number of GPUs that a training requests."""
    place = ("training", "accelerate")
    if accelerate is None:
        return
    if not Path(accelerate).exists():
        yield Fault(place, f"{accelerate} does not exist")
        return
    gpus, found = study.gpus("train"), YAML(typ="safe", pure=True).load(Path(accelerate)).get("num_processes")
    if gpus and found != gpus:
        yield Fault(
            place,
            f"{accelerate}: num_processes is {found}, but a training requests {gpus} GPUs (resources.train.gpus); expected the same number",
        )


def _evaluation(study: StudyConfig, evaluation: EvaluationConfig) -> Iterator[Fault]:
    place: Place = ("evaluation",)
    yield from _unknown((*place, "policies"), "policies", evaluation.policies, study.policies)
    for role in ("benchmarks", "validation", "audit"):
        named = getattr(evaluation, role)
        names = named if isinstance(named, tuple) else [named] if named else []
        if role != "audit" or named not in evaluation.annotated:
            yield from _unknown((*place, role), "rollouts", names, study.rollouts)
    yield from _unknown((*place, "annotated"), "annotated", evaluation.annotated, study.annotated)
    yield from _unknown((*place, "reference_backbone"), "backbones", [evaluation.reference_backbone], study.backbones)
    for benchmark in evaluation.benchmarks:
        samples = study.rollouts[benchmark].samples if benchmark in study.rollouts else max(evaluation.n)
        if samples < max(evaluation.n):
            what = f"n = {max(evaluation.n)} is more than the {samples} samples of rollouts.{benchmark}"
            yield Fault((*place, "n"), f"{what}; sample more or use a smaller n")
    backbone = study.backbones.get(evaluation.reference_backbone)
    if backbone is not None and backbone.pick is None and "step-classifier" in evaluation.references:
        what = f"backbone {evaluation.reference_backbone!r} is a pretrained model and has no step classifier"
        yield Fault((*place, "references"), f"{what}; remove step-classifier")
    if evaluation.audit:
        yield from _audit(study, evaluation, evaluation.audit)


def _audit(study: StudyConfig, evaluation: EvaluationConfig, audit: str) -> Iterator[Fault]:
    place = ("labels", audit)
    labels = study.labels.get(audit)
    if labels is None:
        yield from _unknown(("evaluation", "audit"), "labels", [audit], study.labels)
    elif not isinstance(labels, LabelsConfig):
        yield Fault(place, "the audit set needs Monte Carlo labels; expected no source")
    elif (
        labels.dataset != audit
        or labels.early_stop
        or labels.search == "binary"
        or set(labels.policies) - {*evaluation.policies, *([ANNOTATED] if audit in evaluation.annotated else [])}
    ):
        yield Fault(place, f"expected labels of every step of the evaluated policies' rollouts on {audit}, without early stop")


def _results(study: StudyConfig, results: ResultsConfig) -> Iterator[Fault]:
    for kind in ("tables", "figures"):
        for result, about in getattr(results, kind).items():
            place = ("results", kind, result)
            yield from _unknown(place, "runs", about, study.runs)
            if result not in names(kind):
                yield Fault(place, f"no {kind.removesuffix('s')} {shortened(result)}; {instead(result, names(kind))}")
                continue
            needs = declared(kind, result).needs
            if not about and set(needs) & OF_RUNS:
                yield Fault(place, "expected at least one run")
            for need in needs:
                yield from _need(study, results, place, need)
    yield from _unknown(("results", "report"), "runs", results.report, study.runs)


def _need(study: StudyConfig, results: ResultsConfig, place: Place, need: str) -> Iterator[Fault]:
    if need.startswith("table "):
        if need.removeprefix("table ") not in results.tables:
            yield Fault(place, f"needs {need}; add it to results.tables")
    elif need == "solutions":
        if not study.solutions:
            yield Fault(place, "needs section 'solutions'")
    elif need != "reported" and study.evaluation is None:
        yield Fault(place, "needs section 'evaluation'")
    elif need in ("annotated", "audit", "validation") and not getattr(study.evaluation, need):
        yield Fault(place, f"needs {need}; set evaluation.{need}")
    elif need == "validation labels" and study.evaluation and study.evaluation.validation:
        yield from _unknown(place, "labels", [study.evaluation.validation], study.labels)


# ---------------------------------------------------------------- files


def missing_files(study: StudyConfig) -> list[Fault]:
    """A fault for each published file or package that an item needs and that is missing."""
    found: list[Fault] = []
    for section in ("questions", "solutions", "annotated", "labels"):
        for name, item in getattr(study, section).items():
            source: Any = getattr(item, "source", None)
            place = (section, name, "source")
            if isinstance(source, PackageSource):
                found += _package(place, source.package)
            elif (path := published_file(source)) is not None and not path.exists():
                found.append(Fault(place, missing_file(path, source.format)))
    for section in ("policies", "backbones"):
        for name, model in getattr(study, section).items():
            if isinstance(model.gguf, GgufModel):
                found += _package((section, name, "gguf"), model.gguf.package)
    return found


def _package(place: Place, package: str) -> list[Fault]:
    try:
        if importlib.util.find_spec(package) is not None:
            return []
    except ModuleNotFoundError:
        pass
    return [Fault(place, f"package {package} is not installed")]
