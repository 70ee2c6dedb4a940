/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Channels that this process closed, for the broker's counters: told with its
 * next connect, or by themselves once WIRE_CLOSED_MAX wait. The broker finds out
 * about the others when it has to know.
 */

#include "wire/message.h"

void closed_add(const GUID *ephemeral_id);
/* Moves those that wait into a request. */
void closed_take(struct wire_request *request);
/* The request was not answered. The broker may have heard them all the same: they may be told twice. */
void closed_give_back(const struct wire_request *request);
