# SPDX-License-Identifier: Apache-2.0
# bash completion for penstock(8)

_penstock() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'run check units apply reload status list kick drain resume log-level top send watch tap metrics version help' -- "$current")
	elif [[ $previous == -c || $previous == -w || $previous == --socket ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		compopt -o filenames
	else
		case ${COMP_WORDS[1]} in
		check) mapfile -t COMPREPLY < <(compgen -W '-c -s -h' -- "$current") ;;
		reload) mapfile -t COMPREPLY < <(compgen -W '-c --socket -h' -- "$current") ;;
		run | units) mapfile -t COMPREPLY < <(compgen -W '-c -h' -- "$current") ;;
		apply) mapfile -t COMPREPLY < <(compgen -W '-k -n -h' -- "$current") ;;
		status) mapfile -t COMPREPLY < <(compgen -W '--socket --json -h' -- "$current") ;;
		list) mapfile -t COMPREPLY < <(compgen -W '--socket --sort --json -h' -- "$current") ;;
		drain) mapfile -t COMPREPLY < <(compgen -W '--socket --now -h' -- "$current") ;;
		log-level) mapfile -t COMPREPLY < <(compgen -W '--socket -h debug info warn error' -- "$current") ;;
		kick | resume | top | metrics) mapfile -t COMPREPLY < <(compgen -W '--socket -h' -- "$current") ;;
		send) mapfile -t COMPREPLY < <(compgen -W '--socket --name -h' -- "$current") ;;
		watch) mapfile -t COMPREPLY < <(compgen -W '--socket --level --json -h' -- "$current") ;;
		tap) mapfile -t COMPREPLY < <(compgen -W '--socket -x -w --json -h' -- "$current") ;;
		version) mapfile -t COMPREPLY < <(compgen -W '-h' -- "$current") ;;
		esac
	fi
}
complete -F _penstock penstock
