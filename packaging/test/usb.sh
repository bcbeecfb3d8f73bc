#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usb.sh
#
# The cases about USB adapters, in an amd64 machine: its image costs a tenth of that of a
# foreign architecture, and the drivers are the same. Where QEMU for it is missing they are
# skipped, and that is said: the emulator of the board is another one.
set -eu
for command in qemu-system-x86_64 mmdebstrap; do
	command -v "$command" >/dev/null || {
		echo "skip usb-test: no $command (Debian packages: qemu-system-x86 mmdebstrap)"
		exit 0
	}
done
exec "$(dirname "$0")/boot.sh" usb amd64 bookworm
