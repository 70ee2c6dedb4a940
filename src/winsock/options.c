/* SPDX-License-Identifier: MIT */

/* Options. Their names are Linux's; what differs is the levels, and a few values. */

#include "winsock/winsock.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

int hvsock_winsock_ioctlsocket(SOCKET s, long command, void *value, size_t size) {
        int number = 0;
        if (!value || (size != sizeof(uint32_t) && size != sizeof(uint64_t)))
                return fail_with(WSAEFAULT);
        if (command == FIONBIO)
                number = size == sizeof(uint32_t) ? *(uint32_t *)value != 0 : *(uint64_t *)value != 0;
        else if (command != FIONREAD && command != SIOCATMARK)
                return fail_with(WSAEINVAL);
        if (CALL(s, ioctl, (unsigned long)command, &number) < 0)
                return fail();
        if (command != FIONBIO && size == sizeof(uint32_t))
                *(uint32_t *)value = (uint32_t)number;
        else if (command != FIONBIO)
                *(uint64_t *)value = (uint32_t)number;
        return 0;
}

/* The system's level for Windows'; -1 where there is none. */
static int level_of(SOCKET s, int level) {
        if (level == SOL_SOCKET)
                return NATIVE_SOL_SOCKET;
        if (level == HV_PROTOCOL_RAW)
                return is_hyperv(s) ? SOL_HVSOCKET : -1;
        return level;
}

static bool is_timeout(int level, int option) {
        return level == NATIVE_SOL_SOCKET && (option == SO_RCVTIMEO || option == SO_SNDTIMEO);
}

static bool is_exclusive(int level, int option) {
        return level == NATIVE_SOL_SOCKET && option == SO_EXCLUSIVEADDRUSE;
}

static int check_socket(SOCKET s) {
        int type;
        socklen_t length = sizeof type;
        return getsockopt(descriptor_of(s), NATIVE_SOL_SOCKET, SO_TYPE, &type, &length);
}

int hvsock_winsock_setsockopt(SOCKET s, int level, int option, const char *value, int length) {
        DWORD number;
        level = level_of(s, level);
        if (level < 0)
                return fail_with(WSAENOPROTOOPT);
        if (!value)
                return fail_with(WSAEFAULT);
        if (!is_timeout(level, option) && !is_exclusive(level, option))
                return result(CALL(s, setsockopt, level, option, value, (socklen_t)length));
        if (length < (int)sizeof number)
                return fail_with(WSAEFAULT);
        if (is_exclusive(level, option))
                return result(check_socket(s));
        memcpy(&number, value, sizeof number);
        struct timeval time = {.tv_sec = number / 1000, .tv_usec = (suseconds_t)(number % 1000 * 1000)};
        return result(CALL(s, setsockopt, level, option, &time, sizeof time));
}

static int get_number(SOCKET s, int level, int option, DWORD *ret) {
        struct timeval time;
        int error;
        if (is_exclusive(level, option)) {
                *ret = TRUE;
                return check_socket(s);
        }
        socklen_t length = is_timeout(level, option) ? sizeof time : sizeof error;
        int r = CALL(s, getsockopt, level, option, is_timeout(level, option) ? (void *)&time : &error, &length);
        if (r < 0)
                return r;
        *ret = is_timeout(level, option) ? (DWORD)(time.tv_sec * 1000 + time.tv_usec / 1000) : (DWORD)winsock_error(error);
        return 0;
}

int hvsock_winsock_getsockopt(SOCKET s, int level, int option, char *ret_value, int *length) {
        DWORD number;
        level = level_of(s, level);
        if (level < 0)
                return fail_with(WSAENOPROTOOPT);
        if (!ret_value || !length)
                return fail_with(WSAEFAULT);
        bool is_ours = is_timeout(level, option) || is_exclusive(level, option) || (level == NATIVE_SOL_SOCKET && option == SO_ERROR);
        if (!is_ours)
                return result(CALL(s, getsockopt, level, option, ret_value, (socklen_t *)length));
        if (*length < (int)sizeof number)
                return fail_with(WSAEFAULT);
        if (get_number(s, level, option, &number) < 0)
                return fail();
        memcpy(ret_value, &number, sizeof number);
        *length = sizeof number;
        return 0;
}
