// SPDX-License-Identifier: Apache-2.0
//
// The yardstick: one loop over epoll, as plain as a careful C programmer would
// write it for speed. Edge-triggered, one shared 64 KiB buffer, one read and
// one write for a message, a stop after a short read, EPOLLOUT only after a
// short write. It has no timers, limits or logs. Level-triggered was measured
// at 1.03 to 1.05 of this, so the harder opponent stands here.
//
//   echo   what comes goes back
//   ask    questions up to '?', answered from a table, all replies of one read
//          in one write
//   room   each line is written to everybody else by a write of its own

#include "bench.h"
#include <sys/epoll.h>

#define BUFFER (64 * 1024)
#define EVENTS 256

// A conn is found by its descriptor, so that epoll_data needs no pointer.
struct conn {
	bool open, armed;
	char *out; // what did not fit into the socket: [out+sent, out+len)
	size_t sent, len, cap;
	char *in; // the begin of a question or line
	size_t kept;
	int place; // in members
};

static struct conn *conns;
static size_t nconns;
static int ep, listener;
static enum mode mode;
static int *members, nmembers;
static char buffer[2 * BUFFER]; // [kept input | bytes just read]

static void close_conn(int fd)
{
	struct conn *c = &conns[fd];

	members[c->place] = members[--nmembers];
	conns[members[c->place]].place = c->place;
	free(c->out);
	free(c->in);
	*c = (struct conn){0};
	close(fd);
}

static void arm(int fd, bool out)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (out ? EPOLLOUT : 0), .data.fd = fd};

	conns[fd].armed = out;
	if (epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev) < 0)
		die("epoll_ctl");
}

// keep appends to the queue of bytes that could not be sent.
static void keep(struct conn *c, const char *p, size_t n)
{
	if (c->len + n > c->cap) {
		memmove(c->out, c->out + c->sent, c->len - c->sent);
		c->len -= c->sent;
		c->sent = 0;
		while (c->len + n > c->cap)
			c->cap = c->cap ? 2 * c->cap : BUFFER;
		c->out = realloc(c->out, c->cap);
		if (c->out == NULL)
			die("realloc");
	}
	memcpy(c->out + c->len, p, n);
	c->len += n;
}

// put sends now and keeps the rest. It returns false when the peer is gone.
static bool put(int fd, const char *p, size_t n)
{
	struct conn *c = &conns[fd];

	if (c->len > c->sent) {
		keep(c, p, n);
		return true;
	}
	ssize_t done = write(fd, p, n);
	if (done < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return false;
		done = 0;
	}
	if ((size_t)done < n) {
		keep(c, p + done, n - (size_t)done);
		arm(fd, true);
	}
	return true;
}

// flush sends what was kept, when there is room again.
static bool flush(int fd)
{
	struct conn *c = &conns[fd];

	while (c->sent < c->len) {
		ssize_t done = write(fd, c->out + c->sent, c->len - c->sent);
		if (done < 0)
			return errno == EAGAIN || errno == EINTR;
		c->sent += (size_t)done;
	}
	c->sent = c->len = 0;
	if (c->armed)
		arm(fd, false);
	return true;
}

// split calls each for every piece up to delimiter in what was kept from before
// and the n bytes just read, and keeps the rest.
static bool split(int fd, char delimiter, size_t n, bool each(int, const char *, size_t))
{
	struct conn *c = &conns[fd];
	char *p = buffer + BUFFER - c->kept, *end = buffer + BUFFER + n, *stop;
	bool ok = true;

	if (c->kept > 0)
		memcpy(p, c->in, c->kept);
	while (ok && (stop = memchr(p, delimiter, (size_t)(end - p))) != NULL) {
		ok = each(fd, p, (size_t)(stop + 1 - p));
		p = stop + 1;
	}
	c->kept = (size_t)(end - p);
	if (c->kept > 4096)
		return false;
	if (c->kept > 0) {
		if (c->in == NULL && (c->in = malloc(4096)) == NULL)
			die("malloc");
		memcpy(c->in, p, c->kept);
	}
	return ok;
}

static char replies[4 * BUFFER]; // twice what the table can need for one read; a flood of "?" ends its connection
static size_t nreplies;

static bool answer(int fd, const char *question, size_t n)
{
	size_t len;
	const char *text = lookup(question, n, &len);

	(void)fd;
	if (nreplies + len > sizeof replies)
		return false;
	memcpy(replies + nreplies, text, len);
	nreplies += len;
	return true;
}

static bool say(int fd, const char *line, size_t n)
{
	for (int i = nmembers - 1; i >= 0; i--) // downwards: close_conn fills the gap with the last
		if (members[i] != fd && !put(members[i], line, n))
			close_conn(members[i]);
	return true;
}

static bool serve(int fd, size_t n)
{
	switch (mode) {
	case MODE_ECHO:
		return put(fd, buffer + BUFFER, n);
	case MODE_ASK:
		nreplies = 0;
		return split(fd, '?', n, answer) && (nreplies == 0 || put(fd, replies, nreplies));
	case MODE_ROOM:
		return split(fd, '\n', n, say);
	}
	return false;
}

static bool readable(int fd)
{
	for (;;) {
		ssize_t n = read(fd, buffer + BUFFER, BUFFER);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0 || !serve(fd, (size_t)n))
			return false;
		if (n < BUFFER)
			return true; // drained; what comes later is a new edge
	}
}

static void accept_all(void)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
		if ((size_t)fd >= nconns) {
			close(fd);
			continue;
		}
		conns[fd] = (struct conn){.open = true, .place = nmembers};
		members[nmembers++] = fd;
		if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
			die("epoll_ctl");
	}
}

static void handle(int fd, unsigned events)
{
	if (fd == listener) {
		accept_all();
		return;
	}
	if (conns[fd].open && events & EPOLLOUT && !flush(fd))
		close_conn(fd);
	if (conns[fd].open && events & ~(unsigned)EPOLLOUT && !readable(fd))
		close_conn(fd);
}

int main(int argc, char **argv)
{
	static struct epoll_event events[EVENTS];
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	struct rlimit files;

	if (argc != 4) {
		fprintf(stderr, "usage: %s echo|ask|room tcp|unix ADDRESS\n", argv[0]);
		return 2;
	}
	mode = parse_mode(argv[1]);
	listener = open_listener(argv[2], argv[3]);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		die("epoll_create1");
	nconns = files.rlim_cur < 65536 ? files.rlim_cur : 65536;
	conns = calloc(nconns, sizeof *conns);
	members = calloc(nconns, sizeof *members);
	if (conns == NULL || members == NULL)
		die("calloc");
	ev.data.fd = listener;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev) < 0)
		die("epoll_ctl");
	for (;;) {
		int n = epoll_wait(ep, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			handle(events[i].data.fd, events[i].events);
	}
}
