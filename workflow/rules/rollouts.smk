# Solutions sampled by every policy, and published solutions.
include: "common.smk"


rule rollouts:
    input:
        PLAN.rollouts([*PLAN.sampled_cells, *PLAN.published_cells]),
        [LAYOUT.annotated(dataset) for dataset in STUDY.annotated],


# The server of a policy with a server command. Snakemake runs it together with the jobs that need it, and stops it after them.
rule rollouts_server:
    input:
        LAYOUT.policy("{policy}"),
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
        "exec python -m pqm.models.devices {resources.gpu:q} pqm policies serve {input:q} --output {output:q} --end-with-parent"
        " > {log:q} 2>&1"


rule sample:
    input:
        policy=LAYOUT.policy("{policy}"),
        questions=LAYOUT.questions("{dataset}"),
        server=lambda wildcards: started_server("rollouts", wildcards.policy),
        code=code("rollouts"),
    output:
        made=LAYOUT.rollouts("{policy}", "{dataset}"),
        record=record(LAYOUT.rollouts("{policy}", "{dataset}")),
    log:
        "<logs>/rollouts/{policy}/{dataset}.log",
    benchmark:
        benchmark_file("rollouts/{policy}/{dataset}")
    wildcard_constraints:
        policy=one_of(STUDY.policies),
    conda:
        "../../envs/pqm.yaml"
    # With a server, jobs request no threads and no GPUs, because they only wait for it. So Snakemake runs them all at once.
    threads: lambda wildcards, input: 0 if input.server else STUDY.rollouts[wildcards.dataset].threads
    resources:
        **asked("rollouts") | {"gpu": lambda wildcards, input: 0 if input.server else STUDY.gpus("rollouts")},
    params:
        study=FROZEN,
        settings=["rollouts.{dataset}", "precision", "arithmetic"],
        server=repeated("--server", "server"),
    shell:
        on_devices(
            "pqm rollouts sample {params.study:q} {wildcards.dataset:q} --output {output.made:q} --policy {input.policy:q}"
            " --questions {input.questions:q} {params.server:q} > {log:q} 2>&1"
        )


# Published model solutions, as rollouts.
rule published_rollouts:
    input:
        solutions=lambda wildcards: published_file(PLAN.solutions_of(wildcards.dataset)),
        questions=LAYOUT.questions("{dataset}"),
        code=code("solutions"),
    output:
        made=LAYOUT.rollouts("{policy}", "{dataset}"),
        record=record(LAYOUT.rollouts("{policy}", "{dataset}")),
    log:
        "<logs>/rollouts/{policy}/{dataset}.log",
    benchmark:
        benchmark_file("rollouts/{policy}/{dataset}")
    wildcard_constraints:
        policy=one_of(model for item in STUDY.solutions.values() for model in item.models),
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings=[],
    shell:
        recorded(
            "pqm rollouts published {input.solutions:q} --output {output.made:q} --questions {input.questions:q}"
            " --model {wildcards.policy:q} > {log:q} 2>&1"
        )


# Solutions with known first errors.
rule annotated:
    input:
        file=lambda wildcards: published_file(STUDY.annotated[wildcards.dataset]),
        questions=lambda wildcards: [LAYOUT.questions(name) for name in STUDY.annotated[wildcards.dataset].disjoint_from],
        code=code("annotated"),
    output:
        made=directory(LAYOUT.annotated("{dataset}")),
        record=record(LAYOUT.annotated("{dataset}")),
    log:
        "<logs>/rollouts/annotated/{dataset}.log",
    benchmark:
        benchmark_file("rollouts/annotated/{dataset}")
    conda:
        "../../envs/pqm.yaml"
    params:
        study=FROZEN,
        settings=["annotated.{dataset}"],
        questions=repeated("--questions", "questions"),
    shell:
        recorded(
            "pqm rollouts annotated {params.study:q} {wildcards.dataset:q} --output {output.made:q} {params.questions:q}"
            " > {log:q} 2>&1"
        )
