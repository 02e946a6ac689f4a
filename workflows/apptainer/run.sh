#!/usr/bin/env bash
# The app in its Apptainer image, with nothing of the host in it but the folders it is given.
#   run.sh IMAGE.sif BIDS_DIR OUT_DIR LEVEL [options ...]      WORK: folder for intermediate files (default: TMPDIR)
# Files and folders that options name (weights, a split, a filter) are seen inside under their own paths, read only.
# --nv is added where this machine has an NVIDIA driver. As the app of the SLURM recipes: LFENHANCE="run.sh IMAGE.sif".
set -euo pipefail

if (($# < 4)) || [[ ! -e $1 || ! -d $2 ]]; then
    echo "Expected IMAGE.sif BIDS_DIR OUT_DIR LEVEL, found '$*'; see the head of $0" >&2
    exit 2
fi
image=$1 bids=$(realpath "$2") out=$(realpath -m "$3") level=$4
shift 4
options=() named=()
while (($# > 0)); do # what the recipes give as -w must be seen inside, too
    case $1 in
        -w | --work-dir)
            (($# > 1)) || { echo "Expected a folder after $1, found nothing" >&2 && exit 2; }
            WORK=$2 && shift 2
            ;;
        --work-dir=*) WORK=${1#*=} && shift ;;
        --bids-database-dir | --bids-database-dir=*) # written to, so not as the others
            [[ $1 == *=* ]] || { shift && set -- "--bids-database-dir=${1:?Expected a folder after --bids-database-dir}" "${@:2}"; }
            index=${1#*=}
            mkdir -p "$index" && named+=(--bind "$(realpath "$index"):/index") && options+=(--bids-database-dir /index) && shift
            ;;
        *)
            word=$1 value=$1 && shift
            while [[ $value == *=* && ! -e $value ]]; do value=${value#*=}; done # --split=FILE, weights=FOLDER
            if [[ $value == */* || $value == *.* ]] && [[ -e $value ]]; then
                path=$(realpath "$value")
                named+=(--bind "$path:$path:ro")
                word=${word%"$value"}$path
            fi
            options+=("$word")
            ;;
    esac
done
work=$(realpath -m "${WORK:-${TMPDIR:-/tmp}/lfenhance-$(id -u)}")
mkdir -p "$out" "$work"

program=$(command -v apptainer || command -v singularity) || { echo "Expected apptainer, found none; load its module" >&2 && exit 2; }
flags=(--cleanenv --containall --bind "$bids:/data:ro" --bind "$out:/out" --bind "$work:/work" "${named[@]}")
[[ ! -e /dev/nvidiactl ]] || flags+=(--nv)
# --cleanenv takes the limits of the job away as well: what the app must know of them is given back.
for name in SLURM_CPUS_PER_TASK SLURM_CPUS_ON_NODE SLURM_MEM_PER_NODE SLURM_MEM_PER_CPU CUDA_VISIBLE_DEVICES; do
    [[ ! -v $name ]] || flags+=(--env "$name=${!name}")
done
[[ $level != participant && $level != train ]] || options=(-w /work "${options[@]}")
exec "$program" run "${flags[@]}" "$image" /data /out "$level" "${options[@]}"
