#!/usr/bin/env bash
# Builds the new clients of docs/clients.md, which no Debian release has: several minutes.
set -euo pipefail

BUILDAH=1.42.0
CONTAINERD=2.4.2
DOCKER=29.9.3
MOBY=2.0.0-beta.24
PODMAN=5.8.0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || ! command -v go >/dev/null; then
    echo "record-deps needs Debian, root and Go, after make test-deps" >&2
    exit 1
fi
# For podman.
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends gcc libc6-dev

# build NAME MODULE@VERSION: the program ./cmd/ and NAME up to the first hyphen.
build() {
    [ ! -x "/usr/local/bin/$1" ] || return 0
    echo "Building $1 …"
    local name=$1 place module
    place=$(mktemp -d)
    # `go install` takes none of docker, podman and buildah.
    module=$(cd "$place" && go mod download -json "$2")
    cp -r "$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$module")" "$place/source"
    chmod -R u+w "$place/source"
    (
        cd "$place/source"
        if [ -e vendor.mod ]; then
            mv vendor.mod go.mod
            mv vendor.sum go.sum
            # It asks for 2.1.3, which the module proxy does not always have.
            go mod edit -replace github.com/moby/swarmkit/v2=github.com/moby/swarmkit/v2@v2.1.2
        fi
        go build -mod=mod -tags containers_image_openpgp,exclude_graphdriver_btrfs \
            -ldflags "-X github.com/docker/cli/cli/version.Version=$DOCKER" -o "$place/built" "./cmd/${name%%-*}"
    )
    install -m 0755 "$place/built" "/usr/local/bin/$1"
    rm -r "$place"
}
build "buildah-$BUILDAH" "github.com/containers/buildah@v$BUILDAH"
build "containerd-$CONTAINERD" "github.com/containerd/containerd/v2@v$CONTAINERD"
build "ctr-$CONTAINERD" "github.com/containerd/containerd/v2@v$CONTAINERD"
build docker-29 "github.com/docker/cli@v$DOCKER+incompatible"
build dockerd-29 "github.com/moby/moby/v2@v$MOBY"
build "podman-$PODMAN" "github.com/containers/podman/v5@v$PODMAN"
