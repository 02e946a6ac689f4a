#!/usr/bin/env bash
# The test an image must pass: smoke.sh PLACE [COMMAND ...]
#   PLACE    a folder the image sees under the same path; a demo dataset and its results are left there
#   COMMAND  what comes before a command that is to be run in the image; nothing: run it here. For example
#     smoke.sh "$PWD/t" docker run --rm --network none --read-only --tmpfs /tmp -u "$(id -u)" -v "$PWD/t:$PWD/t" --entrypoint= IMAGE
#     smoke.sh "$PWD/t" apptainer exec --containall --net --network none -B "$PWD/t" bids_lfenhance.sif
set -euo pipefail

place=${1:?Expected a folder, found nothing; see the head of this file}
shift
enter=("$@")
mkdir -p "$place"

inside() { "${enter[@]}" "$@"; }
app() { inside bids_lfenhance "$place/bids" "$place/out" participant -w "$place/work" "$@"; }
passed() { echo "ok: $*"; }
failed() {
    echo "FAILED: $*" >&2
    exit 1
}

version=$(inside bids_lfenhance --version)
[[ $version =~ ^bids_lfenhance\ [0-9]+\.[0-9]+ ]] || failed "--version said '$version'"
passed "$version"

if [[ ${#enter[@]} -gt 0 ]]; then
    [[ $(inside id -u) != 0 ]] || failed "the image runs as root"
    if inside sh -c ': > /opt/bids_lfenhance/probe' 2> /dev/null; then failed "the app can be written to"; fi
    passed "no root, and the app cannot be written to"
fi

# shellcheck disable=SC2016  # expanded in the image
inside sh -c 'test -e "$1/bids/dataset_description.json" || python -m bids_lfenhance.simulators.demo "$1/bids"' sh "$place" \
    > "$place/demo.log" 2>&1 || failed "no demo dataset; see $place/demo.log"
subject=$(cd "$place/bids" && for folder in sub-*/ses-HFC; do echo "${folder%%/*}" && break; done)
passed "demo dataset, of which $subject is used"

if words=$(app --device cuda:99 --dry-run 2>&1); then failed "--device cuda:99 was accepted"; fi
[[ $words == *"Expected"*"GPU"* ]] || failed "--device cuda:99 said '$words'"
passed "GPU preflight: ${words##*error: }"

words=$(app --dry-run --participant-label "$subject") || failed "--dry-run: $words"
[[ ! -e $place/out/dataset_description.json ]] || failed "--dry-run wrote something"
passed "dry run"

seconds=$SECONDS
app --sloppy --method interp --participant-label "$subject" > "$place/run.log" 2>&1 || failed "see $place/run.log"
grep -q "Everything asked for is on disk" "$place/run.log" || failed "no summary in $place/run.log"
[[ -s $place/out/$subject.html ]] || failed "no report"
passed "$subject with --sloppy in $((SECONDS - seconds)) s"
