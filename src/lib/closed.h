/* SPDX-License-Identifier: MIT */
#pragma once

/* Channels that this process closed since it last asked the broker for one: told with the next connect. */

#include "wire/message.h"

void closed_take(struct wire_request *request);
