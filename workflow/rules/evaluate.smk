# Grades of rollouts, step scores by every checkpoint, and best-of-n metrics.
include: "common.smk"


rule evaluate:
    input:
        PLAN.grades([*PLAN.cells(PLAN.scored), *PLAN.published_cells]),
        PLAN.all_metrics(),
        PLAN.needed("annotated", PLAN.annotated_runs()),


rule grades:
    input:
        questions=LAYOUT.questions("{dataset}"),
        rollouts=LAYOUT.rollouts("{policy}", "{dataset}"),
        code=code("grades"),
    output:
        made=LAYOUT.grades("{policy}", "{dataset}"),
        record=record(LAYOUT.grades("{policy}", "{dataset}")),
    log:
        "<logs>/evaluate/grades/{policy}/{dataset}.log",
    benchmark:
        benchmark_file("evaluate/references/grades/{policy}/{dataset}")
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings=[],
    shell:
        recorded(
            "pqm evaluate grades --output {output.made:q} --questions {input.questions:q} --rollouts {input.rollouts:q}"
            " > {log:q} 2>&1"
        )


# One job scores with all training seeds of a run, because the prefix trees of the solutions are built once.
for run in STUDY.runs:

    rule:
        name:
            f"scores_{run}"
        input:
            questions=[LAYOUT.questions(dataset) for _, dataset in PLAN.cells(PLAN.scored, run)],
            rollouts=PLAN.rollouts(PLAN.cells(PLAN.scored, run)),
            checkpoints=[LAYOUT.checkpoint(one) for one in PLAN.scorers(run)],
            code=code("scores"),
        output:
            made=PLAN.run_scores(run, PLAN.scored),
            record=f"{LAYOUT.folder('scores')}/{run}.record.json",
        log:
            f"<logs>/evaluate/scores-{run}.log",
        benchmark:
            benchmark_file(f"evaluate/{run}/scores")
        conda:
            "../../envs/pqm.yaml"
        threads: EVALUATION.threads
        resources:
            **asked("evaluate"),
        params:
            study=FROZEN,
            settings=["precision", "arithmetic"],
            questions=repeated("--questions", "questions"),
            rollouts=repeated("--rollouts", "rollouts"),
            outputs=score_outputs,
            tokens=EVALUATION.batch_tokens,
            threads=EVALUATION.threads,
            precision=STUDY.precision,
            cache=WORK,
        shell:
            on_devices(
                "pqm evaluate scores {input.checkpoints:q} {params.questions:q} {params.rollouts:q} {params.outputs:q}"
                " --batch-tokens {params.tokens:q} --threads {params.threads:q} --precision {params.precision:q}"
                " --cache {params.cache:q} > {log:q} 2>&1"
            )


if EVALUATION:

    # Solutions with a human-annotated first error.
    rule annotated_scores:
        input:
            checkpoint=LAYOUT.checkpoint(scorer("{run}", "{seed}")),
            solutions=LAYOUT.annotated("{dataset}"),
            code=code("scores"),
        output:
            made=LAYOUT.scores(scorer("{run}", "{seed}"), ANNOTATED, "{dataset}"),
            record=record(LAYOUT.scores(scorer("{run}", "{seed}"), ANNOTATED, "{dataset}")),
        log:
            "<logs>/evaluate/annotated-{run}-{seed}-{dataset}.log",
        benchmark:
            benchmark_file("evaluate/{run}/annotated-{seed}-{dataset}")
        conda:
            "../../envs/pqm.yaml"
        threads: EVALUATION.threads
        resources:
            **asked("evaluate"),
        params:
            study=FROZEN,
            settings=["precision", "arithmetic"],
            tokens=EVALUATION.batch_tokens,
            threads=EVALUATION.threads,
            precision=STUDY.precision,
            cache=WORK,
        shell:
            on_devices(
                "pqm evaluate scores {input.checkpoint:q} --questions {input.solutions:q}/questions.parquet"
                " --rollouts {input.solutions:q}/rollouts.parquet --output {output.made:q} --batch-tokens {params.tokens:q}"
                " --threads {params.threads:q} --precision {params.precision:q} --cache {params.cache:q} > {log:q} 2>&1"
            )

    # What the reference backbone gives without any reward training: its likelihood, and its step classifier.
    rule reference_scores:
        input:
            questions=[LAYOUT.questions(dataset) for _, dataset in PLAN.cells(PLAN.scored)],
            rollouts=PLAN.rollouts(PLAN.cells(PLAN.scored)),
            backbone=LAYOUT.backbone(EVALUATION.reference_backbone),
            code=code("scores"),
        output:
            made=[LAYOUT.scores(reference_scorer("{kind}"), *cell) for cell in PLAN.cells(PLAN.scored)],
            record=f"{LAYOUT.folder('scores')}/{REFERENCES}/{{kind}}.record.json",
        log:
            "<logs>/evaluate/scores-references-{kind}.log",
        benchmark:
            benchmark_file("evaluate/references/scores-{kind}")
        conda:
            "../../envs/pqm.yaml"
        threads: EVALUATION.threads
        resources:
            **asked("evaluate"),
        params:
            study=FROZEN,
            settings=["precision", "arithmetic"],
            questions=repeated("--questions", "questions"),
            rollouts=repeated("--rollouts", "rollouts"),
            outputs=score_outputs,
            tokens=EVALUATION.batch_tokens,
            threads=EVALUATION.threads,
            precision=STUDY.precision,
            cache=WORK,
            model=lambda wildcards: {"likelihood": "model", "step-classifier": "step-classifier"}[wildcards.kind],
            options=lambda wildcards: {"likelihood": ["--kind", "likelihood"], "step-classifier": []}[wildcards.kind],
        shell:
            on_devices(
                "pqm evaluate scores {input.backbone:q}/{params.model:q} {params.options:q} {params.questions:q}"
                " {params.rollouts:q} {params.outputs:q} --batch-tokens {params.tokens:q} --threads {params.threads:q}"
                " --precision {params.precision:q} --cache {params.cache:q} > {log:q} 2>&1"
            )

    # What metrics are made from: settings that only scoring needs are no part of them.
    METRICS_SETTINGS = ["evaluation,-batch_tokens,-threads,-annotated,-audit,-validation"]

    rule metrics:
        input:
            grades=lambda wildcards: PLAN.grades(PLAN.cells(PLAN.benchmarks, wildcards.run)),
            scores=lambda wildcards: PLAN.run_scores(wildcards.run, PLAN.benchmarks),
            code=lambda wildcards: code("metrics", PLAN.losses([wildcards.run])),
        output:
            made=LAYOUT.metrics("{run}"),
            record=record(LAYOUT.metrics("{run}")),
        log:
            "<logs>/evaluate/metrics-{run}.log",
        benchmark:
            benchmark_file("evaluate/{run}/metrics")
        wildcard_constraints:
            run=rf"(?!{REFERENCES}[./])[\w-]+",
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=["runs.{run}", *METRICS_SETTINGS],
            seeds=lambda wildcards: each("--seed", PLAN.seeds(wildcards.run)),
        shell:
            recorded(
                "pqm evaluate metrics {params.study:q} {wildcards.run:q} --output {output.made:q} {params.seeds:q} > {log:q} 2>&1"
            )

    rule reference_metrics:
        input:
            grades=PLAN.grades(PLAN.cells(PLAN.benchmarks)),
            rollouts=PLAN.rollouts(PLAN.cells(PLAN.benchmarks)),
            scores=[
                LAYOUT.scores(reference_scorer(kind), *cell)
                for kind in EVALUATION.references
                for cell in PLAN.cells(PLAN.benchmarks)
            ],
            code=code("metrics"),
        output:
            made=LAYOUT.metrics(REFERENCES),
            record=record(LAYOUT.metrics(REFERENCES)),
        log:
            "<logs>/evaluate/metrics-references.log",
        benchmark:
            benchmark_file("evaluate/references/metrics")
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=METRICS_SETTINGS,
        shell:
            recorded("pqm evaluate references {params.study:q} --output {output.made:q} > {log:q} 2>&1")
