/*
 * async_echo PORT: sends every connection's bytes back to it (port 0: any), by the functions of async_runtime.h.
 *
 *   cc -o async_echo async_echo.c $(pkg-config --cflags --libs io_reactor)
 */
#include "async_runtime.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <ws2tcpip.h>
#define close_socket closesocket
#else
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#define close_socket close
#define INVALID_SOCKET (-1)
#endif

struct client {
    socket_fd_t fd;
};

static async_runtime_t *runtime;
static socket_fd_t listener;
static int port_context; /* its address is the listener's context */

static void hang_up(struct client *client)
{
    async_runtime_remove(runtime, client->fd);
    close_socket(client->fd);
    free(client);
}

static void greet(const io_event_t *event)
{
    struct client *client = malloc(sizeof *client);
#ifdef _WIN32 /* the event has the connection */
    socket_fd_t fd = event->fd;
#else /* there is a connection to accept; driver_skeleton.c shows what to do when that fails */
    socket_fd_t fd = accept(event->fd, NULL, NULL);
#endif

    if (fd == INVALID_SOCKET) {
        free(client);
    } else if (client == NULL) {
        close_socket(fd);
    } else {
        client->fd = fd;
        if (async_runtime_add(runtime, fd, EVENT_READ, client) != 0) {
            close_socket(fd);
            free(client);
        }
    }
}

static void echo(struct client *client, const io_event_t *event)
{
#ifdef _WIN32 /* the event has the bytes; if one of these calls fails, the connection's end is the next event */
    async_runtime_post_write(runtime, client->fd, event->buffer, event->bytes_transferred);
    async_runtime_post_read(runtime, client->fd, NULL, 0);
#else /* there are bytes to read; a server would also handle a client that does not read */
    char buffer[4096];
    ssize_t count = recv(client->fd, buffer, sizeof buffer, 0);
    (void)event;
    if (count <= 0 || send(client->fd, buffer, (size_t)count, MSG_NOSIGNAL) != count)
        hang_up(client);
#endif
}

int main(int argc, char **argv)
{
    long port = argc > 1 ? atol(argv[1]) : 7777;
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    io_event_t events[64];

    runtime = async_runtime_init(); /* on Windows also starts Winsock */
    listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)port);
    if (port < 0 || port > 65535 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0
        || listen(listener, 1024) != 0 || getsockname(listener, (struct sockaddr *)&address, &length) != 0
        || async_runtime_add(runtime, listener, EVENT_READ, &port_context) != 0) {
        fprintf(stderr, "cannot listen on port %ld (%s)\n", port, async_runtime_last_error());
        return 1;
    }
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int i, count = async_runtime_wait(runtime, events, 64, NULL);

        for (i = 0; i < count; i++) {
            if (events[i].context == &port_context)
                greet(&events[i]);
            else if (events[i].event_type & EVENT_READ)
                echo(events[i].context, &events[i]);
            else if (events[i].event_type & (EVENT_CLOSE | EVENT_ERROR))
                hang_up(events[i].context);
        }
    }
}
