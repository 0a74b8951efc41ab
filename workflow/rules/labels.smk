# Labels of steps: Monte Carlo ones of sampled solutions, or published ones.
include: "common.smk"


rule labels:
    input:
        expand("<data>/labels/{labels}.parquet", labels=STUDY.labels),


# The completer's server, where its settings name a command: another one than that of the rollouts, for these jobs wait for those.
rule labels_server:
    input:
        "<data>/policies/{policy}",
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
        "exec python -m pqm.devices {resources.gpu} pqm policies serve {input} --output {output} --end-with-parent > {log} 2>&1"


rule label_set:
    input:
        completer=label_inputs("completer"),
        questions=label_inputs("questions"),
        rollouts=label_inputs("rollouts"),
        server=label_inputs("server"),
        file=label_file,
        code=label_code,
    output:
        made="<data>/labels/{labels}.parquet",
        record="<data>/labels/{labels}.record.json",
    log:
        "<logs>/labels/{labels}.log",
    benchmark:
        "<benchmarks>/labels/{labels}.tsv"
    priority: 50  # the longest chain of jobs waits for it
    conda:
        "../../envs/pqm.yaml"
    threads: label_threads
    resources:
        **asked("labels") | {"gpu": label_gpus},
    params:
        study=FROZEN,
        settings="labels.{labels}",
        completer=repeated("--completer", "completer"),
        questions=repeated("--questions", "questions"),
        rollouts=repeated("--rollouts", "rollouts"),
        server=repeated("--server", "server"),
    shell:
        on_devices(
            "pqm labels {params.study} {wildcards.labels} --output {output.made} {params.completer} {params.questions} {params.rollouts}"
            " {params.server} > {log} 2>&1"
        )
