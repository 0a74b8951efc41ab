# Grades of the test rollouts, step scores by every checkpoint, best-of-n.
include: "common.smk"


rule evaluate:
    input:
        expand("<results>/grades/{cell}.parquet", cell=[*CELLS, *PUBLISHED_CELLS]),
        expand("<results>/metrics/{run}.parquet", run=[*STUDY.runs, "references"] if EVALUATION else []),
        needed("annotated", annotated_runs()),


rule grades:
    input:
        questions="<data>/questions/{dataset}.parquet",
        rollouts="<data>/rollouts/{policy}/{dataset}.parquet",
        code=code("grades"),
    output:
        made="<results>/grades/{policy}/{dataset}.parquet",
        record="<results>/grades/{policy}/{dataset}.record.json",
    log:
        "<logs>/evaluate/grades/{policy}/{dataset}.log",
    benchmark:
        "<benchmarks>/evaluate/references/grades/{policy}/{dataset}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings="",
    shell:
        recorded(
            "pqm evaluate grades --output {output.made} --questions {input.questions} --rollouts {input.rollouts} > {log} 2>&1"
        )


# One job scores with all training seeds of a run: what solutions share is found once.
for run in STUDY.runs:

    rule:
        name:
            f"scores_{run}"
        input:
            **cell_inputs(cells_of(run)),
            checkpoints=[f"<results>/checkpoints/{run}/seed-{seed}" for seed in seeds(run)],
            code=code("scores"),
        output:
            made=[f"<results>/scores/{run}/seed-{seed}/{cell}.parquet" for seed in seeds(run) for cell in cells_of(run)],
            record=f"<results>/scores/{run}.record.json",
        log:
            f"<logs>/evaluate/scores-{run}.log",
        benchmark:
            f"<benchmarks>/evaluate/{run}/scores.tsv"
        conda:
            "../../envs/pqm.yaml"
        threads: EVALUATION.threads
        resources:
            **asked("evaluate"),
        params:
            study=FROZEN,
            settings="",
            questions=repeated("--questions", "questions"),
            rollouts=repeated("--rollouts", "rollouts"),
            outputs=score_outputs,
            tokens=EVALUATION.batch_tokens,
            threads=EVALUATION.threads,
            work=WORK,
        shell:
            on_devices(
                "pqm evaluate scores {input.checkpoints} {params.questions} {params.rollouts} {params.outputs}"
                " --batch-tokens {params.tokens} --threads {params.threads} --work {params.work} > {log} 2>&1"
            )


if EVALUATION:

    # Solutions whose first wrong step people marked.
    rule annotated_scores:
        input:
            checkpoint="<results>/checkpoints/{run}/seed-{seed}",
            solutions="<data>/annotated/{dataset}",
            code=code("scores"),
        output:
            made="<results>/scores/{run}/seed-{seed}/annotated/{dataset}.parquet",
            record="<results>/scores/{run}/seed-{seed}/annotated/{dataset}.record.json",
        log:
            "<logs>/evaluate/annotated-{run}-{seed}-{dataset}.log",
        benchmark:
            "<benchmarks>/evaluate/{run}/annotated-{seed}-{dataset}.tsv"
        conda:
            "../../envs/pqm.yaml"
        threads: EVALUATION.threads
        resources:
            **asked("evaluate"),
        params:
            study=FROZEN,
            settings="",
            tokens=EVALUATION.batch_tokens,
            threads=EVALUATION.threads,
            work=WORK,
        shell:
            on_devices(
                "pqm evaluate scores {input.checkpoint} --questions {input.solutions}/questions.parquet"
                " --rollouts {input.solutions}/rollouts.parquet --output {output.made} --batch-tokens {params.tokens}"
                " --threads {params.threads} --work {params.work} > {log} 2>&1"
            )

    # What the reference backbone says without any reward training: its likelihood, and its own mark.
    rule reference_scores:
        input:
            **cell_inputs(CELLS),
            backbone=f"<data>/backbones/{EVALUATION.reference_backbone}",
            code=code("scores"),
        output:
            made=[f"<results>/scores/references/{{kind}}/{cell}.parquet" for cell in CELLS],
            record="<results>/scores/references/{kind}.record.json",
        log:
            "<logs>/evaluate/scores-references-{kind}.log",
        benchmark:
            "<benchmarks>/evaluate/references/scores-{kind}.tsv"
        conda:
            "../../envs/pqm.yaml"
        threads: EVALUATION.threads
        resources:
            **asked("evaluate"),
        params:
            study=FROZEN,
            settings="",
            questions=repeated("--questions", "questions"),
            rollouts=repeated("--rollouts", "rollouts"),
            outputs=score_outputs,
            tokens=EVALUATION.batch_tokens,
            threads=EVALUATION.threads,
            work=WORK,
            how=lambda wildcards: {"likelihood": "model --kind likelihood", "proofreader": "proofreader"}[wildcards.kind],
        shell:
            on_devices(
                "pqm evaluate scores {input.backbone}/{params.how} {params.questions} {params.rollouts} {params.outputs}"
                " --batch-tokens {params.tokens} --threads {params.threads} --work {params.work} > {log} 2>&1"
            )

    rule metrics:
        input:
            grades=run_grades,
            scores=run_scores,
            code=code("metrics"),
        output:
            made="<results>/metrics/{run}.parquet",
            record="<results>/metrics/{run}.record.json",
        log:
            "<logs>/evaluate/metrics-{run}.log",
        benchmark:
            "<benchmarks>/evaluate/{run}/metrics.tsv"
        wildcard_constraints:
            run=r"(?!references[./])[\w-]+",
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=f"runs.{{run}} {JUDGED}",
            seeds=run_seeds,
            results=results_folder,
        shell:
            recorded(
                "pqm evaluate metrics {params.study} {wildcards.run} --output {output.made} --grades {params.results}/grades"
                " --scores {params.results}/scores/{wildcards.run} {params.seeds} > {log} 2>&1"
            )

    rule reference_metrics:
        input:
            grades=expand("<results>/grades/{cell}.parquet", cell=BENCHMARK_CELLS),
            rollouts=expand("<data>/rollouts/{cell}.parquet", cell=BENCHMARK_CELLS),
            scores=expand("<results>/scores/references/{kind}/{cell}.parquet", kind=EVALUATION.references, cell=BENCHMARK_CELLS),
            code=code("metrics"),
        output:
            made="<results>/metrics/references.parquet",
            record="<results>/metrics/references.record.json",
        log:
            "<logs>/evaluate/metrics-references.log",
        benchmark:
            "<benchmarks>/evaluate/references/metrics.tsv"
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=JUDGED,
            data=data_folder,
            results=results_folder,
        shell:
            recorded(
                "pqm evaluate references {params.study} --output {output.made} --grades {params.results}/grades --rollouts {params.data}/rollouts"
                " --scores {params.results}/scores/references > {log} 2>&1"
            )
