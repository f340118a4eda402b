#!/bin/sh
# Install the programs that only the tests need, where they are missing and we may: as root, on a system with apt-get.
set -eu

missing=
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    missing="$missing chromium"
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v rabbitmq-server >/dev/null || [ -x /usr/sbin/rabbitmq-server ] || missing="$missing rabbitmq-server"
command -v faketime >/dev/null || missing="$missing faketime"

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing$missing ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of package names
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Not installed:$missing. The tests that need them will be skipped; to run them: apt install$missing" >&2
fi
