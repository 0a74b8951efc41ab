# Models that sample (policies) and that reward models start from (backbones): trained here, or fetched.
include: "common.smk"


rule policies:
    input:
        expand("<data>/policies/{policy}", policy=STUDY.policies),
        expand("<data>/backbones/{backbone}", backbone=STUDY.backbones),


rule pretraining:
    input:
        questions=pretraining_questions,
        start=pretraining_start,
        code=code("pretraining"),
    output:
        made=directory("<data>/pretraining/{pretraining}"),
        record="<data>/pretraining/{pretraining}.record.json",
    log:
        "<logs>/policies/{pretraining}.log",
    benchmark:
        "<benchmarks>/policies/pretraining-{pretraining}.tsv"
    priority: 100  # the longest chain of jobs waits for it
    conda:
        "../../envs/pqm.yaml"
    threads: pretraining_threads
    resources:
        **asked("policies"),
    params:
        study=FROZEN,
        settings="pretraining.{pretraining}",
        questions=repeated("--questions", "questions"),
        start=repeated("--start", "start"),
    shell:
        on_devices(
            "pqm policies pretrain {params.study} {wildcards.pretraining} --output {output.made} {params.questions} {params.start}"
            " > {log} 2>&1"
        )


rule policy:
    input:
        pretraining=picked_pretraining("policies"),
        code=model_code("policies"),
    output:
        made=directory("<data>/policies/{policy}"),
        record="<data>/policies/{policy}.record.json",
    log:
        "<logs>/policies/policy-{policy}.log",
    benchmark:
        "<benchmarks>/policies/policy-{policy}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings="policies.{policy}",
        pretraining=repeated("--pretraining", "pretraining"),
    shell:
        recorded("pqm policies policy {params.study} {wildcards.policy} --output {output.made} {params.pretraining} > {log} 2>&1")


rule backbone:
    input:
        pretraining=picked_pretraining("backbones"),
        code=model_code("backbones"),
    output:
        made=directory("<data>/backbones/{backbone}"),
        record="<data>/backbones/{backbone}.record.json",
    log:
        "<logs>/policies/backbone-{backbone}.log",
    benchmark:
        "<benchmarks>/policies/backbone-{backbone}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings="backbones.{backbone}",
        pretraining=repeated("--pretraining", "pretraining"),
    shell:
        recorded(
            "pqm policies backbone {params.study} {wildcards.backbone} --output {output.made} {params.pretraining} > {log} 2>&1"
        )
