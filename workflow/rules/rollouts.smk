# Solutions sampled by every policy.
include: "common.smk"


rule rollouts:
    input:
        sampled_rollouts(),
        expand("<data>/rollouts/{cell}.parquet", cell=PUBLISHED_CELLS),
        expand("<data>/annotated/{dataset}", dataset=STUDY.annotated),


# The server of a policy whose settings name a command: Snakemake runs it beside the jobs that need it, and stops it after them.
rule rollouts_server:
    input:
        "<data>/policies/{policy}",
    output:
        service("<work>/servers/rollouts-{policy}.json"),
    log:
        "<logs>/rollouts/server-{policy}.log",
    conda:
        "../../envs/pqm.yaml"
    resources:
        **asked("rollouts"),
        servers=1,
    shell:
        "exec python -m pqm.devices {resources.gpu} pqm policies serve {input} --output {output} --end-with-parent > {log} 2>&1"


rule sample:
    input:
        policy="<data>/policies/{policy}",
        questions="<data>/questions/{dataset}.parquet",
        server=server_of_rollouts,
        code=code("rollouts"),
    output:
        made="<data>/rollouts/{policy}/{dataset}.parquet",
        record="<data>/rollouts/{policy}/{dataset}.record.json",
    log:
        "<logs>/rollouts/{policy}/{dataset}.log",
    benchmark:
        "<benchmarks>/rollouts/{policy}/{dataset}.tsv"
    wildcard_constraints:
        policy=one_of(STUDY.policies),
    conda:
        "../../envs/pqm.yaml"
    threads: sampling_threads
    resources:
        **asked("rollouts") | {"gpu": sampling_gpus},
    params:
        study=FROZEN,
        settings="rollouts.{dataset}",
        server=repeated("--server", "server"),
    shell:
        on_devices(
            "pqm rollouts sample {params.study} {wildcards.dataset} --output {output.made} --policy {input.policy}"
            " --questions {input.questions} {params.server} > {log} 2>&1"
        )


# Solutions that others published, as rollouts of their models.
rule published_rollouts:
    input:
        solutions=lambda wildcards: source_file(STUDY.solutions[solutions_of(wildcards)]),
        questions="<data>/questions/{dataset}.parquet",
        code=code("solutions"),
    output:
        made="<data>/rollouts/{policy}/{dataset}.parquet",
        record="<data>/rollouts/{policy}/{dataset}.record.json",
    log:
        "<logs>/rollouts/{policy}/{dataset}.log",
    benchmark:
        "<benchmarks>/rollouts/{policy}/{dataset}.tsv"
    wildcard_constraints:
        policy=one_of(model for item in STUDY.solutions.values() for model in item.models),
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings="",
    shell:
        recorded(
            "pqm rollouts published {input.solutions} --output {output.made} --questions {input.questions}"
            " --model {wildcards.policy} > {log} 2>&1"
        )


# Solutions whose first wrong step people marked.
rule annotated:
    input:
        file=annotated_file,
        code=code("annotated"),
    output:
        made=directory("<data>/annotated/{dataset}"),
        record="<data>/annotated/{dataset}.record.json",
    log:
        "<logs>/rollouts/annotated/{dataset}.log",
    benchmark:
        "<benchmarks>/rollouts/annotated/{dataset}.tsv"
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings="annotated.{dataset}",
    shell:
        recorded("pqm rollouts annotated {params.study} {wildcards.dataset} --output {output.made} > {log} 2>&1")
