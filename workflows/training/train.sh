#!/usr/bin/env bash
# Training on the GPUs of this node, or of all nodes of a SLURM job, with the learning curve of one process.
#   train.sh DATASET OUT_DIR [options of the level train ...]     for example: train.sh data out --method pfsr --preset paper
#   sbatch --nodes=2 --gpus-per-node=4 --ntasks-per-node=1 --wrap "srun train.sh data out --method pfsr"
# PROCESSES: processes on each node (default: one for each GPU, at least one). TORCHRUN: how torchrun is started.
set -euo pipefail

dataset=${1:?Expected DATASET OUT_DIR, found nothing} out=${2:?Expected OUT_DIR after DATASET, found nothing}
shift 2
gpus=$({ nvidia-smi --list-gpus 2> /dev/null || true; } | wc -l)
processes=${PROCESSES:-$((gpus > 0 ? gpus : 1))}
read -ra torchrun <<< "${TORCHRUN:-torchrun}"

where=(--standalone)
if ((${SLURM_JOB_NUM_NODES:-1} > 1)); then
    first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
    where=(--nnodes "$SLURM_JOB_NUM_NODES" --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:29500")
fi
exec "${torchrun[@]}" "${where[@]}" --nproc-per-node "$processes" -m bids_lfenhance "$dataset" "$out" train "$@"
