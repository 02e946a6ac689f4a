#!/usr/bin/env bash
# A dataset of OpenNeuro, subject by subject: its images are fetched, enhanced, and dropped again.
#   run.sh DATASET OUT_DIR [options of bids_lfenhance ...]        for example: run.sh ds006557 out --method inr
# DATASET: an accession number, cloned into ./DATASET from SOURCE (default: https://github.com/OpenNeuroDatasets), or a
# folder that is a DataLad dataset already. Needs datalad and git-annex. SUBJECTS="sub-01 sub-02" takes only those.
set -euo pipefail

dataset=${1:?Expected DATASET OUT_DIR, found nothing} out=${2:?Expected OUT_DIR after DATASET, found nothing}
shift 2
read -ra app <<< "${LFENHANCE:-bids_lfenhance}"
[[ -d $dataset ]] || datalad clone "${SOURCE:-https://github.com/OpenNeuroDatasets}/$dataset.git" "$dataset"

worst=0
for folder in "$dataset"/sub-*/; do
    subject=$(basename "$folder")
    [[ -z ${SUBJECTS:-} || " $SUBJECTS " == *" $subject "* ]] || continue
    datalad get --dataset "$dataset" "$folder"
    code=0
    "${app[@]}" "$dataset" "$out" participant --participant-label "$subject" "$@" || code=$?
    datalad drop --dataset "$dataset" --reckless availability "$folder"
    ((code != 2 && code != 130)) || exit "$code" # a wrong option is wrong for every subject; Ctrl-C means all of them
    ((code == 3 || code <= worst)) || worst=$code # 3: a subject without low field, which is no fault
done
"${app[@]}" "$dataset" "$out" group || worst=1
exit "$worst"
