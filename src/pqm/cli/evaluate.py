"""Verbs of `pqm evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from pqm.cli.options import DataFolder, Item, Output, ResultsFolder, StudyFile
from pqm.errors import PqmError
from pqm.study.layout import WORK

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Grade, score and evaluate solutions.")
Grades = Annotated[Path, typer.Option(help="Grade table.")]
Scores = Annotated[Path, typer.Option(help="Score table of the same samples.")]
Aggregation = Annotated[str, typer.Option(help="How step scores become the score of a solution, such as min or last.")]
Scale = Annotated[str | None, typer.Option(help="What the scores are, logit or probability; needed if all are between 0 and 1.")]
Sizes = Annotated[list[int], typer.Option(help="Sizes of best-of-n.", min=1)]


@app.command()
def grades(
    output: Output,
    questions: Annotated[Path, typer.Option(help="Question table.")],
    rollouts: Annotated[Path, typer.Option(help="Rollout table.")],
    threads: Annotated[int, typer.Option(help="Worker processes for the answers that need a parser.", min=1)] = 1,
) -> None:
    """Grade every sample."""
    from pqm.evaluate.grades import grade
    from pqm.io import formats

    formats.write(grade(questions, rollouts, threads), formats.GRADES, output)


@app.command()
def scores(
    checkpoints: Annotated[list[Path], typer.Argument(help="Reward models, or language models with --kind likelihood.")],
    questions: Annotated[list[Path], typer.Option(help="Question table of each cell.")],
    rollouts: Annotated[list[Path], typer.Option(help="Rollout table of each cell.")],
    output: Annotated[list[Path], typer.Option(help="Score table of each cell, checkpoint by checkpoint.")],
    kind: Annotated[str, typer.Option(help="reward or likelihood.")] = "reward",
    batch_tokens: Annotated[int, typer.Option(help="Tokens per batch.", min=1)] = 2048,
    threads: Annotated[int, typer.Option(help="Threads of the job.", min=1)] = 1,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    cache: Annotated[Path, typer.Option(help="Folder of the shard cache, from which an interrupted job resumes.")] = WORK,
) -> None:
    """Score the steps of one or more cells (policy x benchmark).

    The checkpoints share a tokenizer.
    """
    from pqm.evaluate.scores import Scorer, score
    from pqm.io import formats
    from pqm.io.shard_cache import ShardCache
    from pqm.models.placement import use_threads

    if kind not in ("reward", "likelihood"):
        raise PqmError(f"--kind {kind}: expected reward or likelihood")
    if precision not in ("fp32", "bf16"):
        raise PqmError(f"--precision {precision}: expected fp32 or bf16")
    if len(questions) != len(rollouts) or len(output) != len(rollouts) * len(checkpoints):
        raise PqmError(
            f"{len(checkpoints)} checkpoints, {len(questions)} --questions, {len(rollouts)} --rollouts, {len(output)} --output;"
            " expected one question table per rollout table, and one output per rollout table and checkpoint"
        )
    use_threads(threads)
    scorer = Scorer(checkpoints, kind, batch_tokens, precision)  # type: ignore[arg-type]
    for benchmark in dict.fromkeys(questions):
        cells = [index for index, path in enumerate(questions) if path == benchmark]
        sampled = [rollouts[index] for index in cells]
        folder = ShardCache(
            cache, "evaluate", output[cells[0]], [kind, str(batch_tokens), precision], [*checkpoints, benchmark, *sampled]
        )
        for by, tables in enumerate(score(scorer, benchmark, sampled, folder)):
            for index, part in zip(cells, tables):
                part.attrs["scale"] = "logit" if kind == "reward" else "log-likelihood"
                formats.write(part, formats.SCORES, output[by * len(rollouts) + index])
        folder.finish()


@app.command()
def metrics(
    study: StudyFile,
    item: Item,
    output: Output,
    seeds: Annotated[list[int], typer.Option("--seed", help="Each training seed.", min=0)],
    results: ResultsFolder = None,
) -> None:
    """Evaluate one run by exact best-of-n, on every cell.

    A cell is a policy and a benchmark.
    """
    from pqm.evaluate.metrics import run_metrics
    from pqm.io import formats
    from pqm.study.evaluation import EvaluationConfig
    from pqm.study.layout import Layout
    from pqm.study.reading import load_item, load_section
    from pqm.study.runs import RunConfig

    run, evaluation = load_item(study, "runs", item, RunConfig), load_section(study, "evaluation", EvaluationConfig)
    formats.write(run_metrics(item, run, evaluation, seeds, Layout.of_file(study, None, results)), formats.METRICS, output)


@app.command()
def references(study: StudyFile, output: Output, data: DataFolder = None, results: ResultsFolder = None) -> None:
    """Evaluate the references without a reward model.

    They are chance, pass@n, self-consistency, likelihoods, and the step classifier.
    """
    from pqm.evaluate.metrics import reference_metrics
    from pqm.io import formats
    from pqm.study.evaluation import EvaluationConfig
    from pqm.study.layout import Layout
    from pqm.study.reading import load_section

    evaluation = load_section(study, "evaluation", EvaluationConfig)
    formats.write(reference_metrics(evaluation, Layout.of_file(study, data, results)), formats.METRICS, output)


@app.command()
def first_errors(
    grades: Annotated[Path, typer.Option(help="Grade table with the true first errors.")],
    scores: Scores,
    validation_grades: Annotated[Path, typer.Option(help="Grade table for choosing the threshold.")],
    validation_scores: Annotated[Path, typer.Option(help="Score table of the same validation samples.")],
) -> None:
    """Print F1 of finding the first wrong step.

    F1 is that of ProcessBench, with a threshold chosen on validation data only.
    """
    from pqm.estimation.first_errors import judge_first_errors

    typer.echo(judge_first_errors(grades, scores, validation_grades, validation_scores))


@app.command()
def judge(
    grades: Grades,
    scores: Scores,
    aggregation: Aggregation = "min",
    n: Sizes = [1, 2, 4, 8, 16, 32, 64],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Seed of the random subsets for votes.", min=0)] = 0,
    scale: Scale = None,
) -> None:
    """Print exact best-of-n with intervals for any score table. This needs no model and no GPU."""
    from pqm.evaluate.judge import judge_scores

    typer.echo(judge_scores(grades, scores, aggregation, n, seed, scale).to_markdown(index=False, floatfmt=".4f"))


@app.command()
def official(
    grades: Grades,
    scores: Scores,
    aggregation: Aggregation = "min",
    n: Sizes = [8, 16, 32, 64, 128],  # noqa: B006
    scale: Scale = None,
) -> None:
    """Print best-of-n as measured by the paper's authors.

    It takes the first n samples in file order, by their grader's rules and ours.
    """
    from pqm.evaluate.official import official_table

    typer.echo(official_table(grades, scores, aggregation, n, scale).to_markdown(index=False, floatfmt=".4f"))


@app.command()
def convert(
    weights: Annotated[Path, typer.Argument(help="Weights in the authors' layout: a file, or a folder of shards.")],
    backbone: Annotated[Path, typer.Option(help="`transformers` folder of the authors' backbone.")],
    output: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    template: Annotated[
        str, typer.Option(help="Their question template: evaluation (used for their numbers) or training.")
    ] = "evaluation",
) -> None:
    """Convert a checkpoint of the paper's authors.

    The result is a checkpoint of this package, with the same scores.
    """
    from pqm.evaluate.conversion import convert as run

    run(weights, backbone, template, output)
