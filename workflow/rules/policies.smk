# Models that sample (policies) and that reward models start from (backbones): trained here, or fetched.
include: "common.smk"


rule policies:
    input:
        expand("data/policies/{policy}", policy=names("policies")),
        expand("data/backbones/{backbone}", backbone=names("backbones")),


rule pretraining:
    input:
        config=f"{STUDY}/pretraining/{{pretraining}}.yaml",
        questions=pretraining_questions,
        start=pretraining_start,
        code=code("pretraining"),
    output:
        directory("data/pretraining/{pretraining}"),
    log:
        "logs/policies/{pretraining}.log",
    benchmark:
        "results/benchmarks/policies/pretraining-{pretraining}.tsv"
    priority: 100  # the longest chain of jobs waits for it
    conda:
        "../../envs/pqm.yaml"
    threads: pretraining_threads
    resources:
        **asked("policies"),
    params:
        questions=repeated("--questions", "questions"),
        start=repeated("--start", "start"),
    shell:
        "exec python -m pqm.devices {resources.gpu} pqm policies pretrain {input.config} --output {output} {params.questions}"
        " {params.start} > {log} 2>&1"


rule policy:
    input:
        config=f"{STUDY}/policies/{{policy}}.yaml",
        pretraining=picked_pretraining("policies"),
        code=model_code("policies"),
    output:
        directory("data/policies/{policy}"),
    log:
        "logs/policies/policy-{policy}.log",
    benchmark:
        "results/benchmarks/policies/policy-{policy}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        pretraining=repeated("--pretraining", "pretraining"),
    shell:
        "pqm policies policy {input.config} --output {output} {params.pretraining} > {log} 2>&1"


rule backbone:
    input:
        config=f"{STUDY}/backbones/{{backbone}}.yaml",
        pretraining=picked_pretraining("backbones"),
        code=model_code("backbones"),
    output:
        directory("data/backbones/{backbone}"),
    log:
        "logs/policies/backbone-{backbone}.log",
    benchmark:
        "results/benchmarks/policies/backbone-{backbone}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        pretraining=repeated("--pretraining", "pretraining"),
    shell:
        "pqm policies backbone {input.config} --output {output} {params.pretraining} > {log} 2>&1"
