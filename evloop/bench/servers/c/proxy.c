// SPDX-License-Identifier: Apache-2.0
//
// The floor for a relay: a connection to the backend for each client, and what comes
// on either goes out on the other. Bytes are copied through one shared 64 KiB buffer.
// What does not fit is kept, and its sender is not read until it has gone. The end of
// one direction is passed on, and a reset too. No timers, limits or logs, and one
// attempt to connect.
//
// Built under a name that ends in "-splice", a direction that has filled the buffer
// twice in a row goes on by splice(2) through a pipe, until a read is short. To splice
// always needs two calls and a pipe for a small message.
//
// The backend's address is in BENCH_BEHIND, as 127.0.0.1:7.

#include "bench.h"
#include <sys/epoll.h>

#define BUFFER (64 * 1024)
#define EVENTS 256
#define BULK 2 // full reads in a row before splice

// An end is one of the two connections of a pair. The bytes that it has sent are
// read from it and written to the other.
struct end {
	int fd;
	bool connecting;
	bool fin;  // will send no more, but there may be something to read
	bool over; // all was read, and passed on
	char *out; // what did not fit into this connection: [out+sent, out+len)
	size_t sent, len;
	int full;    // reads in a row that filled the buffer
	int pipe[2]; // of what this end has sent; pipe[0] is 0: none
	size_t held; // bytes in the pipe
	struct pair *pair;
};

struct pair {
	struct end client, backend;
	bool dead;
};

static int ep, listener;
static struct sockaddr_in behind;
static bool splices;
static char buffer[BUFFER];
static struct pair *dead[2 * EVENTS]; // freed behind the events of the turn
static int deads;

static struct end *other(struct end *e)
{
	return e == &e->pair->client ? &e->pair->backend : &e->pair->client;
}

static void drop_pipe(struct end *e)
{
	if (e->pipe[0] > 0) {
		close(e->pipe[0]);
		close(e->pipe[1]);
	}
	e->pipe[0] = e->pipe[1] = 0;
	e->held = 0;
}

static void close_pair(struct pair *p, bool reset)
{
	struct linger now = {.l_onoff = 1};

	for (int i = 0; i < 2; i++) {
		struct end *e = i ? &p->backend : &p->client;
		if (reset)
			setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
		drop_pipe(e);
		free(e->out);
		close(e->fd);
	}
	p->dead = true;
	dead[deads++] = p;
}

// push writes out what was kept for e and what is in the pipe to it. It returns false
// if the connection has failed, and sets *done if all has gone.
static bool push(struct end *e, bool *done)
{
	struct end *from = other(e);

	*done = false;
	while (e->sent < e->len) {
		ssize_t n = write(e->fd, e->out + e->sent, e->len - e->sent);
		if (n < 0)
			return errno == EAGAIN;
		e->sent += (size_t)n;
	}
	if (e->out != NULL) {
		free(e->out);
		e->out = NULL;
		e->sent = e->len = 0;
	}
	while (from->held > 0) {
		ssize_t n = splice(from->pipe[0], NULL, e->fd, NULL, from->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0)
			return errno == EAGAIN;
		from->held -= (size_t)n;
	}
	*done = true;
	return true;
}

static bool put(struct end *to, size_t n)
{
	ssize_t done = write(to->fd, buffer, n);

	if (done < 0 && errno != EAGAIN)
		return false;
	if (done < 0)
		done = 0;
	if ((size_t)done < n) {
		if ((to->out = malloc(n - (size_t)done)) == NULL)
			die("malloc");
		memcpy(to->out, buffer + done, n - (size_t)done);
		to->sent = 0;
		to->len = n - (size_t)done;
	}
	return true;
}

// take reads from e once, into the buffer or into its pipe.
static ssize_t take(struct end *e)
{
	if (splices && e->full >= BULK) {
		if (e->pipe[0] == 0 && pipe2(e->pipe, O_NONBLOCK | O_CLOEXEC) < 0)
			die("pipe2");
		ssize_t n = splice(e->fd, NULL, e->pipe[1], NULL, BUFFER, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n > 0)
			e->held = (size_t)n;
		return n;
	}
	return read(e->fd, buffer, BUFFER);
}

// pass moves what e has sent to the other end, as far as it goes. It returns false
// when the pair is over.
static bool pass(struct end *e)
{
	struct end *to = other(e);
	bool done;

	while (!e->over) {
		if (!push(to, &done))
			return false;
		if (!done)
			return true; // EPOLLOUT of the other end goes on
		ssize_t n = take(e);
		if (n < 0 && errno == EAGAIN) {
			e->full = 0;
			drop_pipe(e);
			return true;
		}
		if (n < 0)
			return false;
		if (n == 0) {
			e->over = true;
			shutdown(to->fd, SHUT_WR);
			break;
		}
		if (e->held == 0) {
			if (!put(to, (size_t)n))
				return false;
			e->full = n == BUFFER ? e->full + 1 : 0;
			if (n < BUFFER && !e->fin)
				return true; // drained; what comes later is a new edge
		}
	}
	return true;
}

static void finish(struct pair *p, bool ok)
{
	if (p->dead)
		return;
	if (!ok)
		close_pair(p, true);
	else if (p->client.over && p->backend.over)
		close_pair(p, false);
}

static void handle(struct end *e, unsigned events)
{
	struct pair *p = e->pair;

	if (p->dead)
		return;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		e->fin = true;
	if (p->backend.connecting) {
		int err = 0;
		socklen_t len = sizeof err;
		if (e == &p->client)
			return; // it is read when there is a backend
		getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		if (err != 0) {
			close_pair(p, false);
			return;
		}
		e->connecting = false;
		if (!pass(&p->client)) {
			finish(p, false);
			return;
		}
	}
	bool ok = true;
	if (events & EPOLLOUT && (other(e)->held > 0 || e->out != NULL))
		ok = pass(other(e));
	if (ok && events & ~(unsigned)EPOLLOUT)
		ok = pass(e);
	finish(p, ok);
}

static void watch(struct end *e)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = e};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, e->fd, &ev) < 0)
		die("epoll_ctl");
}

static void accept_all(void)
{
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct pair *p = calloc(1, sizeof *p);
		int b = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (p == NULL || b < 0)
			die("socket");
		setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		p->client = (struct end){.fd = fd, .pair = p};
		p->backend = (struct end){.fd = b, .pair = p};
		if (connect(b, (struct sockaddr *)&behind, sizeof behind) < 0) {
			if (errno != EINPROGRESS) {
				close(fd);
				close(b);
				free(p);
				continue;
			}
			p->backend.connecting = true;
		}
		watch(&p->client);
		watch(&p->backend);
	}
}

int main(int argc, char **argv)
{
	static struct epoll_event events[EVENTS];
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	char *to = getenv("BENCH_BEHIND"), *colon = to == NULL ? NULL : strrchr(to, ':');
	size_t name = strlen(argv[0]);

	if (argc != 4 || strcmp(argv[1], "proxy") != 0 || colon == NULL) {
		fprintf(stderr, "usage: BENCH_BEHIND=127.0.0.1:PORT %s proxy tcp|unix ADDRESS\n", argv[0]);
		return 2;
	}
	splices = name > 7 && strcmp(argv[0] + name - 7, "-splice") == 0;
	*colon = '\0';
	behind.sin_family = AF_INET;
	behind.sin_port = htons((unsigned short)atoi(colon + 1));
	if (inet_pton(AF_INET, to, &behind.sin_addr) != 1)
		die("inet_pton");
	listener = open_listener(argv[2], argv[3]);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) < 0) // data.ptr is NULL
		die("epoll_create1");
	for (;;) {
		int n = epoll_wait(ep, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				accept_all();
			else
				handle(events[i].data.ptr, events[i].events);
		}
		while (deads > 0)
			free(dead[--deads]);
	}
}
