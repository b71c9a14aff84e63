#!/usr/bin/env bash
# Installs what the end-to-end tests need: real registries and real clients.
set -euo pipefail

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "test-deps installs Debian packages: run it as root on Debian" >&2
    exit 1
fi
packages=(
    apache2-utils   # htpasswd
    curl
    docker-registry # Distribution 2.8
    docker.io       # the docker command and its engine
    skopeo
)
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${packages[@]}"
