/* SPDX-License-Identifier: MIT */
#pragma once

/* Why this thread's last hv_bind(), hv_listen() or hv_connect() was refused, for hv_last_refusal(). */

#include "wire/message.h"

void refusal_clear(void);
/* Keeps a reply that names the rule that refused. */
void refusal_keep(const struct wire_reply *reply);
