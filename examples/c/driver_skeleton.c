/*
 * driver_skeleton PORT...: the loop of an LPMud driver in miniature. Listening ports (0: any), users with line buffers and
 * output that may have to wait, the operator's console, and a heart beat; one wait for all of them.
 *
 * A user types lines; each goes to all users. The operator types "shutdown" (or ends the input), on a terminal, a pipe or a
 * file.
 */
#include "io_reactor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <ws2tcpip.h>

#include <windows.h>
#define close_socket closesocket
#else
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#define close_socket close
#define INVALID_SOCKET (-1)
#endif

enum { MAX_PORTS = 16, MAX_USERS = 1000, MAX_LINE = 1024, MAX_OUTPUT = 65536, MAX_EVENTS = 64 };

/* Every context starts with this, so that an event identifies its source. */
enum kind { PORT, PAUSED_PORT, USER, CONSOLE, HEART_BEAT };

struct port {
    enum kind kind;
    socket_fd_t fd;
    struct paused_port {
        enum kind kind;
        struct port *port;
    } paused; /* the context of the timer that ends a pause */
};

struct user {
    enum kind kind;
    socket_fd_t fd;
    char line[MAX_LINE];
    int line_length;
    char *output; /* POSIX: bytes that the socket did not take */
    size_t output_length;
    int leaving;
};

static io_reactor_t *reactor;
static struct port ports[MAX_PORTS];
static struct user *users[MAX_USERS];
static enum kind console = CONSOLE, heart_beat = HEART_BEAT;
static int port_count, beats, running = 1;

static void remove_user(struct user *user)
{
    int i;

    for (i = 0; i < MAX_USERS; i++)
        if (users[i] == user)
            users[i] = NULL;
    io_reactor_remove(reactor, user->fd); /* from here on no event has this user as its context */
    close_socket(user->fd);
    free(user->output);
    free(user);
}

/* Output. On Windows the reactor keeps it and sends it; on POSIX bytes that the socket does not take wait for EVENT_WRITE. */
static void tell(struct user *user, const char *text, size_t length)
{
    if (user->leaving || length == 0)
        return;
#ifdef _WIN32
    if (io_reactor_post_write(reactor, user->fd, (void *)text, length) != 0)
        user->leaving = 1;
#else
    if (user->output_length == 0) {
        ssize_t sent = send(user->fd, text, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            user->leaving = 1;
            return;
        }
        if (sent > 0) {
            text += sent;
            length -= (size_t)sent;
        }
    }
    if (length > 0) {
        char *output = NULL;
        if (user->output_length + length <= MAX_OUTPUT)
            output = realloc(user->output, user->output_length + length);
        if (output == NULL) { /* does not read: better to disconnect than to leave holes in the text */
            user->leaving = 1;
            return;
        }
        user->output = output;
        memcpy(output + user->output_length, text, length);
        user->output_length += length;
        io_reactor_modify(reactor, user->fd, EVENT_READ | EVENT_WRITE);
    }
#endif
}

#ifndef _WIN32
static void flush_user(struct user *user)
{
    ssize_t sent = send(user->fd, user->output, user->output_length, MSG_NOSIGNAL);

    if (sent < 0) {
        user->leaving = errno != EAGAIN && errno != EWOULDBLOCK;
        return;
    }
    user->output_length -= (size_t)sent;
    memmove(user->output, user->output + sent, user->output_length);
    if (user->output_length == 0)
        io_reactor_modify(reactor, user->fd, EVENT_READ);
}
#endif

static void shout(const char *format, ...)
{
    char text[MAX_LINE + 64];
    va_list arguments;
    int i, length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (i = 0; i < MAX_USERS; i++)
        if (users[i] != NULL)
            tell(users[i], text, (size_t)length);
}

static void user_input(struct user *user, const char *bytes, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            shout("%.*s\r\n", user->line_length, user->line);
            user->line_length = 0;
        } else if (bytes[i] != '\r' && user->line_length < MAX_LINE) {
            user->line[user->line_length++] = bytes[i];
        }
    }
}

/* The next accept has to wait. A port that stays registered would end each wait, and keep the driver busy without effect. */
static void pause_port(struct port *port)
{
    io_reactor_remove(reactor, port->fd);
    io_reactor_timer_add(reactor, &port->paused, 500000, 0);
}

static void resume_port(struct port *port)
{
    if (io_reactor_add(reactor, port->fd, port, EVENT_READ) != 0)
        pause_port(port);
}

static int out_of_descriptors(void)
{
#ifdef _WIN32
    int error = WSAGetLastError();
    return error == WSAEMFILE || error == WSAENOBUFS;
#else
    return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
#endif
}

static void new_user(struct port *port)
{
    struct user *user;
    socket_fd_t fd = accept(port->fd, NULL, NULL);
    int i;

    if (fd == INVALID_SOCKET) {
        /* Otherwise the connection has been reset; if others wait, the next wait reports the port. */
        if (out_of_descriptors())
            pause_port(port);
        return;
    }
    for (i = 0; i < MAX_USERS && users[i] != NULL; i++)
        ;
    user = i < MAX_USERS ? calloc(1, sizeof *user) : NULL;
    if (user == NULL) {
        close_socket(fd);
        return;
    }
    users[i] = user;
    user->kind = USER;
    user->fd = fd;
#ifndef _WIN32
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
#endif
    if (io_reactor_add(reactor, fd, user, EVENT_READ) != 0) {
        fprintf(stderr, "%s\n", io_reactor_last_error());
        remove_user(user);
        return;
    }
    tell(user, "Welcome.\r\n", 10);
}

static void user_event(struct user *user, const io_event_t *event)
{
    if (event->event_type & EVENT_READ) {
#ifdef _WIN32
        user_input(user, event->buffer, event->bytes_transferred);
        if (io_reactor_post_read(reactor, user->fd, NULL, 0) != 0)
            user->leaving = 1;
#else
        char bytes[4096];
        ssize_t count = recv(user->fd, bytes, sizeof bytes, 0);
        if (count > 0)
            user_input(user, bytes, (int)count);
        else if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            user->leaving = 1;
#endif
    }
#ifndef _WIN32
    if ((event->event_type & EVENT_WRITE) && user->output_length > 0)
        flush_user(user);
#endif
    if (event->event_type & (EVENT_CLOSE | EVENT_ERROR))
        user->leaving = 1;
}

static void operator_input(const char *bytes, int count)
{
    static char line[256];
    static int length;
    int i;

    for (i = 0; i < count; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\r') {
            if (length >= 8 && memcmp(line, "shutdown", 8) == 0)
                running = 0;
            length = 0;
        } else if (length < (int)sizeof line) {
            line[length++] = bytes[i];
        }
    }
}

/* The driver reads standard input, whatever its kind, after an event; it also finds the end by reading. */
static void console_event(const io_event_t *event)
{
    char bytes[256];
    int count = 0;

    if (event->event_type & EVENT_READ) {
#ifdef _WIN32
        HANDLE input = GetStdHandle(STD_INPUT_HANDLE);
        INPUT_RECORD record;
        DWORD number = 0;

        if (io_reactor_get_console_type(reactor) != CONSOLE_TYPE_REAL) {
            if (ReadFile(input, bytes, sizeof bytes, &number, NULL))
                count = (int)number;
        } else if (ReadConsoleInputA(input, &record, 1, &number)) {
            if (record.EventType != KEY_EVENT || !record.Event.KeyEvent.bKeyDown)
                return;
            bytes[0] = record.Event.KeyEvent.uChar.AsciiChar;
            count = 1;
        }
#else
        count = (int)read(STDIN_FILENO, bytes, sizeof bytes);
#endif
    }
    operator_input(bytes, count);
    if (count <= 0) /* Ctrl-D, or the end of the input, or a hang-up of the terminal */
        running = 0;
}

static void open_port(const char *text)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    struct port *port;
    char *end;
    long number = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || number < 0 || number > 65535) {
        fprintf(stderr, "driver_skeleton: not a port: \"%s\" (0 to 65535)\n", text);
        exit(2);
    }
    port = &ports[port_count++];
    port->kind = PORT;
    port->paused.kind = PAUSED_PORT;
    port->paused.port = port;
    port->fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)number);
    if (bind(port->fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(port->fd, 128) != 0
        || getsockname(port->fd, (struct sockaddr *)&address, &length) != 0) {
#ifdef _WIN32
        fprintf(stderr, "driver_skeleton: cannot listen on port %ld: error %d\n", number, WSAGetLastError());
#else
        fprintf(stderr, "driver_skeleton: cannot listen on port %ld: %s\n", number, strerror(errno));
#endif
        exit(2);
    }
    /* Another process may accept a waiting connection first. */
#ifndef _WIN32
    fcntl(port->fd, F_SETFL, fcntl(port->fd, F_GETFL) | O_NONBLOCK);
#endif
    if (io_reactor_add(reactor, port->fd, port, EVENT_READ) != 0) {
        fprintf(stderr, "driver_skeleton: %s\n", io_reactor_last_error());
        exit(1);
    }
    printf("listening on %d\n", ntohs(address.sin_port));
}

int main(int argc, char **argv)
{
    io_event_t events[MAX_EVENTS];
    int i;

    if (argc < 2 || argc > 1 + MAX_PORTS) {
        fprintf(stderr, "usage: driver_skeleton PORT... (1 to %d of them)\n", MAX_PORTS);
        return 2;
    }
    reactor = io_reactor_create();
    if (reactor == NULL) {
        fprintf(stderr, "driver_skeleton: %s\n", io_reactor_last_error());
        return 1;
    }
    /* Before the ports: if standard input is closed, a socket would get its number. */
    if (io_reactor_add_console(reactor, &console) != 0)
        fprintf(stderr, "no console: %s\n", io_reactor_last_error());
    for (i = 1; i < argc; i++)
        open_port(argv[i]);
    io_reactor_timer_add(reactor, &heart_beat, 2000000, 2000000);
    printf("ready\n");
    fflush(stdout);

    while (running) {
        /* No timeout: the heart beat is a timer, and input does not wait for it. */
        int count = io_reactor_wait(reactor, events, MAX_EVENTS, NULL);

        for (i = 0; i < count; i++) {
            switch (*(enum kind *)events[i].context) {
            case PORT:
                new_user(events[i].context);
                break;
            case PAUSED_PORT:
                resume_port(((struct paused_port *)events[i].context)->port);
                break;
            case USER:
                user_event(events[i].context, &events[i]);
                break;
            case CONSOLE:
                console_event(&events[i]);
                break;
            case HEART_BEAT:
                beats++; /* call_heart_beat() */
                break;
            }
        }
        /* Not in the loop above: later events of the same batch may have them as context. */
        for (i = 0; i < MAX_USERS; i++)
            if (users[i] != NULL && users[i]->leaving)
                remove_user(users[i]);
    }
    shout("Shutting down.\r\n");
    for (i = 0; i < MAX_USERS; i++)
        if (users[i] != NULL)
            remove_user(users[i]);
    for (i = 0; i < port_count; i++) {
        io_reactor_remove(reactor, ports[i].fd);
        close_socket(ports[i].fd);
    }
    io_reactor_destroy(reactor);
    printf("bye after %d heart beats\n", beats);
    return 0;
}
