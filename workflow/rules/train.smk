# Reward models: one checkpoint for each run and seed.
include: "common.smk"


rule train:
    input:
        [f"<results>/checkpoints/{run}/seed-{seed}" for run in STUDY.runs for seed in seeds(run)],


if STUDY.training:

    rule reward_model:
        input:
            labels=run_input("labels"),
            validation=f"<data>/labels/{STUDY.training.validation}.parquet",
            backbone=run_input("backbone"),
            code=code("train"),
        output:
            made=directory("<results>/checkpoints/{run}/seed-{seed}"),
            record="<results>/checkpoints/{run}/seed-{seed}.record.json",
        log:
            "<logs>/train/{run}-seed-{seed}.log",
        benchmark:
            "<benchmarks>/train/{run}/seed-{seed}.tsv"
        conda:
            "../../envs/pqm.yaml"
        threads: STUDY.training.threads
        resources:
            **asked("train"),
        params:
            # Which policies a run judges, and which other seeds there are, is no part of a training.
            study=FROZEN,
            settings="runs.{run},-policies,-seeds training,-seeds,-checkpoint_every",
            launcher=launcher(),
        shell:
            on_devices(
                "{params.launcher} train {params.study} {wildcards.run} --output {output.made} --seed {wildcards.seed} --labels {input.labels}"
                " --validation {input.validation} --backbone {input.backbone}/model > {log} 2>&1"
            )
