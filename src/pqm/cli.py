"""The command line: one verb a stage; every verb also runs by hand on a user's own files."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from pqm.errors import PqmError
from pqm.published_files import PUBLISHED

# One thread a job unless the user says otherwise, and no bars of other libraries in log files: both are read at import.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
policies_app = typer.Typer(no_args_is_help=True, help="Train or pick the models that sample, and the backbones.")
rollouts_app = typer.Typer(no_args_is_help=True, help="Sample solutions from a policy, or read published ones.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Grade, score and judge solutions.")
paper_app = typer.Typer(no_args_is_help=True, help="Make the tables and figures.")
study_app = typer.Typer(no_args_is_help=True, help="Make and check studies.")
app.add_typer(policies_app, name="policies")
app.add_typer(rollouts_app, name="rollouts")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(paper_app, name="paper")
app.add_typer(study_app, name="study")

StudyFile = Annotated[Path, typer.Argument(help="File of the study, such as config/demo/study.yaml.", metavar="STUDY")]
StudyOption = Annotated[Path, typer.Option("--study", help="File of the study, such as config/demo/study.yaml.")]
Item = Annotated[str, typer.Argument(help="Which item of the study.")]
Output = Annotated[Path, typer.Option(help="Output file or folder, written whole or not at all.")]
Work = Annotated[
    Path | None, typer.Option(help="Folder for finished parts, from which a killed job resumes; .work/STUDY unless given.")
]
Server = Annotated[Path | None, typer.Option(help="What `pqm policies serve` wrote, for a policy with a server of its own.")]
Pretraining = Annotated[Path | None, typer.Option(help="Finished pretraining that the settings pick a snapshot of.")]
DataFolder = Annotated[Path | None, typer.Option(help="The study's questions, rollouts and labels; data/STUDY unless given.")]
ResultsFolder = Annotated[Path | None, typer.Option(help="The study's results; results/STUDY unless given.")]
Published = Annotated[Path, typer.Option(help="Folder in which relative paths of published files are looked up.")]


def _work(given: Path | None, study: Path) -> Path:
    """The folder of finished parts."""
    from pqm.study import study_name

    return given or Path(".work", study_name(study))


def _by_name(paths: list[Path]) -> dict[str, Path]:
    """Tables by the name of their file."""
    return {path.stem: path for path in paths}


@app.command()
def questions(
    study: StudyFile,
    item: Item,
    output: Output,
    upstream: Annotated[list[Path], typer.Option(help="Question tables that this set is made from or disjoint from.")] = [],  # noqa: B006
    published: Published = PUBLISHED,
) -> None:
    """Make a data set of questions: generated, perturbed, or published (a local file or the hub)."""
    from pqm import formats
    from pqm.config import QuestionsConfig
    from pqm.questions import make_questions
    from pqm.study import load_item

    settings = load_item(study, "questions", item, QuestionsConfig)
    frame = make_questions(settings, item, _by_name(upstream), published)
    formats.write(frame, formats.QUESTIONS, output)


@policies_app.command()
def pretrain(
    study: StudyFile,
    item: Item,
    output: Output,
    questions: Annotated[list[Path], typer.Option(help="Question tables: the excluded ones and the validation set.")],
    start: Annotated[Path | None, typer.Option(help="Pretraining whose last snapshot is gone on from.")] = None,
    work: Work = None,
) -> None:
    """Train models from scratch, or on from others, and keep snapshots."""
    from pqm.config import PretrainingConfig
    from pqm.policies.pretraining import pretrain as run
    from pqm.study import load_item
    from pqm.work import WorkFolder

    settings = load_item(study, "pretraining", item, PretrainingConfig)
    folder = WorkFolder(_work(work, study), "policies", output, [settings], [*questions, *([start] if start else [])])
    run(settings, start, _by_name(questions), output, folder)
    folder.finish()


@policies_app.command()
def policy(study: StudyFile, item: Item, output: Output, pretraining: Pretraining = None) -> None:
    """Pick the snapshot that becomes a policy, fetch a model from elsewhere, or name the server that runs it."""
    from pqm.config import PolicyConfig
    from pqm.policies import write_policy
    from pqm.study import load_item

    write_policy(load_item(study, "policies", item, PolicyConfig), pretraining, output)


@policies_app.command()
def serve(
    policy: Annotated[Path, typer.Argument(help="Folder of a served policy.")],
    output: Annotated[Path, typer.Option(help="File that says where the server answers; sampling reads it by --server.")],
    end_with_parent: Annotated[bool, typer.Option("--end-with-parent", help="End when what started it ends (Linux).")] = False,
) -> None:
    """Become the server of a policy."""
    from pqm.policies.served import serve as become

    become(policy, output, end_with_parent)


@policies_app.command()
def backbone(study: StudyFile, item: Item, output: Output, pretraining: Pretraining = None) -> None:
    """Pick the snapshot that becomes a backbone, or fetch a model from elsewhere."""
    from pqm.config import BackboneConfig
    from pqm.policies import write_backbone
    from pqm.study import load_item

    write_backbone(load_item(study, "backbones", item, BackboneConfig), pretraining, output)


@rollouts_app.command()
def sample(
    study: StudyFile,
    item: Item,
    output: Output,
    policy: Annotated[Path, typer.Option(help="Folder of the sampling policy.")],
    questions: Annotated[Path, typer.Option(help="Question table.")],
    server: Server = None,
    work: Work = None,
) -> None:
    """Sample solutions of every question."""
    from pqm import formats
    from pqm.config import RolloutsConfig
    from pqm.rollouts import make_rollouts
    from pqm.study import load_item
    from pqm.work import WorkFolder

    settings = load_item(study, "rollouts", item, RolloutsConfig)
    folder = WorkFolder(_work(work, study), "rollouts", output, [settings], [policy, questions])
    formats.write(make_rollouts(settings, policy, questions, folder, server), formats.ROLLOUTS, output)
    folder.finish()


@rollouts_app.command()
def published(
    solutions: Annotated[
        Path, typer.Argument(help="GSM8K's example model solutions, or an evaluation file of the paper's authors.")
    ],
    output: Output,
    questions: Annotated[Path, typer.Option(help="Question table that holds the questions.")],
    form: Annotated[
        str, typer.Option("--format", help="gsm8k, or pqm: [{question, responses: [{text, model_name}]}].")
    ] = "gsm8k",
    model: Annotated[
        str | None, typer.Option(help="Which model's solutions, e.g. 175b_verification; for pqm all unless named.")
    ] = None,
) -> None:
    """Read published model solutions as rollouts."""
    from pqm import formats
    from pqm.rollouts.published import read_solutions

    formats.write(read_solutions(form, solutions, questions, model), formats.ROLLOUTS, output)


@rollouts_app.command()
def annotated(
    study: StudyFile,
    item: Item,
    output: Annotated[Path, typer.Option(help="Folder of questions.parquet, rollouts.parquet and grades.parquet.")],
    published: Published = PUBLISHED,
) -> None:
    """Read published solutions whose first wrong step people marked: questions, rollouts and grades with the truth."""
    from pqm.config import AnnotatedConfig
    from pqm.rollouts.annotated import write_annotated
    from pqm.study import load_item

    write_annotated(load_item(study, "annotated", item, AnnotatedConfig), published, output)


@app.command()
def labels(
    study: StudyFile,
    item: Item,
    output: Output,
    completer: Annotated[Path | None, typer.Option(help="Folder of the policy that completes.")] = None,
    questions: Annotated[Path | None, typer.Option(help="Question table.")] = None,
    rollouts: Annotated[list[Path], typer.Option(help="Rollout tables, one a policy of the settings, in their order.")] = [],  # noqa: B006
    server: Server = None,
    published: Published = PUBLISHED,
    work: Work = None,
) -> None:
    """Label every step by Monte Carlo completions, or read published labels, which need no other input."""
    from pqm import formats
    from pqm.config import LabelsConfig, PublishedLabelsConfig, Settings
    from pqm.study import load_item
    from pqm.work import WorkFolder

    settings = load_item(study, "labels", item, Settings)
    if isinstance(settings, PublishedLabelsConfig):
        from pqm.labels.published import published_labels

        formats.write(published_labels(settings, published), formats.LABELS, output)
        return
    from pqm.labels import make_labels

    assert isinstance(settings, LabelsConfig)
    if completer is None or questions is None:
        raise PqmError(f"{study}: labels.{item}: Monte Carlo labels need --completer and --questions")
    if len(rollouts) != len(settings.policies):
        raise PqmError(
            f"{study}: labels.{item}: names {len(settings.policies)} policies, {len(rollouts)} rollout tables were given"
        )
    folder = WorkFolder(_work(work, study), "labels", output, [settings], [completer, questions, *rollouts])
    frame = make_labels(settings, completer, questions, dict(zip(settings.policies, rollouts)), folder, server)
    formats.write(frame, formats.LABELS, output)
    folder.finish()


@app.command()
def train(
    study: StudyFile,
    item: Item,
    output: Output,
    seed: Annotated[int, typer.Option(help="Seed of the head and of the order of the batches.", min=0)],
    labels: Annotated[Path, typer.Option(help="Label table to train on.")],
    validation: Annotated[Path, typer.Option(help="Label table to validate on.")],
    backbone: Annotated[Path, typer.Option(help="`transformers` folder to start from.")],
    work: Work = None,
) -> None:
    """Train one reward model."""
    from pqm.config import RunConfig, TrainingConfig
    from pqm.study import load_item, load_section
    from pqm.train import train as run_training
    from pqm.work import WorkFolder

    run = load_item(study, "runs", item, RunConfig)
    shared = load_section(study, "training", TrainingConfig)
    folder = WorkFolder(_work(work, study), "train", output, [run, shared, str(seed)], [labels, validation, backbone])
    run_training(run, shared, seed, labels, validation, backbone, output, folder)
    folder.finish()


@evaluate_app.command()
def grades(
    output: Output,
    questions: Annotated[Path, typer.Option(help="Question table.")],
    rollouts: Annotated[Path, typer.Option(help="Rollout table.")],
    threads: Annotated[int, typer.Option(help="Worker processes for the answers that need a parser.", min=1)] = 1,
) -> None:
    """Grade every sample."""
    from pqm import formats
    from pqm.evaluate import grade

    formats.write(grade(questions, rollouts, threads), formats.GRADES, output)


@evaluate_app.command()
def scores(
    checkpoints: Annotated[list[Path], typer.Argument(help="Reward models, or language models with --kind likelihood.")],
    questions: Annotated[list[Path], typer.Option(help="Question table of each cell.")],
    rollouts: Annotated[list[Path], typer.Option(help="Rollout table of each cell.")],
    output: Annotated[list[Path], typer.Option(help="Score table of each cell; of several checkpoints one after the other.")],
    kind: Annotated[str, typer.Option(help="reward or likelihood.")] = "reward",
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a batch.", min=1)] = 2048,
    threads: Annotated[int, typer.Option(help="Threads of the job.", min=1)] = 1,
    work: Work = None,
) -> None:
    """Score the steps of one or several cells (policy x benchmark) with checkpoints of one tokenizer."""
    import torch

    from pqm import formats
    from pqm.evaluate.scores import Scorer, score
    from pqm.work import WorkFolder

    if kind not in ("reward", "likelihood"):
        raise PqmError(f"--kind {kind}: expected reward or likelihood")
    if len(questions) != len(rollouts) or len(output) != len(rollouts) * len(checkpoints):
        raise PqmError(
            f"{len(checkpoints)} checkpoints, {len(questions)} --questions, {len(rollouts)} --rollouts, {len(output)} --output;"
            " expected a question table and, for each checkpoint, an output for each rollout table"
        )
    torch.set_num_threads(threads)
    scorer = Scorer(checkpoints, kind, batch_tokens)  # type: ignore[arg-type]
    for benchmark in dict.fromkeys(questions):
        cells = [index for index, path in enumerate(questions) if path == benchmark]
        sampled = [rollouts[index] for index in cells]
        folder = WorkFolder(
            work or Path(".work"), "evaluate", output[cells[0]], [kind, str(batch_tokens)], [*checkpoints, benchmark, *sampled]
        )
        for by, tables in enumerate(score(scorer, benchmark, sampled, folder)):
            for index, part in zip(cells, tables):
                formats.write(part, formats.SCORES, output[by * len(rollouts) + index])
        folder.finish()


@evaluate_app.command()
def metrics(
    study: StudyFile,
    item: Item,
    output: Output,
    grades: Annotated[Path, typer.Option(help="Folder of {policy}/{benchmark}.parquet.")],
    scores: Annotated[Path, typer.Option(help="Folder of seed-{seed}/{policy}/{benchmark}.parquet.")],
    seeds: Annotated[list[int], typer.Option("--seed", help="Each training seed.", min=0)],
) -> None:
    """Judge one run by exact best-of-n on every policy and benchmark."""
    from pqm import formats
    from pqm.config import EvaluationConfig, RunConfig
    from pqm.evaluate import run_metrics
    from pqm.study import load_item, load_section

    run, evaluation = load_item(study, "runs", item, RunConfig), load_section(study, "evaluation", EvaluationConfig)
    frame = run_metrics(item, run, evaluation, seeds, grades, scores)
    formats.write(frame, formats.METRICS, output)


@evaluate_app.command()
def references(
    study: StudyFile,
    output: Output,
    grades: Annotated[Path, typer.Option(help="Folder of {policy}/{benchmark}.parquet.")],
    rollouts: Annotated[Path, typer.Option(help="Folder of {policy}/{benchmark}.parquet.")],
    scores: Annotated[Path, typer.Option(help="Folder of {likelihood,proofreader}/{policy}/{benchmark}.parquet.")],
) -> None:
    """Judge what needs no reward model: chance, pass@n, self-consistency, likelihoods, the backbone's own mark."""
    from pqm import formats
    from pqm.config import EvaluationConfig
    from pqm.evaluate import reference_metrics
    from pqm.study import load_section

    evaluation = load_section(study, "evaluation", EvaluationConfig)
    formats.write(reference_metrics(evaluation, grades, rollouts, scores), formats.METRICS, output)


@evaluate_app.command()
def first_errors(
    grades: Annotated[Path, typer.Option(help="Grade table with the true first errors.")],
    scores: Annotated[Path, typer.Option(help="Anyone's score table of the same samples.")],
    validation_grades: Annotated[Path, typer.Option(help="Grade table that the threshold is chosen on.")],
    validation_scores: Annotated[Path, typer.Option(help="Score table of the same validation samples.")],
) -> None:
    """Print F1 of finding the first wrong step (ProcessBench's definition), the threshold chosen on validation only."""
    from pqm.evaluate.first_errors import judge_first_errors

    typer.echo(judge_first_errors(grades, scores, validation_grades, validation_scores))


@evaluate_app.command()
def judge(
    grades: Annotated[Path, typer.Option(help="Grade table.")],
    scores: Annotated[Path, typer.Option(help="Anyone's score table of the same samples.")],
    aggregation: Annotated[str, typer.Option(help="min, last, product or mean.")] = "min",
    n: Annotated[list[int], typer.Option(help="Sizes of best-of-n.", min=1)] = [1, 2, 4, 8, 16, 32, 64],  # noqa: B006
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples and votes.", min=0)] = 0,
) -> None:
    """Print exact best-of-n with intervals for anyone's scores: no GPU, no model."""
    from pqm.paper.statistics import judge_scores

    typer.echo(judge_scores(grades, scores, aggregation, n, resamples, seed).to_markdown(index=False, floatfmt=".4f"))


@evaluate_app.command()
def official(
    grades: Annotated[Path, typer.Option(help="Grade table.")],
    scores: Annotated[Path, typer.Option(help="Anyone's score table of the same samples.")],
    aggregation: Annotated[str, typer.Option(help="min, last, product or mean.")] = "min",
    n: Annotated[list[int], typer.Option(help="Sizes of best-of-n.", min=1)] = [8, 16, 32, 64, 128],  # noqa: B006
) -> None:
    """Print best-of-n as the paper's authors measure it: the first n samples in file order, once, by their grader's rules and ours."""
    from pqm.evaluate.official import official_table

    typer.echo(official_table(grades, scores, aggregation, n).to_markdown(index=False, floatfmt=".4f"))


@evaluate_app.command()
def convert(
    weights: Annotated[Path, typer.Argument(help="Weights in the authors' layout: a file, or a folder of shards.")],
    backbone: Annotated[Path, typer.Option(help="`transformers` folder of the model that was trained.")],
    output: Annotated[Path, typer.Option(help="The checkpoint folder that is written.")],
    template: Annotated[
        str, typer.Option(help="Their question template: evaluation (their numbers') or training.")
    ] = "evaluation",
) -> None:
    """Turn a checkpoint of the paper's authors into one that every verb here reads; its scores stay the same."""
    from pqm.evaluate.conversion import convert as run

    run(weights, backbone, template, output)


@paper_app.command()
def table(
    name: Annotated[str, typer.Argument(help="Which table.")],
    output: Annotated[Path, typer.Option(help="Folder of {name}.csv, .md and .tex.")],
    caption: Annotated[Path, typer.Option(help="Caption, reStructuredText.")],
    study: StudyOption,
    data: DataFolder = None,
    results: ResultsFolder = None,
) -> None:
    """Make one table."""
    from pqm.paper.study import Study
    from pqm.paper.tables import make_table

    make_table(name, Study.of(study, data, results), caption, output)


@paper_app.command()
def headline(table: Annotated[Path, typer.Argument(help="The main table, CSV.")], output: Output) -> None:
    """Write the main table's accuracies at the largest n as JSON, for `dvc metrics`."""
    from pqm.paper.headline import write_headline

    write_headline(table, output)


@paper_app.command()
def figure(
    name: Annotated[str, typer.Argument(help="Which figure.")],
    output: Annotated[Path, typer.Option(help="Folder of {name}.svg, .png, .pdf and .csv.")],
    study: StudyOption,
    data: DataFolder = None,
    results: ResultsFolder = None,
) -> None:
    """Draw one figure."""
    from pqm.paper.figures import draw_figure
    from pqm.paper.study import Study

    draw_figure(name, Study.of(study, data, results), output)


@paper_app.command()
def report(
    output: Annotated[Path, typer.Option(help="The page that is written.")],
    captions: Annotated[Path, typer.Option(help="Folder of {name}.rst.")],
    study: StudyOption,
    data: DataFolder = None,
    results: ResultsFolder = None,
) -> None:
    """Write one self-contained page of all results, with some questions to look into and where each number comes from."""
    from pqm.paper.report import write_report
    from pqm.paper.study import Study

    write_report(Study.of(study, data, results), captions, output)


@paper_app.command()
def budget(study: StudyFile) -> None:
    """Print what a study will cost: GPU hours and disk, from its settings and its assumptions."""
    from pqm.paper.budget import budget as reckon
    from pqm.paper.study import Study

    typer.echo(reckon(Study.of(study)))


@paper_app.command()
def times(benchmarks: Annotated[Path, typer.Argument(help="Folder of Snakemake's benchmark files.")]) -> None:
    """Print what each stage took."""
    from pqm.paper.cost import records, summary

    typer.echo(summary(records(benchmarks)).to_markdown(index=False, floatfmt=".0f"))


@app.command()
def provenance(
    path: Annotated[Path, typer.Argument(help="A table, a figure, a checkpoint or any other output.")],
) -> None:
    """Print what made an output, back to settings, code and seeds, and whether each is still the same."""
    from pqm.provenance.trace import trace

    typer.echo(trace(path))


@study_app.command()
def new(
    name: Annotated[str, typer.Argument(help="What the study is called: the folder in config/, data/ and results/.")],
    start: Annotated[str, typer.Option("--from", help="The study that it starts from.")] = "tiny",
) -> None:
    """Make a study: a copy of another one, to edit."""
    from pqm.study_files import new_study

    typer.echo(f"{new_study(name, start)}: edit it, then: pqm study check {name}")


@study_app.command()
def check(name: Annotated[str, typer.Argument(help="Which study.")]) -> None:
    """Say all that is wrong with a study, without starting a workflow."""
    from pqm.study_files import check_study

    check_study(name)
    typer.echo(f"study {name}: nothing is wrong")


@study_app.command()
def dvc(name: Annotated[str, typer.Argument(help="Which study.")]) -> None:
    """Write the study's DVC stages, config/STUDY/dvc.yaml."""
    from pqm.study_files import write_dvc

    typer.echo(write_dvc(name))


@study_app.command()
def schema() -> None:
    """Write the JSON schema for editors, config/study.schema.json, and the reference of all settings, docs/settings.md."""
    from pqm.study_files import write_reference

    for path in write_reference():
        typer.echo(path)


def main() -> None:
    """Run a verb; a user's mistake ends in one sentence on standard error and exit code 1."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # as an exception, so that no half file stays
    try:
        app()
    except PqmError as error:
        print(f"pqm: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
