"""What is wrong with a study beyond its single settings: names that lead nowhere, numbers that do not fit, missing files.

`faults` needs nothing but the study, and a build refuses to start on any of them. `missing_files` and `unfit_snapshots` look
at what lies on the disk.
"""

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from ruamel.yaml import YAML

from pqm.config import (
    EvaluationConfig,
    FileSource,
    GgufModel,
    LabelsConfig,
    PackageSource,
    PublishedLabelsConfig,
    ResultsConfig,
    StudyConfig,
)
from pqm.errors import PqmError
from pqm.paper import FIGURE_NEEDS, OF_RUNS, TABLE_NEEDS
from pqm.published_files import PUBLISHED, where_to_get
from pqm.study import Fault, Place, instead

ANNOTATED = "annotated"  # the folder of scores of annotated solutions, beside the folders of the policies
REFERENCES = "references"  # the folder of what needs no run, beside the folders of the runs


def faults(study: StudyConfig) -> list[Fault]:
    """Everything that no build of the study could be made of."""
    return [
        *_questions(study),
        *_models(study),
        *_rollouts(study),
        *_labels(study),
        *_runs(study),
        *(_evaluation(study, study.evaluation) if study.evaluation else ()),
        *(_results(study, study.results) if study.results else ()),
    ]


def _unknown(place: Place, kind: str, names: Iterable[str], known: Iterable[str]) -> Iterator[Fault]:
    """A fault for each name that the section `kind` does not have."""
    known = list(known)
    for name in names:
        if name not in known:
            yield Fault(place, f"{kind} has no {name!r}; {instead(name, known)}")


def _cycles(section: str, needs: dict[str, list[str]], what: str, *key: str) -> Iterator[Fault]:
    """A fault for each item that waits for itself, directly or through others."""
    for name in needs:
        if name in _reached(needs, name):
            others = [one for one in needs if one != name and one in _reached(needs, name) and name in _reached(needs, one)]
            yield Fault((section, name, *key), what + (f", through {', '.join(others)}" if others else ""))


def _reached(needs: dict[str, list[str]], start: str) -> set[str]:
    """Everything that an item waits for."""
    reached: set[str] = set()
    pending = list(needs.get(start, []))
    while pending:
        if (one := pending.pop()) not in reached:
            reached.add(one)
            pending += needs.get(one, [])
    return reached


def _questions(study: StudyConfig) -> Iterator[Fault]:
    for name, item in study.questions.items():
        yield from _unknown(("questions", name), "questions", item.upstream, study.questions)
    upstream = {name: list(item.upstream) for name, item in study.questions.items()}
    yield from _cycles("questions", upstream, "is made from or disjoint from itself")


def _models(study: StudyConfig) -> Iterator[Fault]:
    for name, pretraining in study.pretraining.items():
        place = ("pretraining", name)
        yield from _unknown((*place, "excluded"), "questions", pretraining.excluded, study.questions)
        yield from _unknown((*place, "validation"), "questions", [pretraining.validation], study.questions)
        if pretraining.start is not None:
            yield from _unknown((*place, "start"), "pretraining", [pretraining.start], study.pretraining)
    starts = {name: [one.start] if one.start else [] for name, one in study.pretraining.items()}
    yield from _cycles("pretraining", starts, "starts from itself", "start")
    if ANNOTATED in study.policies:
        yield Fault(("policies", ANNOTATED), f"{ANNOTATED!r} is reserved; rename the policy")
    for kind, models in (("policies", study.policies), ("backbones", study.backbones)):
        for name, model in models.items():
            if model.pick is not None:
                yield from _unknown((kind, name, "pick"), "pretraining", [model.pick.pretraining], study.pretraining)


def _rollouts(study: StudyConfig) -> Iterator[Fault]:
    for name in study.rollouts:
        yield from _unknown(("rollouts", name), "questions", [name], study.questions)
    for name, item in study.solutions.items():
        yield from _unknown(("solutions", name, "dataset"), "questions", [item.dataset], study.questions)


def _labels(study: StudyConfig) -> Iterator[Fault]:
    for name, item in study.labels.items():
        if isinstance(item, PublishedLabelsConfig):
            continue
        place = ("labels", name)
        yield from _unknown((*place, "dataset"), "rollouts", [item.dataset], study.rollouts)
        yield from _unknown((*place, "completer"), "policies", [item.completer], study.policies)
        yield from _unknown((*place, "policies"), "policies", item.policies, study.policies)
        for policy in item.policies:
            if study.evaluation and policy in study.policies and policy not in study.evaluation.policies:
                yield Fault((*place, "policies"), f"policy {policy!r} samples nothing; name it in evaluation.policies")


def _runs(study: StudyConfig) -> Iterator[Fault]:
    if not study.runs:
        return
    for section in ("training", "evaluation"):
        if getattr(study, section) is None:
            yield Fault((), f"section {section!r} is missing, which runs need")
    if study.training is not None:
        yield from _unknown(("training", "validation"), "labels", [study.training.validation], study.labels)
        yield from _processes(study, study.training.accelerate)
    for name, run in study.runs.items():
        place = ("runs", name)
        if name == REFERENCES:
            yield Fault(place, f"{REFERENCES!r} is reserved; rename the run")
        yield from _unknown((*place, "labels"), "labels", [run.labels], study.labels)
        yield from _unknown((*place, "backbone"), "backbones", [run.backbone], study.backbones)
        if study.evaluation is not None:
            yield from _unknown((*place, "policies"), "evaluation.policies", run.policies or (), study.evaluation.policies)


def _processes(study: StudyConfig, accelerate: str | None) -> Iterator[Fault]:
    """One process for each GPU that a training asks for."""
    place = ("training", "accelerate")
    if accelerate is None:
        return
    if not Path(accelerate).exists():
        yield Fault(place, f"{accelerate} does not exist")
        return
    gpus, found = study.resources.train.gpus, YAML(typ="safe", pure=True).load(Path(accelerate)).get("num_processes")
    if gpus and found != gpus:
        yield Fault(place, f"{accelerate}: num_processes is {found}, resources.train asks {gpus} GPUs; expected the same")


def _evaluation(study: StudyConfig, evaluation: EvaluationConfig) -> Iterator[Fault]:
    place: Place = ("evaluation",)
    yield from _unknown((*place, "policies"), "policies", evaluation.policies, study.policies)
    for role in ("benchmarks", "validation", "audit"):
        named = getattr(evaluation, role)
        names = named if isinstance(named, tuple) else [named] if named else []
        yield from _unknown((*place, role), "rollouts", names, study.rollouts)
    yield from _unknown((*place, "annotated"), "annotated", evaluation.annotated, study.annotated)
    yield from _unknown((*place, "reference_backbone"), "backbones", [evaluation.reference_backbone], study.backbones)
    for benchmark in evaluation.benchmarks:
        samples = study.rollouts[benchmark].samples if benchmark in study.rollouts else max(evaluation.n)
        if samples < max(evaluation.n):
            what = f"n = {max(evaluation.n)} is more than the {samples} samples of rollouts.{benchmark}"
            yield Fault((*place, "n"), f"{what}; sample more or take a smaller n")
    backbone = study.backbones.get(evaluation.reference_backbone)
    if backbone is not None and backbone.pick is None and "proofreader" in evaluation.references:
        what = f"backbone {evaluation.reference_backbone!r} comes from elsewhere and has no mark"
        yield Fault((*place, "references"), f"{what}; leave proofreader out")
    if evaluation.audit:
        yield from _audit(study, evaluation, evaluation.audit)


def _audit(study: StudyConfig, evaluation: EvaluationConfig, audit: str) -> Iterator[Fault]:
    place = ("labels", audit)
    labels = study.labels.get(audit)
    if labels is None:
        yield from _unknown(("evaluation", "audit"), "labels", [audit], study.labels)
    elif not isinstance(labels, LabelsConfig):
        yield Fault(place, "the audit set has Monte Carlo labels; expected no source")
    elif (
        labels.dataset != audit or labels.early_stop or labels.search == "binary" or set(labels.policies) - {*evaluation.policies}
    ):
        yield Fault(place, f"the audit set labels every step of the judged policies' rollouts on {audit}")


def _results(study: StudyConfig, results: ResultsConfig) -> Iterator[Fault]:
    for kind, listed, needs in (("tables", results.tables, TABLE_NEEDS), ("figures", results.figures, FIGURE_NEEDS)):
        for result, about in listed.items():
            place = ("results", kind, result)
            yield from _unknown(place, "runs", about, study.runs)
            if result not in needs:
                yield Fault(place, f"no {kind.removesuffix('s')} {result!r}; {instead(result, needs)}")
                continue
            if not about and set(needs[result]) & OF_RUNS:
                yield Fault(place, "is about runs; name at least one")
            for need in needs[result]:
                yield from _need(study, results, place, need)
    yield from _unknown(("results", "report"), "runs", results.report, study.runs)


def _need(study: StudyConfig, results: ResultsConfig, place: Place, need: str) -> Iterator[Fault]:
    if need.startswith("table "):
        if need.removeprefix("table ") not in results.tables:
            yield Fault(place, f"is drawn from {need}, which is not listed")
    elif need == "solutions":
        if not study.solutions:
            yield Fault(place, "needs section 'solutions'")
    elif need != "reported" and study.evaluation is None:
        yield Fault(place, "needs section 'evaluation'")
    elif need in ("annotated", "audit", "validation") and not getattr(study.evaluation, need):
        yield Fault(place, f"needs {need}; name it in evaluation")
    elif need == "validation labels" and study.evaluation and study.evaluation.validation:
        yield from _unknown(place, "labels", [study.evaluation.validation], study.labels)


# ---------------------------------------------------------------- what lies on the disk


def missing_files(study: StudyConfig) -> list[Fault]:
    """Published files and packages that items need and that are not there."""
    found: list[Fault] = []
    for section in ("questions", "solutions", "annotated", "labels"):
        for name, item in getattr(study, section).items():
            source, place = getattr(item, "source", None), (section, name, "source")
            if isinstance(source, FileSource) and not (path := PUBLISHED / source.path).exists():
                found.append(Fault(place, f"{path} is missing; get it from {where_to_get(source.format)}"))
            elif isinstance(source, PackageSource):
                found += _package(place, source.package)
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


def unfit_snapshots(study: StudyConfig, data: Path) -> list[Fault]:
    """Bands that no snapshot of a finished pretraining reached, and items that picked the same snapshot.

    Args:
        data: the study's folder of data, in which finished pretrainings are looked for.
    """
    from pqm.policies import pick_snapshot

    found: list[Fault] = []
    for section in ("policies", "backbones"):
        picked: dict[Path, str] = {}
        for name, model in getattr(study, section).items():
            if model.pick is None or not (pretraining := data / "pretraining" / model.pick.pretraining).exists():
                continue
            try:
                snapshot = pick_snapshot(model.pick, pretraining)
            except PqmError as error:
                found.append(Fault((section, name, "pick"), str(error)))
                continue
            if picked.setdefault(snapshot, name) != name:
                found.append(Fault((section, name, "pick"), f"picks {snapshot}, as {section}.{picked[snapshot]} does"))
    return found
