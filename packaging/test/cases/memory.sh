# SPDX-License-Identifier: Apache-2.0
#
# The ceiling of memory follows limits.memory: in the control group where there
# is a memory controller, and in the Go runtime where there is none, as on a
# Raspberry Pi as delivered.
. ./assert.sh

group=/sys/fs/cgroup/system.slice/penstock.service

claim "install" install_package
claim "answers" answers 1060
pid=$(property penstock.service MainPID)
if [ -e $group/memory.max ]; then
	total=$(awk '/^MemTotal:/ { print $2 * 1024 }' /proc/meminfo)
	claim "a limit in the control group" below "$(cat $group/memory.max)" $((total / 3))
	claim "of tasks as well" below "$(cat $group/pids.max)" 1000
else
	echo "     no memory controller here: the control group was not looked at"
fi
resident() { awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status"; }
# What the start alone has needed is given back a second later.
small() { below "$(resident)" 5121; }
claim "at most 5 MiB at rest" eventually 10 small
echo "     $(resident) KiB resident after one client"
claim "and after a reload" systemctl reload penstock.service
claim "as well" eventually 10 small
claim "no core files" is "$(awk '/^Max core/ { print $5 }' "/proc/$pid/limits")" 0
done_claiming
