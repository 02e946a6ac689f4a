#!/usr/bin/env bash
# make container: builds the image with what this machine has and puts it to the smoke test.
#   build.sh [cpu|cuda] [FOLDER]
# docker or podman take their base from a registry. Without them, or with BASE=debootstrap, the same Dockerfile is built
# by buildah in a chroot on a Debian that debootstrap makes: no registry, no daemon, no namespaces (root is needed).
# Passed on if set: TORCH_INDEX, TEMPLATES, PIP_FIND_LINKS (a folder of wheels), PIP_CERT (a file), TAG.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

variant=${1:-cpu}
folder=$(realpath -m "${2:-build/container}")
tag=${TAG:-bids_lfenhance:$variant}
case $variant in
    cpu) TORCH_INDEX=${TORCH_INDEX-https://download.pytorch.org/whl/cpu} ;;
    cuda) TORCH_INDEX="" ;;
    *) echo "Expected cpu or cuda, found '$variant'" >&2 && exit 2 ;;
esac
arguments=(--build-arg "TORCH_INDEX=$TORCH_INDEX" --build-arg "TAG=$tag" -f containers/Dockerfile -t "$tag")
[[ ! -v TEMPLATES ]] || arguments+=(--build-arg "TEMPLATES=$TEMPLATES")
mkdir -p "$folder"

engine=""
if [[ ${BASE:-} != debootstrap ]]; then
    for found in docker podman; do # a docker whose daemon does not run is no docker
        if "$found" info > /dev/null 2>&1; then engine=$found && break; fi
    done
fi
if [[ -n $engine ]]; then
    "$engine" build "${arguments[@]}" .
    "$engine" image inspect --format 'size {{.Size}} bytes' "$tag"
    mkdir -p "$folder/smoke" && chmod a+rwx "$folder/smoke"
    exec containers/smoke.sh "$folder/smoke" "$engine" run --rm --network none --read-only --tmpfs /tmp \
        -v "$folder/smoke:$folder/smoke" --entrypoint= "$tag"
fi

for program in buildah debootstrap; do
    command -v "$program" > /dev/null || { echo "Expected docker, podman or $program, found none that answers (apt install buildah debootstrap)" >&2 && exit 2; }
done
buildah() { command buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver vfs "$@"; }
base=localhost/bookworm
if ! buildah inspect --type image "$base" > /dev/null 2>&1; then
    rm -rf "$folder/rootfs"
    debootstrap --variant=minbase bookworm "$folder/rootfs" http://deb.debian.org/debian > "$folder/debootstrap.log"
    container=$(buildah from scratch)
    buildah add -q "$container" "$folder/rootfs" /
    buildah commit -q --rm "$container" "$base"
    rm -rf "$folder/rootfs"
fi
volumes=()
for given in PIP_FIND_LINKS PIP_CERT; do
    [[ ! -v $given ]] || volumes+=(--volume "${!given}:/site/$given:ro" --build-arg "$given=/site/$given")
done
SECONDS=0
buildah build --isolation chroot --build-arg "BASE=$base" "${volumes[@]}" "${arguments[@]}" .
echo "built in $SECONDS s"
container=$(buildah from --pull-never "$tag")
trap 'buildah rm "$container" > /dev/null' EXIT
root=$(buildah mount "$container")
du -sm "$root" | cut -f 1 | sed 's/$/ MB in the image/'
settings=$(buildah inspect --format '{{range .OCIv1.Config.Env}}{{printf "%q " .}}{{end}}' "$container")
place=$folder/smoke
mkdir -p "$place" "$root$place" && chmod a+rwx "$place"
# What docker's --read-only --network none --tmpfs /tmp do, by hand: no interface at all, and a root nobody can write to.
cat > "$folder/enter" << END
#!/bin/sh
[ "\$INSIDE" ] || INSIDE=1 exec unshare --mount --net --pid --fork "\$0" "\$@"
set -e
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp" && mkdir -p "$root$place" && mount --bind "$place" "$root$place"
exec chroot --userspec=1000:1000 "$root" env -i HOME=/nonexistent $settings "\$@"
END
chmod +x "$folder/enter"
containers/smoke.sh "$place" "$folder/enter"
