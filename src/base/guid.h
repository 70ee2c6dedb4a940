/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * GUIDs: text, both byte orders, equality, new random ones. Pure but for
 * guid_new(), which asks the kernel for random bytes.
 */

#include <hvsock.h>
#include <stdbool.h>
#include <stdint.h>

/* 36 hexadecimal characters with dashes, any case, bare or in braces; or 32 without dashes. -EINVAL otherwise. */
int guid_parse(const char *text, GUID *ret_guid);
/* A GUID, or "vsock:PORT". -ERANGE for a "vsock:" whose port is not from 0 to HV_PORT_MAX, -EINVAL for what is neither. */
int guid_parse_service(const char *text, GUID *ret_service_id);
/* The vsock port that a ServiceId stands for. -EINVAL: none. */
int guid_port(const GUID *service_id, uint32_t *ret_port);
void guid_format(const GUID *guid, char ret_text[HV_GUID_TEXT_SIZE]); /* lower case */
#define GUID_HEX_SIZE 33
void guid_format_hex(const GUID *guid, char ret_text[GUID_HEX_SIZE]); /* 32 digits, as printed but without dashes */
bool guid_equal(const GUID *a, const GUID *b);
bool guid_is_zero(const GUID *guid);
int guid_new(GUID *ret_guid); /* random, RFC 4122 version 4 */

void guid_to_windows(const GUID *guid, uint8_t ret_bytes[16]);   /* first three fields little-endian */
void guid_from_windows(const uint8_t bytes[16], GUID *ret_guid);
void guid_to_network(const GUID *guid, uint8_t ret_bytes[16]);   /* RFC 4122, as DMI and libuuid print */
void guid_from_network(const uint8_t bytes[16], GUID *ret_guid);

/* "parent", "loopback", "children", "wildcard", "zero", "broadcast", "silohost": the well-known VmIds, or NULL. */
const GUID *guid_by_word(const char *word);
const char *guid_word(const GUID *guid);
