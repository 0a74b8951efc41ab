# Grades of the test rollouts, step scores by every checkpoint, best-of-n.
include: "common.smk"


CELL_INPUT = {
    "questions": expand("data/questions/{cell}.parquet", cell=[cell.split("/")[1] for cell in CELLS]),
    "rollouts": expand("data/rollouts/{cell}.parquet", cell=CELLS),
}
CELL_OPTIONS = {"questions": repeated("--questions", "questions"), "rollouts": repeated("--rollouts", "rollouts")}


rule evaluate:
    input:
        expand("results/metrics/{run}.parquet", run=RUNS),


rule references:
    input:
        "results/metrics/references.parquet",


rule grades:
    input:
        questions="data/questions/{dataset}.parquet",
        rollouts="data/rollouts/{policy}/{dataset}.parquet",
        code=code("grades"),
    output:
        "results/grades/{policy}/{dataset}.parquet",
    log:
        "logs/evaluate/grades/{policy}/{dataset}.log",
    benchmark:
        "results/benchmarks/evaluate/grades-{policy}-{dataset}.tsv"
    conda:
        "../../envs/pqm.yaml"
    shell:
        "pqm evaluate grades --output {output} --questions {input.questions} --rollouts {input.rollouts} > {log} 2>&1"


use rule grades as published_grades with:
    input:
        questions="data/real/questions/{dataset}.parquet",
        rollouts="data/real/rollouts/{policy}/{dataset}.parquet",
        code=code("grades"),
    output:
        "data/real/grades/{policy}/{dataset}.parquet",
    log:
        "logs/evaluate/published/{policy}/{dataset}.log",
    benchmark:
        "results/benchmarks/published/grades-{policy}-{dataset}.tsv"


rule scores:
    input:
        **CELL_INPUT,
        checkpoint="results/checkpoints/{run}/seed-{seed}",
        code=code("scores"),
    output:
        [f"results/scores/{{run}}/seed-{{seed}}/{cell}.parquet" for cell in CELLS],
    log:
        "logs/evaluate/scores-{run}-seed-{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/scores-{run}-seed-{seed}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        **CELL_OPTIONS,
        outputs=outputs,
        tokens=EVALUATION.batch_tokens,
        threads=EVALUATION.threads,
    shell:
        "pqm evaluate scores {input.checkpoint} {params.questions} {params.rollouts} {params.outputs}"
        " --batch-tokens {params.tokens} --threads {params.threads} > {log} 2>&1"


# What the reference backbone says without any reward training: its likelihood, and its own mark.
rule reference_scores:
    input:
        **CELL_INPUT,
        backbone=f"data/backbones/{known('backbones', EVALUATION.reference_backbone, f'{STUDY}/evaluation.yaml')}",
        code=code("scores"),
    output:
        [f"results/scores/references/{{kind}}/{cell}.parquet" for cell in CELLS],
    log:
        "logs/evaluate/scores-references-{kind}.log",
    benchmark:
        "results/benchmarks/evaluate/scores-references-{kind}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        **CELL_OPTIONS,
        outputs=outputs,
        tokens=EVALUATION.batch_tokens,
        threads=EVALUATION.threads,
        how=lambda wildcards: {"likelihood": "model --kind likelihood", "proofreader": "proofreader"}[wildcards.kind],
    shell:
        "pqm evaluate scores {input.backbone}/{params.how} {params.questions} {params.rollouts} {params.outputs}"
        " --batch-tokens {params.tokens} --threads {params.threads} > {log} 2>&1"


rule metrics:
    input:
        config=f"{STUDY}/runs/{{run}}.yaml",
        evaluation=f"{STUDY}/evaluation.yaml",
        grades=expand("results/grades/{cell}.parquet", cell=CELLS),
        scores=[f"results/scores/{{run}}/seed-{seed}/{cell}.parquet" for seed in TRAINING.seeds for cell in CELLS],
        code=code("metrics"),
    output:
        "results/metrics/{run}.parquet",
    log:
        "logs/evaluate/metrics-{run}.log",
    benchmark:
        "results/benchmarks/evaluate/metrics-{run}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        seeds=" ".join(f"--seed {seed}" for seed in TRAINING.seeds),
    shell:
        "pqm evaluate metrics {input.config} --output {output} --evaluation {input.evaluation} --grades results/grades"
        " --scores results/scores/{wildcards.run} {params.seeds} > {log} 2>&1"


rule reference_metrics:
    input:
        evaluation=f"{STUDY}/evaluation.yaml",
        grades=expand("results/grades/{cell}.parquet", cell=CELLS),
        rollouts=CELL_INPUT["rollouts"],
        scores=expand("results/scores/references/{kind}/{cell}.parquet", kind=["likelihood", "proofreader"], cell=CELLS),
        code=code("metrics"),
    output:
        "results/metrics/references.parquet",
    log:
        "logs/evaluate/metrics-references.log",
    benchmark:
        "results/benchmarks/evaluate/metrics-references.tsv"
    conda:
        "../../envs/pqm.yaml"
    shell:
        "pqm evaluate references {input.evaluation} --output {output} --grades results/grades --rollouts data/rollouts"
        " --scores results/scores/references > {log} 2>&1"


ruleorder: reference_metrics > metrics
