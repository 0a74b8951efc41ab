# The results: one rule per table and figure, and targets for all of them.
include: "common.smk"


from pqm.workflow.captions import write_captions

RESULTS = PLAN.results
TABLES = [LAYOUT.table(name, ending) for name in RESULTS.tables for ending in ("csv", "md", "tex")]
FIGURES = [LAYOUT.figure(name, ending) for name in RESULTS.figures for ending in ("svg", "png", "pdf", "csv")]
HEADLINE = [LAYOUT.headline] if "main" in RESULTS.tables else []
OVERVIEW = [LAYOUT.overview] if TABLES or FIGURES else []
REPORT = [LAYOUT.report] if RESULTS.report else []
CAPTIONS = f"{WORK}/captions"
if workflow.is_main_process and not workflow.dryrun:
    write_captions(RESULTS, Path(CAPTIONS))


rule paper:
    input:
        TABLES,
        FIGURES,
        HEADLINE,
        OVERVIEW,
        REPORT,


# Targets for all tables or figures, also with the slash that shells append to folders.
for kind, files in (("tables", [*TABLES, *HEADLINE]), ("figures", FIGURES)):
    for name in (f"results/{kind}", f"results/{kind}/", f"results/{STUDY_NAME}/{kind}", f"results/{STUDY_NAME}/{kind}/"):

        rule:
            name:
                name
            input:
                files,


for result in RESULTS.tables:

    rule:
        name:
            f"table_{result}"
        input:
            files=lambda wildcards, result=result: PLAN.files_of("tables", result),
            code=result_code("tables", result, PLAN.losses(PLAN.runs_behind("tables", result))),
        output:
            report(
                LAYOUT.table(result, "csv"),
                caption=f"../../{CAPTIONS}/{result}.rst",
                category="Tables",
                labels={"result": result},
            ),
            LAYOUT.table(result, "md"),
            LAYOUT.table(result, "tex"),
            record=record(LAYOUT.table(result, "csv")),
        log:
            f"<logs>/paper/table-{result}.log",
        benchmark:
            benchmark_file(f"paper/table-{result}")
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=PLAN.settings_of("tables", result),
            name=result,
            folder=output_folder,
        shell:
            recorded("pqm paper table {params.name:q} --study {params.study:q} --output {params.folder:q} > {log:q} 2>&1")


for result in RESULTS.figures:

    rule:
        name:
            f"figure_{result}"
        input:
            files=lambda wildcards, result=result: PLAN.files_of("figures", result),
            code=result_code("figures", result, PLAN.losses(PLAN.runs_behind("figures", result))),
        output:
            report(
                LAYOUT.figure(result, "svg"),
                caption=f"../../{CAPTIONS}/{result}.rst",
                category="Figures",
                labels={"result": result},
            ),
            LAYOUT.figure(result, "png"),
            LAYOUT.figure(result, "pdf"),
            LAYOUT.figure(result, "csv"),
            record=record(LAYOUT.figure(result, "csv")),
        log:
            f"<logs>/paper/figure-{result}.log",
        benchmark:
            benchmark_file(f"paper/figure-{result}")
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=PLAN.settings_of("figures", result),
            name=result,
            folder=output_folder,
        shell:
            recorded("pqm paper figure {params.name:q} --study {params.study:q} --output {params.folder:q} > {log:q} 2>&1")


if HEADLINE:

    # The numbers that `dvc metrics` shows.
    rule headline:
        input:
            table=LAYOUT.table("main", "csv"),
            code=code("headline"),
        output:
            made=LAYOUT.headline,
            record=record(LAYOUT.headline),
        log:
            "<logs>/paper/headline.log",
        benchmark:
            benchmark_file("paper/headline")
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=[],
        shell:
            recorded("pqm paper headline {input.table:q} --output {output.made:q} > {log:q} 2>&1")


DECLARATIONS = sorted(
    {file for kind in ("tables", "figures") for name in getattr(RESULTS, kind) for file in result_code(kind, name, [])}
)


if OVERVIEW:

    # All figures and tables on one page, for browsing the repository.
    rule overview:
        input:
            TABLES,
            FIGURES,
            code=[*code("overview"), *DECLARATIONS],
        output:
            made=LAYOUT.overview,
            record=record(LAYOUT.overview),
        log:
            "<logs>/paper/overview.log",
        benchmark:
            benchmark_file("paper/overview")
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=["results.tables", "results.figures", "results.report"],
        shell:
            recorded("pqm paper overview --study {params.study:q} --output {output.made:q} > {log:q} 2>&1")


if REPORT:

    rule page:
        input:
            TABLES,
            FIGURES,
            files=PLAN.needed("scores", RESULTS.report),
            checkpoints=PLAN.needed("checkpoints", []),
            code=sorted({*code("report", PLAN.losses(RESULTS.report)), *DECLARATIONS}),
        output:
            made=LAYOUT.report,
            record=record(LAYOUT.report),
        log:
            "<logs>/paper/report.log",
        benchmark:
            benchmark_file("paper/report")
        conda:
            "../../envs/pqm.yaml"
        params:
            study=FROZEN,
            settings=["results", "runs", "evaluation", "training.seeds"],
        shell:
            recorded("pqm paper report --study {params.study:q} --output {output.made:q} > {log:q} 2>&1")
