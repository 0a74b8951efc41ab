# Policies (models that sample) and backbones (models that reward models start from): snapshots or pretrained models.
include: "common.smk"


rule policies:
    input:
        [LAYOUT.policy(policy) for policy in STUDY.policies],
        [LAYOUT.backbone(backbone) for backbone in STUDY.backbones],


rule pretraining:
    input:
        questions=lambda wildcards: PLAN.pretraining_questions(wildcards.pretraining),
        start=lambda wildcards: PLAN.pretraining_start(wildcards.pretraining),
        code=code("pretraining"),
    output:
        made=directory(LAYOUT.pretraining("{pretraining}")),
        record=record(LAYOUT.pretraining("{pretraining}")),
    log:
        "<logs>/policies/{pretraining}.log",
    benchmark:
        benchmark_file("policies/pretraining-{pretraining}")
    priority: 100  # on the longest chain of jobs
    conda:
        "../../envs/pqm.yaml"
    # Independent of the available cores, so that results do not change.
    threads: lambda wildcards: STUDY.pretraining[wildcards.pretraining].threads
    resources:
        **asked("policies"),
    params:
        study=FROZEN,
        settings=["pretraining.{pretraining}", "precision", "arithmetic"],
        questions=repeated("--questions", "questions"),
        start=repeated("--start", "start"),
    shell:
        on_devices(
            "pqm policies pretrain {params.study:q} {wildcards.pretraining:q} --output {output.made:q} {params.questions:q}"
            " {params.start:q} > {log:q} 2>&1"
        )


rule policy:
    input:
        pretraining=lambda wildcards: PLAN.picked_pretraining("policies", wildcards.policy),
        code=code("models"),
    output:
        made=directory(LAYOUT.policy("{policy}")),
        record=record(LAYOUT.policy("{policy}")),
    log:
        "<logs>/policies/policy-{policy}.log",
    benchmark:
        benchmark_file("policies/policy-{policy}")
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings=["policies.{policy}"],
        pretraining=repeated("--pretraining", "pretraining"),
    shell:
        recorded(
            "pqm policies policy {params.study:q} {wildcards.policy:q} --output {output.made:q} {params.pretraining:q}"
            " > {log:q} 2>&1"
        )


rule backbone:
    input:
        pretraining=lambda wildcards: PLAN.picked_pretraining("backbones", wildcards.backbone),
        code=code("models"),
    output:
        made=directory(LAYOUT.backbone("{backbone}")),
        record=record(LAYOUT.backbone("{backbone}")),
    log:
        "<logs>/policies/backbone-{backbone}.log",
    benchmark:
        benchmark_file("policies/backbone-{backbone}")
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings=["backbones.{backbone}"],
        pretraining=repeated("--pretraining", "pretraining"),
    shell:
        recorded(
            "pqm policies backbone {params.study:q} {wildcards.backbone:q} --output {output.made:q} {params.pretraining:q}"
            " > {log:q} 2>&1"
        )
