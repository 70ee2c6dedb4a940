/* SPDX-License-Identifier: MIT */
#pragma once

/* The wait sets of hv_epoll_create1(). */

/* A descriptor is about to be closed: if it is a set's, its members are no longer looked at. */
void wait_set_forget(int epoll_fd);
