// SPDX-License-Identifier: Apache-2.0
//
// What every C peer needs before its loop: a listening socket as the bench asks
// for it, and the table of mode ask. The loops themselves share nothing, so
// that each reads like a program of its own.
//
// Called as: PROGRAM MODE NETWORK ADDRESS, for example "echo tcp 127.0.0.1:7".

#ifndef BENCH_H
#define BENCH_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum mode { MODE_ECHO, MODE_ASK, MODE_ROOM };

static const char *const mode_names[] = {"echo", "ask", "room"};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static enum mode parse_mode(const char *name)
{
	for (int i = 0; i < 3; i++)
		if (strcmp(name, mode_names[i]) == 0)
			return i;
	fprintf(stderr, "unknown mode %s\n", name);
	exit(2);
}

// open_listener returns a non-blocking listening socket: a new one, or the one
// that was handed over as descriptor 3 (sd_listen_fds(3)).
static int open_listener(const char *network, char *address)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un un;
	} to = {0};
	socklen_t len;
	struct rlimit files;
	int one = 1;

	if (getenv("LISTEN_FDS") != NULL) {
		fcntl(3, F_SETFL, fcntl(3, F_GETFL) | O_NONBLOCK);
		return 3;
	}
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (strcmp(network, "unix") == 0) {
		to.un.sun_family = AF_UNIX;
		strncpy(to.un.sun_path, address, sizeof to.un.sun_path - 1);
		len = sizeof to.un;
	} else {
		char *colon = strrchr(address, ':');
		if (colon == NULL)
			die("address without a port");
		*colon = '\0';
		to.in.sin_family = AF_INET;
		to.in.sin_port = htons((unsigned short)atoi(colon + 1));
		if (inet_pton(AF_INET, address, &to.in.sin_addr) != 1)
			die("inet_pton");
		len = sizeof to.in;
	}
	int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (to.any.sa_family == AF_INET) // accepted sockets inherit it
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (bind(fd, &to.any, len) < 0)
		die("bind");
	if (listen(fd, 4096) < 0)
		die("listen");
	return fd;
}

// The table of mode ask. A linear search over three keys is what a careful
// programmer writes for three keys.
static const struct {
	const char *question, *answer;
} table[] = {
	{"What is your name?", "My name is Sir Lancelot of Camelot."},
	{"What is your quest?", "To seek the Holy Grail."},
	{"What is your favorite color?", "Blue."},
};

#define UNKNOWN "Error: unknown question."

static inline const char *lookup(const char *question, size_t len, size_t *answer_len)
{
	const char *answer = UNKNOWN;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (strlen(table[i].question) == len && memcmp(table[i].question, question, len) == 0)
			answer = table[i].answer;
	*answer_len = strlen(answer);
	return answer;
}

#endif
