# Reward models: one checkpoint per run and seed.
include: "common.smk"


rule train:
    input:
        [LAYOUT.checkpoint(one) for run in STUDY.runs for one in PLAN.scorers(run)],


# A training runs in one process, or in the processes of an accelerate file, one per requested GPU.
ACCELERATE = STUDY.training.accelerate if STUDY.training else None
LAUNCHER = ["accelerate", "launch", "--config_file", ACCELERATE, "-m", "pqm.cli"] if ACCELERATE else ["pqm"]


if STUDY.training:

    rule learning_rate:
        input:
            labels=lambda wildcards: LAYOUT.labels(STUDY.runs[wildcards.run].labels),
            validation=LAYOUT.labels(STUDY.training.validation),
            backbone=lambda wildcards: LAYOUT.backbone(STUDY.runs[wildcards.run].backbone),
            code=lambda wildcards: code("learning_rate", PLAN.losses([wildcards.run])),
        output:
            made=LAYOUT.learning_rate("{run}"),
            record=record(LAYOUT.learning_rate("{run}")),
        log:
            "<logs>/train/{run}-learning-rate.log",
        benchmark:
            benchmark_file("train/{run}/learning-rate")
        conda:
            "../../envs/pqm.yaml"
        threads: STUDY.training.threads
        resources:
            **asked("train"),
        params:
            study=FROZEN,
            settings=["runs.{run},-policies,-seeds", "training,-checkpoint_every", "precision", "arithmetic"],
            launcher=LAUNCHER,
        shell:
            on_devices(
                "{params.launcher:q} learning-rate {params.study:q} {wildcards.run:q} --output {output.made:q}"
                " --labels {input.labels:q} --validation {input.validation:q} --backbone {input.backbone:q}/model > {log:q} 2>&1"
            )

    rule reward_model:
        input:
            rate=lambda wildcards: PLAN.learning_rate(wildcards.run),
            labels=lambda wildcards: LAYOUT.labels(STUDY.runs[wildcards.run].labels),
            validation=LAYOUT.labels(STUDY.training.validation),
            backbone=lambda wildcards: LAYOUT.backbone(STUDY.runs[wildcards.run].backbone),
            code=lambda wildcards: code("train", PLAN.losses([wildcards.run])),
        output:
            made=directory(LAYOUT.checkpoint(scorer("{run}", "{seed}"))),
            record=record(LAYOUT.checkpoint(scorer("{run}", "{seed}"))),
        log:
            "<logs>/train/{run}-seed-{seed}.log",
        benchmark:
            benchmark_file("train/{run}/seed-{seed}")
        conda:
            "../../envs/pqm.yaml"
        threads: STUDY.training.threads
        resources:
            **asked("train"),
        params:
            # A training does not depend on the run's policies and on its other seeds.
            study=FROZEN,
            settings=["runs.{run},-policies,-seeds", "training,-seeds,-checkpoint_every", "precision", "arithmetic"],
            rate=repeated("--learning-rate", "rate"),
            launcher=LAUNCHER,
        shell:
            on_devices(
                "{params.launcher:q} train {params.study:q} {wildcards.run:q} --output {output.made:q} --seed {wildcards.seed:q}"
                " {params.rate:q} --labels {input.labels:q} --validation {input.validation:q} --backbone {input.backbone:q}/model > {log:q} 2>&1"
            )
