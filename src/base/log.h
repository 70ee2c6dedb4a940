/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The daemon's log: standard error, with syslog priorities ("<6>") when
 * $JOURNAL_STREAM says that it is the journal. Lines that whoever reads it makes
 * no room for are lost: nobody waits for it. What a stranger can cause is limited in
 * rate. Never used by libhvsock.
 */

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

extern enum log_level log_threshold;

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As log_write, but at most LOG_STRANGER_BURST lines in LOG_STRANGER_SECONDS; says how many it left out. */
#define LOG_STRANGER_BURST 100
#define LOG_STRANGER_SECONDS 5
void log_stranger(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
