#!/bin/sh
# What a Debian machine needs to run the demo, the tests, or those on arm64: `deploy/setup.sh demo|test|arm64`. Quick when all is there.
set -eu
cd "$(dirname "$0")/.."
want=${1:-demo}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
missing=
need() { # need PACKAGE: install it when $2 (a file pattern) matches nothing
    for file in $2; do [ -e "$file" ] && return; done
    missing="$missing $1"
}
need mosquitto '/usr/sbin/mosquitto /usr/local/sbin/mosquitto'
python=$(command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3 || true)
[ -n "$python" ] && "$python" -c 'import ensurepip, venv' 2>/dev/null || { need python3-venv /nowhere; python=python3; }
if [ "$want" = test ]; then
    need postgresql '/usr/lib/postgresql/*/bin/initdb'
    need nats-server '/usr/sbin/nats-server /usr/bin/nats-server' # a broker of three, for the tests of scale
    need gcc /usr/bin/gcc # builds the stand-in for the Edge TPU's library, and the recorder of what reaches the disk
    need libc6-dev /usr/include/stdio.h
    need chromium /usr/bin/chromium
    need chromium-driver /usr/bin/chromedriver
    need systemd '/usr/bin/systemd-analyze /bin/systemd-analyze'
fi
if [ "$want" = arm64 ]; then
    need qemu-user-static /usr/bin/qemu-aarch64-static
    need mmdebstrap /usr/bin/mmdebstrap
fi
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || { echo "setup: please install$missing" >&2; exit 2; }
    echo "setup: installing$missing"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of packages
    { as_root apt-get update -q && as_root apt-get install -y -q --no-install-recommends $missing; } >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; echo "setup: apt-get could not install$missing" >&2; exit 2; }
    rm -f "$log"
fi

stamp=.venv/installed
wanted=$(cat pyproject.toml constraints.txt deploy/setup.sh | cksum)
if [ "$(cat $stamp 2>/dev/null)" != "$wanted" ]; then
    echo "setup: installing Python packages into .venv (a minute or two, once)"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    pip() { .venv/bin/python -m pip --disable-pip-version-check -q "$@"; }
    pip install --no-deps -r constraints.txt
    pip install --no-deps -e .
    echo "$wanted" >$stamp
fi
