/* SPDX-License-Identifier: MIT */

/* tutorial_client VMID TEXT: as on Windows; sends the text to the server, and prints what comes back. */

#include "tutorial.h"

int __cdecl main(int argc, char **argv) {
        WSADATA wsa;
        ADDRESS address;
        char buffer[512];
        int length;

        memset(&address, 0, sizeof address);
        if (argc < 3 || vm_id_of(argv[1], &address.VmId) || WSAStartup(MAKEWORD(2, 2), &wsa) != 0)
                return 2;

        SOCKET sock = socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
        if (sock == INVALID_SOCKET)
                return fail("socket");
        address.Family = AF_HYPERV;
        address.ServiceId = SERVICE;
        if (connect(sock, (const struct sockaddr *)&address, sizeof address) == SOCKET_ERROR)
                return fail("connect");
        if (send(sock, argv[2], (int)strlen(argv[2]), 0) == SOCKET_ERROR || shutdown(sock, SD_SEND) == SOCKET_ERROR)
                return fail("send");
        while ((length = recv(sock, buffer, sizeof buffer, 0)) > 0)
                printf("%.*s", length, buffer);
        if (length == SOCKET_ERROR)
                return fail("recv");
        printf("\n");
        closesocket(sock);
        WSACleanup();
        return 0;
}
