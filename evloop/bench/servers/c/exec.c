// SPDX-License-Identifier: Apache-2.0
//
// The floor for a program for each client: fork, exec of /bin/cat, and nothing
// else. In mode exec the program has the connection as 0 and 1, and this process
// forgets it. In mode exec-pipes the bytes go through this process, between two
// pipes, as far as the clients of the bench need it: what is read at once is
// written at once, and a write that does not fit ends the server. Children are
// reaped, so that the kernel adds their time to ours.

#define _GNU_SOURCE
#include "bench.h"
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

// What epoll_data points at: one of the descriptors of a client.
enum what { LISTENER, CHILDREN, CLIENT, OUTPUT };

struct client;
struct end {
	enum what what;
	int fd; // -1: closed
	struct client *of;
};

struct client {
	struct end client, output;
	int input; // -1: closed
};

static int ep;
static char buf[64 << 10];

static void watch(struct end *e)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = e};
	if (epoll_ctl(ep, EPOLL_CTL_ADD, e->fd, &ev) < 0)
		die("epoll_ctl");
}

static void run(int in, int out)
{
	char *argv[] = {"/bin/cat", NULL};
	sigset_t none;
	switch (fork()) {
	case -1:
		die("fork");
	case 0:
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		dup2(in, 0);
		dup2(out, 1);
		setpgid(0, 0);
		execv(argv[0], argv);
		_exit(127);
	}
}

static void accept_all(int fd, bool pipes)
{
	for (;;) {
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | (pipes ? SOCK_NONBLOCK : 0));
		if (c < 0)
			return;
		if (!pipes) {
			run(c, c);
			close(c);
			continue;
		}
		int in[2], out[2];
		if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
			die("pipe2");
		run(in[0], out[1]);
		close(in[0]);
		close(out[1]);
		struct client *cl = malloc(sizeof *cl);
		*cl = (struct client){{CLIENT, c, cl}, {OUTPUT, out[0], cl}, in[1]};
		fcntl(cl->input, F_SETFL, O_NONBLOCK);
		fcntl(cl->output.fd, F_SETFL, O_NONBLOCK);
		watch(&cl->client);
		watch(&cl->output);
	}
}

// copy passes on what has come, and reports whether there may be more.
static bool copy(struct end *from, int to)
{
	for (;;) {
		ssize_t n = read(from->fd, buf, sizeof buf);
		if (n == 0 || n < 0 && errno != EAGAIN)
			return false;
		if (n < 0)
			return true;
		if (to >= 0 && write(to, buf, n) != n && errno != EPIPE && errno != ECONNRESET)
			die("write");
		if (n < (ssize_t)sizeof buf && from->what == CLIENT)
			return true;
	}
}

static void serve(struct end *e, uint32_t events)
{
	struct client *cl = e->of;
	if (e->fd < 0)
		return;
	if (e->what == CLIENT) {
		if (copy(e, cl->input) && !(events & (EPOLLRDHUP | EPOLLHUP)))
			return;
		if (cl->input >= 0)
			close(cl->input);
		cl->input = -1;
		return;
	}
	if (copy(e, cl->client.fd))
		return;
	close(e->fd);
	e->fd = -1;
	if (cl->input >= 0)
		close(cl->input);
	cl->input = -1;
	close(cl->client.fd);
	cl->client.fd = -1;
}

// Clients with both ends closed are freed behind the events of the turn, of which
// there may be one for the other end.
static struct client *dead[64];
static int deads;

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	bool pipes = strcmp(argv[1], "exec-pipes") == 0;
	struct end listener = {LISTENER, open_listener(argv[2], argv[3]), NULL};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	struct end children = {CHILDREN, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), NULL};
	ep = epoll_create1(EPOLL_CLOEXEC);
	watch(&listener);
	watch(&children);
	for (;;) {
		struct epoll_event evs[64];
		int n = epoll_wait(ep, evs, 64, -1);
		for (int i = 0; i < n; i++) {
			struct end *e = evs[i].data.ptr;
			switch (e->what) {
			case LISTENER:
				accept_all(e->fd, pipes);
				break;
			case CHILDREN:
				while (read(e->fd, buf, sizeof buf) > 0)
					;
				while (waitpid(-1, NULL, WNOHANG) > 0)
					;
				break;
			default:
				serve(e, evs[i].events);
				if (e->what == OUTPUT && e->fd < 0)
					dead[deads++] = e->of;
			}
		}
		while (deads > 0)
			free(dead[--deads]);
	}
}
