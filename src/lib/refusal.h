/* SPDX-License-Identifier: MIT */
#pragma once

/* Why this thread's last bind, listen or connect was refused: what hv_last_refusal() tells. */

#include "wire/message.h"

/* 0 when the reply is not a refusal; else remembers it and returns its -errno. */
int refusal_keep(const struct wire_reply *reply);
/* Remembers a failure that no broker decided, and returns it. */
int refusal_keep_local(int negative_errno, const char *text);
