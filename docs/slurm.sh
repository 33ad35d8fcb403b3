#!/usr/bin/env bash
#SBATCH --job-name=liif
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
# Two minutes before the time limit, Slurm sends SIGUSR1 to this script. It tells the training to save and
# stop, and requeues the job. The same script then resumes the run, until it is finished.
#   sbatch docs/slurm.sh configs/rdn-liif.yaml
config=$1
shift

requeue() {
    kill -TERM "$training"
    wait "$training"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap requeue USR1

# One task per node; torchrun starts a process for each GPU of the node. With several nodes:
#   --nnodes "$SLURM_NNODES" --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint FIRST_NODE:29400
srun torchrun --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    scripts/train.py --config "$config" "$@" &
training=$!
wait "$training"
