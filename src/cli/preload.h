/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Running a program that never heard of hvsock: libhvsock-preload stands in front of
 * the functions that it calls, and a filter answers what gets past these.
 */

/*
 * Makes this process one whose next execve(2) runs the command so. EXIT_OK, or the
 * exit code, after it has said what is wrong: with the command, of which nothing ran
 * then, or here. `verb` is who asks.
 */
int preload_prepare(const char *verb, char *const *command);
/* The same without a look at the command: for one that starts others. */
int preload_prepare_all(const char *verb);
/*
 * What this process starts has not the library any more, whoever preloaded it; a filter stays. For a broker: what it
 * does with sockets that programs lend it, it has to ask of the kernel. 0 or -errno.
 */
int preload_undo(void);

/* ---- the parts ---- */

/* What would run is a program that a library of this one's kind can be preloaded into. Else it says why not. */
int preload_check_program(const char *command);
/*
 * From now on sockets of AF_VSOCK and AF_HYPERV are EAFNOSUPPORT to this process and
 * all that it starts, however they ask the kernel; none of them gains privileges by
 * execve any more. 0 or -errno.
 */
int preload_filter(void);
