# Labels of steps: Monte Carlo labels of sampled solutions, or published labels.
include: "common.smk"


rule labels:
    input:
        [LAYOUT.labels(labels) for labels in STUDY.labels],


# The completer's server, if its settings have a command. The rollouts have another server, because label jobs wait for rollouts.
rule labels_server:
    input:
        LAYOUT.policy("{policy}"),
    output:
        service("<work>/servers/labels-{policy}.json"),
    log:
        "<logs>/labels/server-{policy}.log",
    conda:
        "../../envs/pqm.yaml"
    resources:
        **asked("labels"),
        servers=1,
    shell:
        "exec python -m pqm.models.devices {resources.gpu:q} pqm policies serve {input:q} --output {output:q} --end-with-parent"
        " > {log:q} 2>&1"


rule label_set:
    input:
        completer=lambda wildcards: PLAN.label_inputs(wildcards.labels).get("completer", []),
        questions=lambda wildcards: PLAN.label_inputs(wildcards.labels).get("questions", []),
        rollouts=lambda wildcards: PLAN.label_inputs(wildcards.labels).get("rollouts", []),
        annotated=lambda wildcards: PLAN.label_inputs(wildcards.labels).get("annotated", []),
        server=lambda wildcards: started_server("labels", PLAN.completer(wildcards.labels)),
        file=lambda wildcards: published_file(STUDY.labels[wildcards.labels]),
        code=lambda wildcards: code("labels" if PLAN.completer(wildcards.labels) else "published_labels"),
    output:
        made=LAYOUT.labels("{labels}"),
        record=record(LAYOUT.labels("{labels}")),
    log:
        "<logs>/labels/{labels}.log",
    benchmark:
        benchmark_file("labels/{labels}")
    priority: 50  # on the longest chain of jobs
    conda:
        "../../envs/pqm.yaml"
    threads: label_threads
    resources:
        **asked("labels") | {"gpu": label_gpus},
    params:
        study=FROZEN,
        settings=["labels.{labels}", "precision", "arithmetic"],
        completer=repeated("--completer", "completer"),
        questions=labelled("questions"),
        rollouts=labelled("rollouts"),
        server=repeated("--server", "server"),
    shell:
        on_devices(
            "pqm labels {params.study:q} {wildcards.labels:q} --output {output.made:q} {params.completer:q} {params.questions:q}"
            " {params.rollouts:q} {params.server:q} > {log:q} 2>&1"
        )
