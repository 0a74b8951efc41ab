# Grades of the test rollouts, step scores by every checkpoint, best-of-n.
include: "common.smk"


rule evaluate:
    input:
        expand("results/metrics/{run}.parquet", run=RUNS),


rule references:
    input:
        "results/metrics/references.parquet",
        expand("results/grades/{cell}.parquet", cell=CELLS),


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
        "results/benchmarks/evaluate/references/grades/{policy}/{dataset}.tsv"
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


# One job scores with all training seeds of a run: what solutions share is found once.
for run in RUNS:

    rule:
        name:
            f"scores_{run}"
        input:
            **cell_inputs(cells_of(run)),
            checkpoints=[f"results/checkpoints/{run}/seed-{seed}" for seed in seeds(run)],
            code=code("scores"),
        output:
            [f"results/scores/{run}/seed-{seed}/{cell}.parquet" for seed in seeds(run) for cell in cells_of(run)],
        log:
            f"logs/evaluate/scores-{run}.log",
        benchmark:
            f"results/benchmarks/evaluate/{run}/scores.tsv"
        conda:
            "../../envs/pqm.yaml"
        threads: EVALUATION.threads
        resources:
            **asked("evaluate"),
        params:
            questions=repeated("--questions", "questions"),
            rollouts=repeated("--rollouts", "rollouts"),
            outputs=outputs,
            tokens=EVALUATION.batch_tokens,
            threads=EVALUATION.threads,
        shell:
            "exec python -m pqm.devices {resources.gpu} pqm evaluate scores {input.checkpoints} {params.questions} {params.rollouts}"
            " {params.outputs} --batch-tokens {params.tokens} --threads {params.threads} > {log} 2>&1"


# Solutions whose first wrong step people marked.
rule annotated_scores:
    input:
        checkpoint="results/checkpoints/{run}/seed-{seed}",
        solutions="data/real/annotated/{dataset}",
        code=code("scores"),
    output:
        "results/scores/{run}/seed-{seed}/annotated/{dataset}.parquet",
    log:
        "logs/evaluate/annotated-{run}-{seed}-{dataset}.log",
    benchmark:
        "results/benchmarks/evaluate/{run}/annotated-{seed}-{dataset}.tsv"
    conda:
        "../../envs/pqm.yaml"
    threads: EVALUATION.threads
    resources:
        **asked("evaluate"),
    params:
        tokens=EVALUATION.batch_tokens,
        threads=EVALUATION.threads,
    shell:
        "exec python -m pqm.devices {resources.gpu} pqm evaluate scores {input.checkpoint} --questions {input.solutions}/questions.parquet"
        " --rollouts {input.solutions}/rollouts.parquet --output {output} --batch-tokens {params.tokens} --threads {params.threads}"
        " > {log} 2>&1"


# What the reference backbone says without any reward training: its likelihood, and its own mark.
rule reference_scores:
    input:
        **cell_inputs(CELLS),
        backbone=f"data/backbones/{known('backbones', EVALUATION.reference_backbone, f'{STUDY}/evaluation.yaml')}",
        code=code("scores"),
    output:
        [f"results/scores/references/{{kind}}/{cell}.parquet" for cell in CELLS],
    log:
        "logs/evaluate/scores-references-{kind}.log",
    benchmark:
        "results/benchmarks/evaluate/references/scores-{kind}.tsv"
    conda:
        "../../envs/pqm.yaml"
    threads: EVALUATION.threads
    resources:
        **asked("evaluate"),
    params:
        questions=repeated("--questions", "questions"),
        rollouts=repeated("--rollouts", "rollouts"),
        outputs=outputs,
        tokens=EVALUATION.batch_tokens,
        threads=EVALUATION.threads,
        how=lambda wildcards: {"likelihood": "model --kind likelihood", "proofreader": "proofreader"}[wildcards.kind],
    shell:
        "exec python -m pqm.devices {resources.gpu} pqm evaluate scores {input.backbone}/{params.how} {params.questions}"
        " {params.rollouts} {params.outputs} --batch-tokens {params.tokens} --threads {params.threads} > {log} 2>&1"


rule metrics:
    input:
        config=f"{STUDY}/runs/{{run}}.yaml",
        evaluation=f"{STUDY}/evaluation.yaml",
        grades=run_grades,
        scores=run_scores,
        code=code("metrics"),
    output:
        "results/metrics/{run}.parquet",
    log:
        "logs/evaluate/metrics-{run}.log",
    benchmark:
        "results/benchmarks/evaluate/{run}/metrics.tsv"
    wildcard_constraints:
        run=r"(?!references[./])[\w-]+",
    conda:
        "../../envs/pqm.yaml"
    params:
        seeds=run_seeds,
    shell:
        "pqm evaluate metrics {input.config} --output {output} --evaluation {input.evaluation} --grades results/grades"
        " --scores results/scores/{wildcards.run} {params.seeds} > {log} 2>&1"


rule reference_metrics:
    input:
        evaluation=f"{STUDY}/evaluation.yaml",
        grades=expand("results/grades/{cell}.parquet", cell=BENCHMARK_CELLS),
        rollouts=expand("data/rollouts/{cell}.parquet", cell=BENCHMARK_CELLS),
        scores=expand("results/scores/references/{kind}/{cell}.parquet", kind=EVALUATION.references, cell=BENCHMARK_CELLS),
        code=code("metrics"),
    output:
        "results/metrics/references.parquet",
    log:
        "logs/evaluate/metrics-references.log",
    benchmark:
        "results/benchmarks/evaluate/references/metrics.tsv"
    conda:
        "../../envs/pqm.yaml"
    shell:
        "pqm evaluate references {input.evaluation} --output {output} --grades results/grades --rollouts data/rollouts"
        " --scores results/scores/references > {log} 2>&1"
