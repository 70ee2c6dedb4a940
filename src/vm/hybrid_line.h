/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The two lines of a hybrid socket, with which a stream to a VM begins: the client's
 * `CONNECT <port or GUID>\n`, and the answer `OK <host port>\n`. A refusal is no
 * line: the stream is closed. Pure.
 *
 * A line is parsed out of bytes that were peeked at, since what is behind it belongs
 * to the stream: clients may send without waiting for the answer. The words are taken
 * in any case and with any blanks behind them, as Firecracker does.
 */

#include <hvsock.h>
#include <sys/types.h>

#define HYBRID_LINE_MAX 64u /* bytes, newline included; the longest that says anything has 48 */

/*
 * How many bytes the line at the beginning has, newline included; 0: it may become one, with more bytes. -EINVAL: it is
 * no such line; -EMSGSIZE: it is longer than HYBRID_LINE_MAX.
 */
ssize_t hybrid_line_parse_connect(const char *bytes, size_t size, GUID *ret_service_id);
/* The same of `OK <port or GUID>\n`, OpenVMM's answer to a GUID being one. */
ssize_t hybrid_line_parse_ok(const char *bytes, size_t size);

/* The length; no terminating zero is counted. */
size_t hybrid_line_format_connect(uint32_t port, char ret_line[HYBRID_LINE_MAX]);
size_t hybrid_line_format_ok(uint16_t host_port, char ret_line[HYBRID_LINE_MAX]);
