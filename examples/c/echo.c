/*
 * echo PORT: sends every connection's bytes back to it (port 0: any). Uses only the functions of the reference API.
 *
 *   cc -o echo echo.c $(pkg-config --cflags --libs io_reactor)
 */
#include "io_reactor.h"
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

static io_reactor_t *reactor;
static socket_fd_t listener;
static int listening; /* its address is the listener's context */

static void hang_up(struct client *client)
{
    io_reactor_remove(reactor, client->fd);
    close_socket(client->fd);
    free(client);
}

static void greet(void)
{
    struct client *client = malloc(sizeof *client);

    if (client == NULL || (client->fd = accept(listener, NULL, NULL)) == INVALID_SOCKET) {
        free(client);
        /* Perhaps out of descriptors: a port that stays registered would end each wait. */
        io_reactor_remove(reactor, listener);
        listening = 0;
    } else if (io_reactor_add(reactor, client->fd, client, EVENT_READ) != 0) {
        hang_up(client);
    }
}

static void echo(struct client *client, const io_event_t *event)
{
#ifdef _WIN32 /* the event has the bytes; if one of these calls fails, the connection's end is the next event */
    io_reactor_post_write(reactor, client->fd, event->buffer, (size_t)event->bytes_transferred);
    io_reactor_post_read(reactor, client->fd, NULL, 0);
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

    reactor = io_reactor_create(); /* on Windows also starts Winsock */
    listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)port);
    if (port < 0 || port > 65535 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0
        || listen(listener, 1024) != 0 || getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        fprintf(stderr, "cannot listen on port %ld\n", port);
        return 1;
    }
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct timeval pause = { 0, 100000 };
        int i, count = io_reactor_wait(reactor, events, 64, listening ? NULL : &pause);

        if (!listening) /* at the start, and some time after accept() has failed */
            listening = io_reactor_add(reactor, listener, &listening, EVENT_READ) == 0;
        for (i = 0; i < count; i++) {
            if (events[i].context == &listening)
                greet();
            else if (events[i].event_type & EVENT_READ)
                echo(events[i].context, &events[i]);
            else if (events[i].event_type & (EVENT_CLOSE | EVENT_ERROR))
                hang_up(events[i].context);
        }
    }
}
