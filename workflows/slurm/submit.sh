#!/usr/bin/env bash
# A whole dataset on a cluster with SLURM: one array task per subject, then the group level.
#   submit.sh BIDS_DIR OUT_DIR [options of bids_lfenhance ...]
# The command that starts the app is $LFENHANCE (default: bids_lfenhance; a container: see ../apptainer/run.sh).
# Enhancement on a GPU: GPU=1, then options of sbatch such as --partition in SBATCH_GPU. Without, all goes to CPU nodes.
#   GPU=1 SBATCH_GPU="--partition=gpu" submit.sh data out --method cfm
#   SUBJECTS="01 02"  these alone (default: all)
#   WORK  folder of intermediate files, which a submission after a kill goes on from (default: TMPDIR of the node)
#   MAX_TASKS  tasks at once (default 50)    SBATCH_ALL  options of sbatch for every job, such as --account=x
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if (($# < 2)) || [[ ! -d $1 ]]; then
    echo "Expected BIDS_DIR OUT_DIR, found '$*'; see the head of $0" >&2
    exit 2
fi
bids=$(realpath "$1") out=$(realpath -m "$2")
shift 2
for word in "$@"; do # beside the label of each task it would have every task take them as well
    case $word in
        --participant-label* | --participant_label*)
            echo "Expected the subjects in SUBJECTS=\"01 02\", found $word; leave it out" >&2
            exit 2
            ;;
    esac
done
logs=$out/logs/slurm
mkdir -p "$logs"
list=$(mktemp "$logs/subjects-XXXXXX.txt") # of its own: another submission must not change what a waiting task is about
(cd "$bids" && for folder in sub-*/; do
    label=${folder%/} label=${label#sub-}
    [[ ! -d $folder ]] || [[ -n ${SUBJECTS:-} && " $SUBJECTS " != *" $label "* && " $SUBJECTS " != *" sub-$label "* ]] || echo "sub-$label"
done) > "$list"
count=$(wc -l < "$list")
((count > 0)) || { echo "Expected sub-* folders in $bids${SUBJECTS:+ of $SUBJECTS}, found none" >&2 && exit 2; }

read -ra all <<< "${SBATCH_ALL:-}"
read -ra gpu <<< "${SBATCH_GPU:-}"
one=(sbatch --parsable "${all[@]}" --array="1-$count%${MAX_TASKS:-50}" --output="$logs/%x-%A_%a.log")
# The graph of a subject is one: its enhancement takes the GPU, the rest the CPUs of the same task.
[[ -z ${GPU:-} ]] || one+=(--gpus-per-task=1 --ntasks=1 "${gpu[@]}")
array=$("${one[@]}" "$here/subject.sbatch" "$bids" "$out" "$list" "$@")
# afterany: the group level tells which subjects are incomplete, so it is run whatever became of them.
group=$(sbatch --parsable "${all[@]}" --output="$logs/%x-%j.log" --dependency="afterany:$array" "$here/group.sbatch" "$bids" "$out")
echo "subjects: job $array (1-$count), group: job $group, logs in $logs"
