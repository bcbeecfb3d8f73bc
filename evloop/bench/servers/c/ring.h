// SPDX-License-Identifier: Apache-2.0
//
// As much of io_uring as uring.c needs, on the system calls themselves: one ring for one
// thread, and one group of provided buffers. liburing is the usual way. But its headers
// are missing on most machines, and then io_uring in Go would have nothing to be
// compared with.

#ifndef RING_H
#define RING_H

#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
	int fd;
	unsigned entries, tail; // tail: ahead of *sq_tail by what is staged
	unsigned *sq_head, *sq_tail, *cq_head, *cq_tail, cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static void ring_setup(struct ring *r, unsigned entries, unsigned cq_entries)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
		.cq_entries = cq_entries,
	};
	r->fd = (int)syscall(SYS_io_uring_setup, entries, &p);
	if (r->fd < 0)
		die("io_uring_setup");
	size_t sq = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	size_t cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *m = mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof *r->sqes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (m == MAP_FAILED || r->sqes == MAP_FAILED)
		die("mmap");
	r->entries = p.sq_entries;
	r->cq_mask = p.cq_entries - 1;
	r->sq_head = (unsigned *)(m + p.sq_off.head);
	r->sq_tail = (unsigned *)(m + p.sq_off.tail);
	r->cq_head = (unsigned *)(m + p.cq_off.head);
	r->cq_tail = (unsigned *)(m + p.cq_off.tail);
	r->cqes = (struct io_uring_cqe *)(m + p.cq_off.cqes);
	for (unsigned i = 0; i < p.sq_entries; i++) // entry i of the queue is request i
		((unsigned *)(m + p.sq_off.array))[i] = i;
}

// ring_enter hands over what is staged and waits for so many completions.
static int ring_enter(struct ring *r, unsigned wait)
{
	__atomic_store_n(r->sq_tail, r->tail, __ATOMIC_RELEASE);
	unsigned staged = r->tail - __atomic_load_n(r->sq_head, __ATOMIC_ACQUIRE);
	return (int)syscall(SYS_io_uring_enter, r->fd, staged, wait, IORING_ENTER_GETEVENTS, NULL, 0);
}

// ring_sqe returns an empty entry, or NULL if there is none.
static struct io_uring_sqe *ring_sqe(struct ring *r)
{
	if (r->tail - __atomic_load_n(r->sq_head, __ATOMIC_ACQUIRE) == r->entries)
		return NULL;
	struct io_uring_sqe *s = &r->sqes[r->tail++ & (r->entries - 1)];
	memset(s, 0, sizeof *s);
	return s;
}

// ring_register_buffers makes a group of provided buffers whose ring has entries places.
static struct io_uring_buf_ring *ring_register_buffers(struct ring *r, unsigned entries, unsigned short group)
{
	struct io_uring_buf_ring *pool = mmap(NULL, entries * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)pool, .ring_entries = entries, .bgid = group};
	if (pool == MAP_FAILED)
		die("mmap");
	if (syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_PBUF_RING, &reg, 1) < 0)
		die("io_uring_register");
	return pool;
}

// pool_add gives buffer number id back to the kernel.
static inline void pool_add(struct io_uring_buf_ring *pool, unsigned mask, void *addr, unsigned size, unsigned short id)
{
	unsigned short tail = pool->tail;
	struct io_uring_buf *b = &((struct io_uring_buf *)pool)[tail & mask];

	b->addr = (uint64_t)(uintptr_t)addr;
	b->len = size;
	b->bid = id;
	__atomic_store_n(&pool->tail, (unsigned short)(tail + 1), __ATOMIC_RELEASE);
}

#endif
