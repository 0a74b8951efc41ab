# Reward models: one checkpoint for each run and seed.
include: "common.smk"


rule train:
    input:
        [f"results/checkpoints/{run}/seed-{seed}" for run in RUNS for seed in seeds(run)],


rule reward_model:
    input:
        config=f"{STUDY}/runs/{{run}}.yaml",
        training=f"{STUDY}/training.yaml",
        labels=run_input("labels"),
        validation=f"data/labels/{known('labels', TRAINING.validation, f'{STUDY}/training.yaml')}.parquet",
        backbone=run_input("backbone"),
        code=code("train"),
    output:
        directory("results/checkpoints/{run}/seed-{seed}"),
    log:
        "logs/train/{run}-seed-{seed}.log",
    benchmark:
        "results/benchmarks/train/{run}/seed-{seed}.tsv"
    conda:
        "../../envs/pqm.yaml"
    threads: TRAINING.threads
    resources:
        **asked("train"),
    params:
        launcher=launcher(),
    shell:
        "exec python -m pqm.devices {resources.gpu} {params.launcher} train {input.config} --output {output} --training {input.training}"
        " --seed {wildcards.seed} --labels {input.labels} --validation {input.validation} --backbone {input.backbone}/model > {log} 2>&1"
