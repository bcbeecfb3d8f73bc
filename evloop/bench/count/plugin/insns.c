// SPDX-License-Identifier: Apache-2.0
//
// A plugin of qemu-user that counts the instructions and the system calls of a server
// while it runs, and holds it at a gate between two turns. Counts and gate are in a
// file that the load has mapped too, so that it reads them between two echoes: no start
// and no end is in them.
//
// A block is counted when it begins: one call for each block instead of one for each
// instruction. A thread has its own counts, so that none is lost to another thread.
// What each block has run tells which function a count is from.
//
// The gate is before the call that waits for events. Without it, how many echoes share a
// turn would depend on how fast the machine is and what else it does.
//
// Debian has no qemu-plugin.h, so what is used of the interface is declared here: version
// 1, that of QEMU 4.2 to 8.2 (docs/devel/tcg-plugins.rst).

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
typedef void on_block(uint64_t id, struct qemu_plugin_tb *);
typedef void on_run(unsigned thread, void *);
typedef void on_call(uint64_t id, unsigned thread, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
		     uint64_t, uint64_t, uint64_t);
typedef void on_return(uint64_t id, unsigned thread, int64_t number, int64_t result);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, on_block *);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_run *, int flags, void *);
void qemu_plugin_register_vcpu_syscall_cb(uint64_t id, on_call *);
void qemu_plugin_register_vcpu_syscall_ret_cb(uint64_t id, on_return *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = 1;

// The file, as counts.go reads it.
#define THREADS 64
#define BLOCKS 65536
static struct counts {
	// The gate. An arrival passes when open has its number. The last word is the load's.
	uint32_t closed, arrivals, open, seen;
	uint64_t insns[THREADS], calls[THREADS];
	struct block {
		uint64_t address, insns, runs;
	} blocks[BLOCKS];
} *counts;
static unsigned nblocks;

static int64_t waits[2]; // the numbers of the calls that wait for events
static int nwaits;

static void run(unsigned thread, void *data)
{
	struct block *b = data;

	counts->insns[thread % THREADS] += b->insns;
	__atomic_fetch_add(&b->runs, 1, __ATOMIC_RELAXED);
}

// gate returns when the load lets the server pass. A load that does not get its answer,
// because a message of the turn was late, would wait for ever: so the server opens the gate
// itself after a while.
static void gate(void)
{
	uint32_t arrival = __atomic_add_fetch(&counts->arrivals, 1, __ATOMIC_SEQ_CST), open;
	struct timespec patience = {.tv_nsec = 500 * 1000 * 1000};

	syscall(SYS_futex, &counts->arrivals, FUTEX_WAKE, 1, NULL, NULL, 0);
	while ((open = __atomic_load_n(&counts->open, __ATOMIC_SEQ_CST)) != arrival)
		if (syscall(SYS_futex, &counts->open, FUTEX_WAIT, open, &patience, NULL, 0) < 0 && errno == ETIMEDOUT)
			__atomic_store_n(&counts->open, arrival, __ATOMIC_SEQ_CST);
}

// again: a signal came before the call, which qemu-user now begins anew. It is the same
// wait, so the gate has been passed.
static bool again;
#define RESTARTED -512

static bool is_wait(int64_t number)
{
	for (int i = 0; i < nwaits; i++)
		if (number == waits[i])
			return true;
	return false;
}

static void call(uint64_t id, unsigned thread, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
		 uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
	counts->calls[thread % THREADS]++;
	if (is_wait(number) && __atomic_load_n(&counts->closed, __ATOMIC_SEQ_CST) && !again)
		gate();
}

static void returned(uint64_t id, unsigned thread, int64_t number, int64_t result)
{
	if (is_wait(number))
		again = result == RESTARTED;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	unsigned i = __atomic_fetch_add(&nblocks, 1, __ATOMIC_RELAXED);
	struct block *b = &counts->blocks[i];

	if (i >= BLOCKS) {
		fputs("insns.c: BLOCKS is too small\n", stderr);
		_exit(1);
	}
	b->address = qemu_plugin_tb_vaddr(tb);
	b->insns = qemu_plugin_tb_n_insns(tb);
	qemu_plugin_register_vcpu_tb_exec_cb(tb, run, 0, b);
}

// The arguments are counts=FILE and wait=NUMBER, once or twice.
EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	int fd;

	if (argc < 2 || argc > 3 || strncmp(argv[0], "counts=", 7) != 0)
		return -1;
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "wait=", 5) != 0)
			return -1;
		waits[nwaits++] = atoi(argv[i] + 5);
	}
	fd = open(argv[0] + 7, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (counts == MAP_FAILED)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_vcpu_syscall_cb(id, call);
	qemu_plugin_register_vcpu_syscall_ret_cb(id, returned);
	return 0;
}
