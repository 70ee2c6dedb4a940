/* SPDX-License-Identifier: MIT */
#pragma once

/* What `hvsock` exits with. One list: --help and the man page show it. */

#define EXIT_CODES(each)                                                                       \
        each(EXIT_OK, 0, "done; why: it would be allowed; doctor: nothing is wrong")          \
        each(EXIT_FAILED, 1, "failed or refused; doctor: something is wrong")                  \
        each(EXIT_USAGE, 2, "the command line is wrong")                                       \
        each(EXIT_NOT_FOUND, 3, "no such partition or service")                                \
        each(EXIT_DENIED, 4, "permission denied")                                              \
        each(EXIT_NO_BROKER, 5, "no hvsockd answers")                                          \
        each(EXIT_TIMED_OUT, 124, "no answer in time")                                         \
        each(EXIT_OWN, 125, "sandbox, run: hvsock itself failed, the command was not started") \
        each(EXIT_NOT_EXECUTABLE, 126, "sandbox, run: the command cannot be executed")         \
        each(EXIT_NO_COMMAND, 127, "sandbox, run: there is no such command")                   \
        each(EXIT_SIGNAL, 128, "sandbox, run: 128+N, the command was ended by signal N")

#define EXIT_CODE_ENUM(name, code, meaning) name = code,
enum exit_code { EXIT_CODES(EXIT_CODE_ENUM) };
