// SPDX-License-Identifier: Apache-2.0
//
// Echo and ask on libuv, in the way its documentation suggests: one shared read
// buffer, uv_try_write first, and a queued uv_write only for the rest.

#include "bench.h"
#include <uv.h>

#define BUFFER (64 * 1024)

struct rest { // a write that did not fit at once
	uv_write_t req;
	char bytes[];
};

union stream {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct client {
	union stream s;
	size_t kept;
	char in[64]; // the begin of a question
};

static uv_loop_t *loop;
static enum mode mode;
static bool is_unix;
static char buffer[BUFFER], replies[4 * BUFFER];

static void on_close(uv_handle_t *h)
{
	free(h);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	(void)h, (void)want;
	*buf = uv_buf_init(buffer, sizeof buffer);
}

static void on_written(uv_write_t *req, int status)
{
	if (status < 0 && !uv_is_closing((uv_handle_t *)req->handle))
		uv_close((uv_handle_t *)req->handle, on_close);
	free(req);
}

static bool put(uv_stream_t *s, char *p, size_t n)
{
	uv_buf_t buf = uv_buf_init(p, (unsigned)n);
	int done = uv_try_write(s, &buf, 1);

	if (done == (int)n)
		return true;
	if (done < 0 && done != UV_EAGAIN)
		return false;
	if (done < 0)
		done = 0;
	struct rest *r = malloc(sizeof *r + n - (size_t)done);
	if (r == NULL)
		die("malloc");
	memcpy(r->bytes, p + done, n - (size_t)done);
	buf = uv_buf_init(r->bytes, (unsigned)n - (unsigned)done);
	return uv_write(&r->req, s, &buf, 1, on_written) == 0;
}

static bool answer(struct client *c, const char *p, size_t n)
{
	const char *stop, *text;
	size_t nreplies = 0, len;

	while ((stop = memchr(p, '?', n)) != NULL) {
		size_t part = (size_t)(stop + 1 - p);
		if (c->kept + part <= sizeof c->in && c->kept > 0) {
			memcpy(c->in + c->kept, p, part);
			text = lookup(c->in, c->kept + part, &len);
		} else {
			text = lookup(p, part, &len);
		}
		c->kept = 0;
		if (nreplies + len > sizeof replies)
			return false;
		memcpy(replies + nreplies, text, len);
		nreplies += len;
		p += part;
		n -= part;
	}
	if (c->kept + n > sizeof c->in)
		return false;
	memcpy(c->in + c->kept, p, n);
	c->kept += n;
	return nreplies == 0 || put(&c->s.stream, replies, nreplies);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	bool ok = n >= 0;

	if (n > 0)
		ok = mode == MODE_ECHO ? put(s, buf->base, (size_t)n)
				       : answer((struct client *)s, buf->base, (size_t)n);
	if (!ok && !uv_is_closing((uv_handle_t *)s))
		uv_close((uv_handle_t *)s, on_close);
}

static void init(union stream *s)
{
	if (is_unix)
		uv_pipe_init(loop, &s->pipe, 0);
	else
		uv_tcp_init(loop, &s->tcp);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct client *c = calloc(1, sizeof *c);

	if (status < 0 || c == NULL) {
		free(c);
		return;
	}
	init(&c->s);
	if (uv_accept(server, &c->s.stream) == 0)
		uv_read_start(&c->s.stream, on_alloc, on_read);
	else
		uv_close(&c->s.handle, on_close);
}

int main(int argc, char **argv)
{
	static union stream server;

	if (argc != 4) {
		fprintf(stderr, "usage: %s echo|ask tcp|unix ADDRESS\n", argv[0]);
		return 2;
	}
	mode = parse_mode(argv[1]);
	is_unix = strcmp(argv[2], "unix") == 0;
	int fd = open_listener(argv[2], argv[3]);
	loop = uv_default_loop();
	init(&server);
	if ((is_unix ? uv_pipe_open(&server.pipe, fd) : uv_tcp_open(&server.tcp, fd)) < 0)
		die("open");
	if (uv_listen(&server.stream, 4096, on_connection) < 0)
		die("listen");
	return uv_run(loop, UV_RUN_DEFAULT);
}
