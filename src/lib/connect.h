/* SPDX-License-Identifier: MIT */
#pragma once

/* A connect wakes nobody: an edge-triggered waiter gets its edge from a send buffer that "grew". */
void connect_give_edge(int fd);
