#!/bin/sh
# The steps by which an image is made: the Dockerfile and the Apptainer definition run these same ones.
#   steps.sh system          Debian packages the app needs to run
#   steps.sh app SOURCE      the app in /opt/bids_lfenhance, from its source, with the versions of constraints.txt
#   steps.sh templates       templates into $TEMPLATEFLOW_HOME; TEMPLATES="" leaves them out, where there is no network
#   steps.sh check           the image can start, and holds what it promises
# TORCH_INDEX: package index for torch alone (the CPU build); empty: pip's own index, which has the CUDA build.
set -eu
export DEBIAN_FRONTEND=noninteractive

PREFIX=/opt/bids_lfenhance
SPACES="${TEMPLATES-MNI152NLin2009cAsym:res-1 MNI152NLin2009cAsym:res-2}"

system() {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3 ca-certificates
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
}

app() {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3-venv
    python3 -m venv "$PREFIX"
    pip="$PREFIX/bin/pip --no-cache-dir --disable-pip-version-check --quiet"
    torch=$(sed -n 's/^torch==/torch==/p' "$1/constraints.txt")
    if [ -n "${TORCH_INDEX:-}" ]; then
        $pip install --no-deps --index-url "$TORCH_INDEX" -c "$1/constraints.txt" "$torch"
    fi
    $pip install -c "$1/constraints.txt" "$torch" "$1"
    # headers for compiling against torch, and pip itself: nobody compiles or installs in a read-only image
    rm -rf "$PREFIX"/lib/python3*/site-packages/torch/include "$PREFIX"/share/man
    $pip uninstall -y pip
    mkdir -p /opt/templateflow /opt/weights
}

templates() {
    mkdir -p "$TEMPLATEFLOW_HOME"
    for space in $SPACES; do
        "$PREFIX/bin/python" -c 'import sys
from bids_lfenhance.imaging.spatial_normalisation import template_files
print("template", template_files(sys.argv[1]))' "$space"
    done
    chmod -R a+rX "$TEMPLATEFLOW_HOME"
}

check() {
    "$PREFIX/bin/bids_lfenhance" --version
    for level in participant group simulate train; do
        "$PREFIX/bin/bids_lfenhance" /nowhere /tmp/out "$level" --help > /dev/null
    done
    du -smc /usr /var "$PREFIX" "${TEMPLATEFLOW_HOME:-/opt/templateflow}" | tail -n 1 | sed 's/\t.*/ MB in all/'
}

case "${1:-}" in
    system | app | templates | check) "$@" ;;
    *)
        echo "Expected system, app SOURCE, templates or check, found '${1:-}'" >&2
        exit 2
        ;;
esac
