# SPDX-License-Identifier: Apache-2.0
# fish completion for penstock(8)

complete -c penstock -f
complete -c penstock -n __fish_use_subcommand -a run -d 'serve in the foreground; without a file, a built-in example'
complete -c penstock -n __fish_use_subcommand -a check -d 'report every mistake in the configuration'
complete -c penstock -n __fish_use_subcommand -a units -d 'print the systemd units that the configuration makes'
complete -c penstock -n __fish_use_subcommand -a apply -d 'put the changed configuration in force, sockets included'
complete -c penstock -n __fish_use_subcommand -a reload -d 'have the running daemon read its files again'
complete -c penstock -n __fish_use_subcommand -a status -d 'say what is served, to whom, and what was refused'
complete -c penstock -n __fish_use_subcommand -a list -d 'list the clients'
complete -c penstock -n __fish_use_subcommand -a kick -d 'end connections'
complete -c penstock -n __fish_use_subcommand -a drain -d 'let no new client of a service in'
complete -c penstock -n __fish_use_subcommand -a resume -d 'let clients of it in again'
complete -c penstock -n __fish_use_subcommand -a log-level -d 'set what is logged, until the next start or reload'
complete -c penstock -n __fish_use_subcommand -a top -d 'show live what is served, and to whom'
complete -c penstock -n __fish_use_subcommand -a metrics -d 'print what is counted, for Prometheus'
complete -c penstock -n __fish_use_subcommand -a version -d 'print the version'
complete -c penstock -n '__fish_seen_subcommand_from run check units reload' -s c -r -F -d 'configuration file'
complete -c penstock -n '__fish_seen_subcommand_from check' -s s -d 'as the service sees it'
complete -c penstock -n '__fish_seen_subcommand_from apply' -s k -d 'close no port that is served'
complete -c penstock -n '__fish_seen_subcommand_from apply' -s n -d 'say what would be done'
complete -c penstock -n '__fish_seen_subcommand_from reload status list kick drain resume log-level top metrics' -l socket -r -F -d 'control socket'
complete -c penstock -n '__fish_seen_subcommand_from status list' -l json -d 'for programs'
complete -c penstock -n '__fish_seen_subcommand_from drain' -l now -d 'finish those that are there'
complete -c penstock -n '__fish_seen_subcommand_from log-level' -f -a 'debug info warn error'
complete -c penstock -n '__fish_seen_subcommand_from list' -l sort -r -a 'queued idle rate' -d 'what comes first'
complete -c penstock -n 'not __fish_use_subcommand' -s h -d usage
