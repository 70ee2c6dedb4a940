/* SPDX-License-Identifier: MIT */
#pragma once

/* Becomes the command. Returns only when it cannot: told, with exit code 126 or 127. */
int execute(char **words);
