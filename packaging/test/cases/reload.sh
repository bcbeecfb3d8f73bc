# SPDX-License-Identifier: Apache-2.0
#
# `systemctl reload` and `penstock reload` put a good file in force without a
# new process and without ending a connection. A bad one fails with file, line
# and key, and the old configuration stays.
. ./assert.sh

held_open() { IFS= read -r -d . -t 5 -u 7 answer; is "$answer." "$1"; }
main_pid() { property penstock.service MainPID; }

claim "install" install_package
claim "answers" answers 1060
lookup other '"127.0.0.1:1062"'
claim "apply" penstock apply
claim "answers again" answers 1060
pid=$(main_pid)
exec 7<>/dev/tcp/127.0.0.1/1062
printf 'What?' >&7
claim "a connection to a service that does not change" held_open "other."

sed -i 's/Camelot/Caerleon/' $config
claim "systemctl reload" systemctl reload penstock.service
claim "the new answer" is "$(ask 1060 'What is your name?')" "My name is Sir Lancelot of Caerleon."
claim "the same process" is "$(main_pid)" "$pid"
printf 'And now?' >&7
claim "the connection goes on" held_open "other."
sed -i 's/Caerleon/Astolat/' $config
claim "penstock reload" penstock reload
claim "the newer answer" is "$(ask 1060 'What is your name?')" "My name is Sir Lancelot of Astolat."

sed -i 's/^default   .*/default   = 42/' $config
line=$(grep -n '^default   ' $config | cut -d: -f1)
denied "systemctl reload fails on a bad file" systemctl reload penstock.service
denied "penstock reload fails on a bad file" penstock reload
claim "the reason names file and line" eval "penstock reload 2>&1 | grep -F '$config:$line: service.lancelot.default'"
claim "the journal too" logged penstock "$config:$line"
claim "the old configuration is in force" is "$(ask 1060 'What is your name?')" "My name is Sir Lancelot of Astolat."
kill -HUP "$pid"
claim "after a bare SIGHUP the status says so" eventually 10 eval "property penstock.service StatusText | grep refused"
claim "still running" state_is penstock.service active
claim "the same process still" is "$(main_pid)" "$pid"

sed -i 's/^default   .*/default   = "Who?."/' $config
claim "reload of the mended file" systemctl reload penstock.service
claim "its answer" is "$(ask 1060 'Anything else?')" "Who?."
claim "a reload of a stopped service" eval "systemctl stop penstock.service; systemctl reload-or-try-restart penstock.service"
done_claiming
