// SPDX-License-Identifier: Apache-2.0
//
// The floor for a bridge: what one read of the device has brought goes to each client by
// a write of its own. What does not fit is kept for the client, and beyond a bound it
// loses what is new; the device is read all the same. What clients say is thrown away.
//
// The device is in BENCH_DEVICE.

#include "bench.h"
#include <sys/epoll.h>
#include <termios.h>

#define BUFFER (64 * 1024)
#define BOUND (256 * 1024) // kept for a client
#define EVENTS 256

struct conn {
	bool open;
	char *out; // what did not fit: [out+sent, out+len)
	size_t sent, len;
	int place; // in members
};

static struct conn *conns;
static size_t nconns;
static int ep, listener, device;
static int *members, nmembers;
static char buffer[BUFFER];

static void close_conn(int fd)
{
	struct conn *c = &conns[fd];

	members[c->place] = members[--nmembers];
	conns[members[c->place]].place = c->place;
	free(c->out);
	*c = (struct conn){0};
	close(fd);
}

// keep stores the rest for a client, if there is room for it.
static void keep(struct conn *c, const char *p, size_t n)
{
	if (c->out == NULL && (c->out = malloc(BOUND)) == NULL)
		die("malloc");
	if (c->len + n > BOUND) {
		memmove(c->out, c->out + c->sent, c->len - c->sent);
		c->len -= c->sent;
		c->sent = 0;
	}
	if (c->len + n > BOUND)
		return;
	memcpy(c->out + c->len, p, n);
	c->len += n;
}

static bool put(int fd, const char *p, size_t n)
{
	struct conn *c = &conns[fd];
	ssize_t done = 0;

	if (c->out == NULL) {
		done = write(fd, p, n);
		if (done < 0 && errno != EAGAIN)
			return false;
		if (done < 0)
			done = 0;
	}
	if ((size_t)done < n)
		keep(c, p + done, n - (size_t)done);
	return true;
}

static bool flush(int fd)
{
	struct conn *c = &conns[fd];

	while (c->sent < c->len) {
		ssize_t done = write(fd, c->out + c->sent, c->len - c->sent);
		if (done < 0)
			return errno == EAGAIN;
		c->sent += (size_t)done;
	}
	free(c->out);
	c->out = NULL;
	c->sent = c->len = 0;
	return true;
}

// read_device reads until there is no more: a terminal gives at most 4,095 bytes at once,
// and tells of the rest no second time.
static void read_device(void)
{
	ssize_t n;

	while ((n = read(device, buffer, sizeof buffer)) > 0)
		for (int i = nmembers - 1; i >= 0; i--) // downwards: close_conn fills the gap with the last
			if (!put(members[i], buffer, (size_t)n))
				close_conn(members[i]);
}

static bool readable(int fd)
{
	ssize_t n;

	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		;
	return n < 0 && errno == EAGAIN;
}

static void accept_all(void)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
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
	if (fd == device) {
		read_device();
		return;
	}
	if (conns[fd].open && events & EPOLLOUT && conns[fd].out != NULL && !flush(fd))
		close_conn(fd);
	if (conns[fd].open && events & ~(unsigned)EPOLLOUT && !readable(fd))
		close_conn(fd);
}

static void open_device(const char *path)
{
	struct termios t;

	device = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (device < 0 || tcgetattr(device, &t) < 0)
		die(path);
	cfmakeraw(&t);
	cfsetspeed(&t, B115200);
	if (tcsetattr(device, TCSANOW, &t) < 0)
		die("tcsetattr");
}

int main(int argc, char **argv)
{
	static struct epoll_event events[EVENTS];
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	struct rlimit files;

	if (argc != 4 || strcmp(argv[1], "bridge") != 0 || getenv("BENCH_DEVICE") == NULL) {
		fprintf(stderr, "usage: BENCH_DEVICE=PATH %s bridge tcp|unix ADDRESS\n", argv[0]);
		return 2;
	}
	open_device(getenv("BENCH_DEVICE"));
	listener = open_listener(argv[2], argv[3]);
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		die("epoll_create1");
	nconns = files.rlim_cur < 65536 ? files.rlim_cur : 65536;
	conns = calloc(nconns, sizeof *conns);
	members = calloc(nconns, sizeof *members);
	if (conns == NULL || members == NULL)
		die("calloc");
	for (int i = 0; i < 2; i++) {
		ev.data.fd = i ? device : listener;
		if (epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev) < 0)
			die("epoll_ctl");
	}
	for (;;) {
		int n = epoll_wait(ep, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			handle(events[i].data.fd, events[i].events);
	}
}
