/* SPDX-License-Identifier: MIT */
#pragma once

/* What became of a connect that hv_connect() said EINPROGRESS of: see wire/parked.h. */

/*
 * 0: the socket never was parked, or the guest accepted. -EINPROGRESS: it has not answered. Else the errno that the
 * connect failed with: the socket is of no use any more.
 */
int parked_result(int fd);
