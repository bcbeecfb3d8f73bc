// SPDX-License-Identifier: Apache-2.0
//
// Echo on io_uring: multishot accept, multishot receive into a ring
// of provided buffers, one send in flight for each connection, one
// io_uring_enter for a turn. The buffer that was received is the one that is
// sent, so nothing is copied; it returns to the ring when the send is complete.
// Needs Linux 6.1.
//
// Buffers that come while a send is in flight wait in a list of the connection
// and go out one after the other: two sends at once could be reordered.

#include "bench.h"
#include "ring.h"

#define BUFFERS 2048 // a power of two
#define SIZE (16 * 1024)
#define GROUP 1
#define ENTRIES 4096

enum op { OP_ACCEPT, OP_RECV, OP_SEND };

struct conn {
	bool open, sending, closing, receiving;
	int head, tail; // list of buffers to send, -1: none
	unsigned sent;	// of the first
};

static struct ring ring;
static struct io_uring_buf_ring *pool;
static char *memory;
static struct conn *conns;
static size_t nconns;
static int listener;
static int next[BUFFERS];
static unsigned length[BUFFERS];

static uint64_t tag(enum op op, int fd)
{
	return (uint64_t)op << 32 | (uint32_t)fd;
}

static struct io_uring_sqe *sqe(void)
{
	struct io_uring_sqe *s = ring_sqe(&ring);

	if (s == NULL) { // full: hand over what is there
		ring_enter(&ring, 0);
		s = ring_sqe(&ring);
	}
	if (s == NULL)
		die("io_uring_enter");
	return s;
}

static void arm_accept(void)
{
	struct io_uring_sqe *s = sqe();

	s->opcode = IORING_OP_ACCEPT;
	s->ioprio = IORING_ACCEPT_MULTISHOT;
	s->fd = listener;
	s->user_data = tag(OP_ACCEPT, listener);
}

static void arm_recv(int fd)
{
	struct io_uring_sqe *s = sqe();

	s->opcode = IORING_OP_RECV;
	s->ioprio = IORING_RECV_MULTISHOT;
	s->fd = fd;
	s->flags = IOSQE_BUFFER_SELECT;
	s->buf_group = GROUP;
	s->user_data = tag(OP_RECV, fd);
	conns[fd].receiving = true;
}

static void send_first(int fd)
{
	struct conn *c = &conns[fd];
	struct io_uring_sqe *s = sqe();

	s->opcode = IORING_OP_SEND;
	s->fd = fd;
	s->addr = (uint64_t)(uintptr_t)(memory + (size_t)c->head * SIZE + c->sent);
	s->len = length[c->head] - c->sent;
	s->msg_flags = MSG_NOSIGNAL;
	s->user_data = tag(OP_SEND, fd);
	c->sending = true;
}

static void recycle(int buf)
{
	pool_add(pool, BUFFERS - 1, memory + (size_t)buf * SIZE, SIZE, (unsigned short)buf);
}

// pop returns the first buffer of the list to the ring.
static void pop(struct conn *c)
{
	int buf = c->head;

	c->head = next[buf];
	if (c->head < 0)
		c->tail = -1;
	c->sent = 0;
	recycle(buf);
}

// finish closes a connection when the kernel holds nothing of it any more.
static void finish(int fd)
{
	struct conn *c = &conns[fd];

	if (!c->closing || c->sending || c->receiving)
		return;
	while (c->head >= 0)
		pop(c);
	c->open = false;
	close(fd);
}

static void on_accept(const struct io_uring_cqe *cqe)
{
	int fd = cqe->res;

	if (fd >= 0 && (size_t)fd < nconns) {
		conns[fd] = (struct conn){.open = true, .head = -1, .tail = -1};
		arm_recv(fd);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_accept();
}

static void on_recv(int fd, const struct io_uring_cqe *cqe)
{
	struct conn *c = &conns[fd];

	c->receiving = cqe->flags & IORING_CQE_F_MORE;
	if (cqe->res > 0) {
		int buf = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
		length[buf] = (unsigned)cqe->res;
		next[buf] = -1;
		if (c->tail >= 0)
			next[c->tail] = buf;
		else
			c->head = buf;
		c->tail = buf;
		if (!c->sending)
			send_first(fd);
	} else if (cqe->res != -ENOBUFS) {
		c->closing = true;
		if (c->receiving || c->sending)
			shutdown(fd, SHUT_RDWR);
	}
	if (!c->receiving && !c->closing)
		arm_recv(fd);
	finish(fd);
}

static void on_send(int fd, const struct io_uring_cqe *cqe)
{
	struct conn *c = &conns[fd];

	c->sending = false;
	if (cqe->res < 0) {
		c->closing = true;
		shutdown(fd, SHUT_RDWR);
	} else {
		c->sent += (unsigned)cqe->res;
		if (c->sent == length[c->head])
			pop(c);
	}
	if (!c->closing && c->head >= 0)
		send_first(fd);
	finish(fd);
}

static void dispatch(const struct io_uring_cqe *cqe)
{
	int fd = (int)(uint32_t)cqe->user_data;

	switch ((enum op)(cqe->user_data >> 32)) {
	case OP_ACCEPT:
		on_accept(cqe);
		break;
	case OP_RECV:
		on_recv(fd, cqe);
		break;
	case OP_SEND:
		on_send(fd, cqe);
		break;
	}
}

static void setup(void)
{
	ring_setup(&ring, ENTRIES, 4 * ENTRIES);
	pool = ring_register_buffers(&ring, BUFFERS, GROUP);
	memory = malloc((size_t)BUFFERS * SIZE);
	if (memory == NULL)
		die("malloc");
	for (int i = 0; i < BUFFERS; i++)
		recycle(i);
}

int main(int argc, char **argv)
{
	struct rlimit files;

	if (argc != 4 || parse_mode(argv[1]) != MODE_ECHO) {
		fprintf(stderr, "usage: %s echo tcp|unix ADDRESS\n", argv[0]);
		return 2;
	}
	listener = open_listener(argv[2], argv[3]);
	getrlimit(RLIMIT_NOFILE, &files);
	nconns = files.rlim_cur < 65536 ? files.rlim_cur : 65536;
	conns = calloc(nconns, sizeof *conns);
	if (conns == NULL)
		die("calloc");
	setup();
	arm_accept();
	for (;;) {
		if (ring_enter(&ring, 1) < 0 && errno != EINTR && errno != EBUSY)
			die("io_uring_enter");
		unsigned head = *ring.cq_head, tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
		for (; head != tail; head++)
			dispatch(&ring.cqes[head & ring.cq_mask]);
		__atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
	}
}
