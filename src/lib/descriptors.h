/* SPDX-License-Identifier: MIT */
#pragma once

/* Every descriptor that this process has open now. One that is opened or closed meanwhile may or may not be visited. */

void descriptors_visit(void (*visit)(int fd, void *argument), void *argument);
