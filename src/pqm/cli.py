"""The command line: one verb a stage; every verb also runs by hand on a user's own files."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from pqm.errors import PqmError

# One thread a job unless the user says otherwise, and no bars of other libraries in log files: both are read at import.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
policies_app = typer.Typer(no_args_is_help=True, help="Train or pick the models that sample, and the backbones.")
rollouts_app = typer.Typer(no_args_is_help=True, help="Sample solutions from a policy, or read published ones.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Grade, score and judge solutions.")
paper_app = typer.Typer(no_args_is_help=True, help="Make the tables and figures.")
app.add_typer(policies_app, name="policies")
app.add_typer(rollouts_app, name="rollouts")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(paper_app, name="paper")

Config = Annotated[Path, typer.Argument(help="Settings file of what is made.")]
Output = Annotated[Path, typer.Option(help="What is written, whole or not at all.")]
Work = Annotated[Path, typer.Option(help="Where finished parts wait; a killed job goes on from there.")]
WORK = Path(".work")
Server = Annotated[Path | None, typer.Option(help="What `pqm policies serve` wrote, for a policy with a server of its own.")]
Pretraining = Annotated[Path | None, typer.Option(help="Finished pretraining that the settings pick a snapshot of.")]
StudyFolder = Annotated[Path, typer.Option(help="Folder of the study's settings.")]
DataFolder = Annotated[Path, typer.Option(help="What was made: questions, rollouts, labels.")]
RealData = Annotated[Path, typer.Option(help="Folder in which relative paths of published files are looked up.")]
ResultsFolder = Annotated[Path, typer.Option(help="What was made: checkpoints, grades, scores, metrics, tables.")]


def _by_name(paths: list[Path]) -> dict[str, Path]:
    """Tables by the name of their file."""
    return {path.stem: path for path in paths}


@app.command()
def questions(
    config: Config,
    output: Output,
    upstream: Annotated[list[Path], typer.Option(help="Question tables that this set is made from or disjoint from.")] = [],  # noqa: B006
    real_data: RealData = Path("."),
) -> None:
    """Make a data set of questions: generated, perturbed, or published (a local file or the hub)."""
    from pqm import formats
    from pqm.config import QuestionsConfig, load
    from pqm.questions import make_questions

    frame = make_questions(load(QuestionsConfig, config), output.stem, _by_name(upstream), real_data)
    formats.write(frame, formats.QUESTIONS, output)


@policies_app.command()
def pretrain(
    config: Config,
    output: Output,
    questions: Annotated[list[Path], typer.Option(help="Question tables: the excluded ones and the validation set.")],
    start: Annotated[Path | None, typer.Option(help="Pretraining whose last snapshot is gone on from.")] = None,
    work: Work = WORK,
) -> None:
    """Train models from scratch, or on from others, and keep snapshots."""
    from pqm.config import PretrainingConfig, load
    from pqm.policies.pretraining import pretrain as run
    from pqm.work import WorkFolder

    settings = load(PretrainingConfig, config)
    folder = WorkFolder(work, "policies", [settings, output.name], [*questions, *([start] if start else [])])
    run(settings, start, _by_name(questions), output, folder)
    folder.finish()


@policies_app.command()
def policy(config: Config, output: Output, pretraining: Pretraining = None) -> None:
    """Pick the snapshot that becomes a policy, fetch a model from elsewhere, or name the server that runs it."""
    from pqm.config import PolicyConfig, load
    from pqm.policies import write_policy

    write_policy(load(PolicyConfig, config), pretraining, output)


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
def backbone(config: Config, output: Output, pretraining: Pretraining = None) -> None:
    """Pick the snapshot that becomes a backbone, or fetch a model from elsewhere."""
    from pqm.config import BackboneConfig, load
    from pqm.policies import write_backbone

    write_backbone(load(BackboneConfig, config), pretraining, output)


@rollouts_app.command()
def sample(
    config: Config,
    output: Output,
    policy: Annotated[Path, typer.Option(help="Folder of the sampling policy.")],
    questions: Annotated[Path, typer.Option(help="Question table.")],
    server: Server = None,
    work: Work = WORK,
) -> None:
    """Sample solutions of every question."""
    from pqm import formats
    from pqm.config import RolloutsConfig, load
    from pqm.rollouts import make_rollouts
    from pqm.work import WorkFolder

    settings = load(RolloutsConfig, config)
    folder = WorkFolder(work, "rollouts", [settings], [policy, questions])
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
    config: Config,
    output: Annotated[Path, typer.Option(help="Folder of questions.parquet, rollouts.parquet and grades.parquet.")],
    real_data: RealData = Path("."),
) -> None:
    """Read published solutions whose first wrong step people marked: questions, rollouts and grades with the truth."""
    from pqm.config import AnnotatedConfig, load
    from pqm.rollouts.annotated import write_annotated

    write_annotated(load(AnnotatedConfig, config), real_data, output)


@app.command()
def labels(
    config: Config,
    output: Output,
    completer: Annotated[Path | None, typer.Option(help="Folder of the policy that completes.")] = None,
    questions: Annotated[Path | None, typer.Option(help="Question table.")] = None,
    rollouts: Annotated[list[Path], typer.Option(help="Rollout tables, one a policy of the settings, in their order.")] = [],  # noqa: B006
    server: Server = None,
    real_data: RealData = Path("."),
    work: Work = WORK,
) -> None:
    """Label every step by Monte Carlo completions, or read published labels, which need no other input."""
    from pqm import formats
    from pqm.config import PublishedLabelsConfig, load_labels
    from pqm.work import WorkFolder

    settings = load_labels(config)
    if isinstance(settings, PublishedLabelsConfig):
        from pqm.labels.published import published_labels

        formats.write(published_labels(settings, real_data), formats.LABELS, output)
        return
    from pqm.labels import make_labels

    if completer is None or questions is None:
        raise PqmError(f"{config}: Monte Carlo labels need --completer and --questions")
    if len(rollouts) != len(settings.policies):
        raise PqmError(f"{config}: names {len(settings.policies)} policies, {len(rollouts)} rollout tables were given")
    folder = WorkFolder(work, "labels", [settings], [completer, questions, *rollouts])
    frame = make_labels(settings, completer, questions, dict(zip(settings.policies, rollouts)), folder, server)
    formats.write(frame, formats.LABELS, output)
    folder.finish()


@app.command()
def train(
    config: Config,
    output: Output,
    training: Annotated[Path, typer.Option(help="Settings that all runs share.")],
    seed: Annotated[int, typer.Option(help="Seed of the head and of the order of the batches.", min=0)],
    labels: Annotated[Path, typer.Option(help="Label table to train on.")],
    validation: Annotated[Path, typer.Option(help="Label table to validate on.")],
    backbone: Annotated[Path, typer.Option(help="`transformers` folder to start from.")],
    work: Work = WORK,
) -> None:
    """Train one reward model."""
    from pqm.config import RunConfig, TrainingConfig, load
    from pqm.train import train as run_training
    from pqm.work import WorkFolder

    run, shared = load(RunConfig, config), load(TrainingConfig, training)
    folder = WorkFolder(work, "train", [run, shared, str(seed)], [labels, validation, backbone])
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
    work: Work = WORK,
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
        folder = WorkFolder(work, "evaluate", [kind, str(batch_tokens)], [*checkpoints, benchmark, *sampled])
        for by, tables in enumerate(score(scorer, benchmark, sampled, folder)):
            for index, part in zip(cells, tables):
                formats.write(part, formats.SCORES, output[by * len(rollouts) + index])
        folder.finish()


@evaluate_app.command()
def metrics(
    config: Config,
    output: Output,
    evaluation: Annotated[Path, typer.Option(help="What is judged, and how.")],
    grades: Annotated[Path, typer.Option(help="Folder of {policy}/{benchmark}.parquet.")],
    scores: Annotated[Path, typer.Option(help="Folder of seed-{seed}/{policy}/{benchmark}.parquet.")],
    seeds: Annotated[list[int], typer.Option("--seed", help="Each training seed.", min=0)],
) -> None:
    """Judge one run by exact best-of-n on every policy and benchmark."""
    from pqm import formats
    from pqm.config import EvaluationConfig, RunConfig, load
    from pqm.evaluate import run_metrics

    frame = run_metrics(config.stem, load(RunConfig, config), load(EvaluationConfig, evaluation), seeds, grades, scores)
    formats.write(frame, formats.METRICS, output)


@evaluate_app.command()
def references(
    evaluation: Annotated[Path, typer.Argument(help="What is judged, and how.")],
    output: Output,
    grades: Annotated[Path, typer.Option(help="Folder of {policy}/{benchmark}.parquet.")],
    rollouts: Annotated[Path, typer.Option(help="Folder of {policy}/{benchmark}.parquet.")],
    scores: Annotated[Path, typer.Option(help="Folder of {likelihood,proofreader}/{policy}/{benchmark}.parquet.")],
) -> None:
    """Judge what needs no reward model: chance, pass@n, self-consistency, likelihoods, the backbone's own mark."""
    from pqm import formats
    from pqm.config import EvaluationConfig, load
    from pqm.evaluate import reference_metrics

    formats.write(reference_metrics(load(EvaluationConfig, evaluation), grades, rollouts, scores), formats.METRICS, output)


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
    study: StudyFolder,
    data: DataFolder = Path("data"),
    results: ResultsFolder = Path("results"),
) -> None:
    """Make one table."""
    from pqm.paper.study import Study
    from pqm.paper.tables import make_table

    make_table(name, Study(study, data, results), caption, output)


@paper_app.command()
def headline(table: Annotated[Path, typer.Argument(help="The main table, CSV.")], output: Output) -> None:
    """Write the main table's accuracies at the largest n as JSON, for `dvc metrics`."""
    from pqm.paper.headline import write_headline

    write_headline(table, output)


@paper_app.command()
def figure(
    name: Annotated[str, typer.Argument(help="Which figure.")],
    output: Annotated[Path, typer.Option(help="Folder of {name}.svg, .png, .pdf and .csv.")],
    study: StudyFolder,
    data: DataFolder = Path("data"),
    results: ResultsFolder = Path("results"),
) -> None:
    """Draw one figure."""
    from pqm.paper.figures import draw_figure
    from pqm.paper.study import Study

    draw_figure(name, Study(study, data, results), output)


@paper_app.command()
def report(
    output: Annotated[Path, typer.Option(help="The page that is written.")],
    captions: Annotated[Path, typer.Option(help="Folder of {name}.rst.")],
    study: StudyFolder,
    data: DataFolder = Path("data"),
    results: ResultsFolder = Path("results"),
) -> None:
    """Write one self-contained page of all results, with some questions to look into and where each number comes from."""
    from pqm.paper.report import write_report
    from pqm.paper.study import Study

    write_report(Study(study, data, results), captions, output)


@paper_app.command()
def real_solutions(
    output: Annotated[Path, typer.Option(help="The CSV that is written.")],
    grades: Annotated[list[Path], typer.Option(help="Grade table of each model.")],
    solutions: Annotated[Path, typer.Option(help="GSM8K's file of example model solutions.")],
) -> None:
    """Put the published GSM8K solutions through majority vote and pass@n, and say how far the grades agree."""
    from pqm.paper.published import make_real_solutions

    make_real_solutions(grades, solutions, output)


@paper_app.command()
def real_disagreements(
    output: Annotated[Path, typer.Option(help="The CSV that is written.")],
    grades: Annotated[list[Path], typer.Option(help="Grade table of each model.")],
    questions: Annotated[Path, typer.Option(help="Question table of GSM8K's test set.")],
    solutions: Annotated[Path, typer.Option(help="GSM8K's file of example model solutions.")],
) -> None:
    """List the published GSM8K solutions on which the graders and the publishers differ, with who is right."""
    from pqm.paper.published import make_real_disagreements

    make_real_disagreements(grades, questions, solutions, output)


@paper_app.command()
def budget(study: StudyFolder) -> None:
    """Print what a study will cost: GPU hours and disk, from its settings and its assumptions.yaml."""
    from pqm.paper.budget import budget as reckon
    from pqm.paper.study import Study

    typer.echo(reckon(Study(study)))


@paper_app.command()
def times(benchmarks: Annotated[Path, typer.Argument(help="Folder of Snakemake's benchmark files.")]) -> None:
    """Print what each stage took."""
    from pqm.paper.cost import records, summary

    typer.echo(summary(records(benchmarks)).to_markdown(index=False, floatfmt=".0f"))


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
