#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# peers.sh
#
# Programs that others have written, with penstock: pyserial, socat and gpsd on a bridge,
# curl, redis-cli and nc -N through a proxy, micro-httpd and busybox's httpd in an exec,
# HAProxy and stunnel in front, and promtool on the metrics. make test runs these tests too,
# and skips those whose program is missing. Here a skipped one is a failure: what is missing
# is installed first, which needs root and apt.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(python3-serial socat gpsd curl redis-tools netcat-openbsd busybox haproxy stunnel4 openssl)
missing=()
for package in "${packages[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} != 0 ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "peers.sh: missing packages of Debian: ${missing[*]}" >&2
		exit 1
	fi
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$work/apt" 2>&1 ||
		{ cat "$work/apt"; exit 1; }
fi
# Only unpacked: installed the one brings an inetd that listens, and the other a server.
(cd "$work" && chmod 0777 . && apt-get -qq download micro-httpd prometheus && for deb in ./*.deb; do dpkg -x "$deb" .; done)
export PATH=$work/usr/bin:$work/usr/sbin:$PATH

status=0
{
	go test ./daemon/internal/service -count=1 -v -run '^(TestPyserial|TestSocat$|TestGPSD$|TestExecThirdParty$)' || status=1
	go test ./daemon/internal/view -count=1 -v -run '^TestMetricsPromtool$' || status=1
	go test ./daemon -count=1 -v -run '^(TestProxyFor|TestBehind)' || status=1
} >"$work/out" 2>&1
grep -E '^ *--- |^(ok|FAIL)' "$work/out" || true
if [ $status != 0 ] || grep -q -- '--- SKIP' "$work/out"; then
	grep -vE '^ *(=== |--- PASS)' "$work/out"
	exit 1
fi
