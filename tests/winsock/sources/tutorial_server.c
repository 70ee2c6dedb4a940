/* SPDX-License-Identifier: MIT */

/* tutorial_server VMID: as on Windows; answers one client with what it sent, until it ends. */

#include "tutorial.h"

int __cdecl main(int argc, char **argv) {
        WSADATA wsa;
        ADDRESS address, peer;
        char buffer[512];
        int length, size = sizeof peer;

        memset(&address, 0, sizeof address);
        if (argc < 2 || vm_id_of(argv[1], &address.VmId) || WSAStartup(MAKEWORD(2, 2), &wsa) != 0)
                return 2;

        SOCKET sock = socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
        if (sock == INVALID_SOCKET)
                return fail("socket");
        address.Family = AF_HYPERV;
        address.ServiceId = SERVICE;
        if (bind(sock, (const struct sockaddr *)&address, sizeof address) == SOCKET_ERROR)
                return fail("bind");
        if (listen(sock, SOMAXCONN) == SOCKET_ERROR)
                return fail("listen");
        printf("listening\n");
        fflush(stdout);

        SOCKET client = accept(sock, (struct sockaddr *)&peer, &size);
        if (client == INVALID_SOCKET)
                return fail("accept");
        while ((length = recv(client, buffer, sizeof buffer, 0)) > 0)
                if (send(client, buffer, length, 0) != length)
                        return fail("send");
        if (length == SOCKET_ERROR)
                return fail("recv");
        closesocket(client);
        closesocket(sock);
        WSACleanup();
        return 0;
}
