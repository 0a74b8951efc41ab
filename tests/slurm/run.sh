#!/usr/bin/env bash
# The tiny study on a real slurm: one node, two pretended GPUs, and training jobs that are stopped on the way.
# For Debian, as root (installs slurm-wlm and munge where they are missing), in an environment with the extra `workflow`.
# Its daemons end with it. A failed run leaves its folder, which it names; with that as argument the next one goes on there.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$(mktemp -d -t pqm-slurm.XXXXXX)}
echo "folder: $folder"

command -v slurmctld munged > /dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge > /dev/null
}

# ---- the cluster; its configuration must lie where slurm looks for it, for jobs inside jobs do not get SLURM_CONF
[ ! -e /etc/slurm/slurm.conf ] || { echo "/etc/slurm/slurm.conf: this machine has a slurm already"; exit 1; }
host=$(hostname -s)
mkdir -p /etc/slurm
mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
cat > "$folder/slurm.conf" <<END
ClusterName=pqm
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog=$folder/prolog.sh
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=120
SchedulerParameters=batch_sched_delay=0,sched_interval=2
MinJobAge=300
ReturnToService=2
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
printf 'Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n' > "$folder/gres.conf"
# Which job's task saw which GPU, from when on.
printf '#!/bin/sh\necho "$SLURM_JOB_ID ${CUDA_VISIBLE_DEVICES:-none}" >> %s/devices.txt\n' "$folder" > "$folder/prolog.sh"
chmod 755 "$folder" "$folder/prolog.sh"
dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
chmod 700 "$folder/munge"; chmod 600 "$folder/munge/key"

for name in slurm gres; do ln -s "$folder/$name.conf" /etc/slurm/$name.conf; done
stop() {
    rm -f /etc/slurm/slurm.conf /etc/slurm/gres.conf
    [ -z "${workflow:-}" ] || kill "$workflow" 2> /dev/null || true
    for name in slurmctld slurmd munged; do
        [ -f "$folder/$name.pid" ] && kill "$(cat "$folder/$name.pid")" 2> /dev/null || true
    done
}
trap stop EXIT
munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
slurmctld -i
slurmd
for _ in $(seq 30); do sinfo -h -o %t 2> /dev/null | grep -q idle && break; sleep 1; done
sinfo -o '%n %t %G'

# ---- the study, its trainings long enough to be stopped
project=$folder/pqm
mkdir -p "$project"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | grep -zv '^results/.*/\|^docs/\|dvc.lock$' \
    | xargs -0 cp --parents --preserve=timestamps -t "$project")
cd "$project"
export PYTHONPATH=$project/src OMP_NUM_THREADS=1
echo "study: tiny" > params.yaml
sed -i 's/^  epochs: .*/  epochs: 100.0/; s/^  checkpoint_every: .*/  checkpoint_every: 200/' config/tiny/study.yaml
sed -i 's/^device: cpu/device: cuda/' config/tiny/study.yaml
printf '\nresources:\n  policies: {gpus: 0}\n  labels: {gpus: 0}\n  train: {memory_mb: 1000, minutes: 30}\n' >> config/tiny/study.yaml

begin=$SECONDS
snakemake --workflow-profile profiles/slurm results/tiny/tables/main.csv > "$folder/snakemake.log" 2>&1 &
workflow=$!

# Once a training has begun, one is told to end (as before a preemption) and one is put back into the queue by slurm.
job_of() { squeue -h -t R -o '%i %k' | grep "rule_reward_model.*$1" | cut -d' ' -f1 | head -1; }
log_of() { echo "logs/tiny/train/$1-seed-0.log"; }
for pair in 'bce scancel --signal=TERM' 'pqm-zeta4 scontrol requeue'; do
    read -r run how <<< "$pair"
    until grep -q step "$(log_of "$run")" 2> /dev/null; do kill -0 $workflow || { tail -50 "$folder/snakemake.log"; exit 1; }; sleep 1; done
    echo "$how $(job_of "$run") ($run)"
    $how "$(job_of "$run")"
done
wait $workflow || { tail -80 "$folder/snakemake.log"; exit 1; }
echo "$(grep -c '^\[ *[0-9]*/' "$folder/snakemake.log") jobs in $((SECONDS - begin)) s"

# ---- what must hold
for run in bce pqm-zeta4; do
    grep -h "continuing from step" "$(log_of $run)" || { echo "$run began anew"; exit 1; }
    pqm train config/tiny/study.yaml $run --output "$folder/whole/$run" --seed 0 --labels data/tiny/labels/train.parquet \
        --validation data/tiny/labels/validation.parquet --backbone data/tiny/backbones/error-detecting/model \
        --cache "$folder/work" 2> /dev/null
    cmp "$folder/whole/$run/model.safetensors" results/tiny/checkpoints/$run/seed-0/model.safetensors
    cmp "$folder/whole/$run/training.csv" results/tiny/checkpoints/$run/seed-0/training.csv
    echo "$run: stopped and gone on with, the same bytes as in one go"
done
echo "GPUs that the jobs saw: $(cut -d' ' -f2 "$folder/devices.txt" | sort | uniq -c | xargs)"
[ "$(cut -d' ' -f2 "$folder/devices.txt" | grep -c '^[01]$')" -gt 1 ] && grep -q ' 0$' "$folder/devices.txt" && grep -q ' 1$' "$folder/devices.txt"
stop
rm -rf "$folder"
