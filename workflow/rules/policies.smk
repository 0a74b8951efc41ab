# Models that sample (policies) and that reward models start from (backbones), trained here.
include: "common.smk"


PICKING = {"policies": PolicyConfig, "backbones": BackboneConfig}


def pretraining_questions(wildcards):
    settings_ = settings(PretrainingConfig, "pretraining", wildcards.pretraining)
    user = f"{STUDY}/pretraining/{wildcards.pretraining}.yaml"
    datasets = dict.fromkeys([*settings_.excluded, settings_.validation])
    return [f"data/questions/{known('questions', dataset, user)}.parquet" for dataset in datasets]


def pretraining_start(wildcards):
    start = settings(PretrainingConfig, "pretraining", wildcards.pretraining).start
    user = f"{STUDY}/pretraining/{wildcards.pretraining}.yaml"
    return [f"data/pretraining/{known('pretraining', start, user)}"] if start else []


def picked_pretraining(kind):
    def folder(wildcards):
        name = wildcards[0]
        pretraining = settings(PICKING[kind], kind, name).pick.pretraining
        return f"data/pretraining/{known('pretraining', pretraining, f'{STUDY}/{kind}/{name}.yaml')}"

    return folder


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
    conda:
        "../../envs/pqm.yaml"
    params:
        questions=repeated("--questions", "questions"),
        start=repeated("--start", "start"),
    shell:
        "pqm policies pretrain {input.config} --output {output} {params.questions} {params.start} > {log} 2>&1"


rule policy:
    input:
        config=f"{STUDY}/policies/{{policy}}.yaml",
        pretraining=picked_pretraining("policies"),
        code=code("policies"),
    output:
        directory("data/policies/{policy}"),
    log:
        "logs/policies/policy-{policy}.log",
    benchmark:
        "results/benchmarks/policies/policy-{policy}.tsv"
    conda:
        "../../envs/pqm.yaml"
    shell:
        "pqm policies policy {input.config} --output {output} --pretraining {input.pretraining} > {log} 2>&1"


rule backbone:
    input:
        config=f"{STUDY}/backbones/{{backbone}}.yaml",
        pretraining=picked_pretraining("backbones"),
        code=code("policies"),
    output:
        directory("data/backbones/{backbone}"),
    log:
        "logs/policies/backbone-{backbone}.log",
    benchmark:
        "results/benchmarks/policies/backbone-{backbone}.tsv"
    conda:
        "../../envs/pqm.yaml"
    shell:
        "pqm policies backbone {input.config} --output {output} --pretraining {input.pretraining} > {log} 2>&1"
