/* SPDX-License-Identifier: MIT */
#pragma once

/* Closing descriptors that strangers sent. -1 is fine. Keeps errno. */
void discard(int fd);
