/* Outgoing connections, with one event for each attempt, and names, with one call for each. */
#include "check.h"

static int context;

static socket_fd_t make_socket(void)
{
    socket_fd_t fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(fd != INVALID_SOCKET);
    return fd;
}

static int begin(io_reactor_t *reactor, socket_fd_t fd, const struct sockaddr_in *address)
{
    return io_reactor_connect(reactor, fd, address, (int)sizeof *address, &context);
}

/* Asks for the bytes of a socket that has just been connected. */
static void ask(io_reactor_t *reactor, socket_fd_t fd)
{
#ifdef _WIN32
    CHECK(io_reactor_post_read(reactor, fd, NULL, 0) == 0);
#else
    CHECK(io_reactor_modify(reactor, fd, EVENT_READ) == 0);
#endif
}

static void connects_and_goes_on_like_a_socket_that_was_added(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), fd = make_socket(), peer;
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    char bytes[16];

    CHECK(begin(reactor, fd, &address) == 0);
    CHECK(begin(reactor, fd, &address) == -1);
    CHECK(io_reactor_add(reactor, fd, &context, EVENT_READ) == -1);
    event = wait_one(reactor);
    CHECK(event.context == &context && event.event_type == EVENT_WRITE && event.bytes_transferred == 0);
    wait_silence(reactor);
    peer = accept(listener, NULL, NULL);
    CHECK(peer != INVALID_SOCKET);
    ask(reactor, fd);
    send_all(peer, "hello", 5);
    event = wait_one(reactor);
    CHECK(event.context == &context && take_bytes(reactor, fd, &event, bytes, sizeof bytes) == 5);
    CHECK(memcmp(bytes, "hello", 5) == 0);
#ifdef _WIN32
    {
        char answer[] = "welcome";
        CHECK(io_reactor_post_write(reactor, fd, answer, 7) == 0);
        event = wait_one(reactor);
        CHECK(event.event_type == EVENT_WRITE && event.bytes_transferred == 7);
    }
#else
    send_all(fd, "welcome", 7);
#endif
    recv_all(peer, bytes, 7);
    CHECK(memcmp(bytes, "welcome", 7) == 0);
    CHECK(io_reactor_remove(reactor, fd) == 0);
    close_socket(fd);
    close_socket(peer);
    close_socket(listener);
    io_reactor_destroy(reactor);
}

static void a_refusal_is_an_event_or_the_result_of_the_call(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), fd;
    io_reactor_t *reactor = io_reactor_create();
    int i;

    close_socket(listener);
    for (i = 0; i < 3; i++) {
        fd = make_socket();
        if (begin(reactor, fd, &address) == 0) {
            io_event_t event = wait_one(reactor);
            CHECK(event.context == &context && event.event_type == EVENT_ERROR);
#ifdef _WIN32
            CHECK(event.bytes_transferred == WSAECONNREFUSED);
#else
            {
                int error = 0;
                socklen_t size = sizeof error;
                CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNREFUSED);
            }
#endif
            wait_silence(reactor);
            CHECK(io_reactor_remove(reactor, fd) == 0);
        } else {
            CHECK(strstr(io_reactor_last_error(), "io_reactor_connect") != NULL);
            wait_silence(reactor);
        }
        close_socket(fd);
    }
    io_reactor_destroy(reactor);
}

/* A listener with a full backlog does not answer. */
static void an_attempt_that_is_given_up_is_silent(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = socket(AF_INET, SOCK_STREAM, 0), fill[4], fd;
    socklen_t length = sizeof address;
    io_reactor_t *reactor = io_reactor_create();
    int i;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 0) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    for (i = 0; i < 4; i++) {
        fill[i] = make_socket();
        set_nonblocking(fill[i]);
        connect(fill[i], (struct sockaddr *)&address, sizeof address);
    }
    fd = make_socket();
    CHECK(begin(reactor, fd, &address) == 0);
    wait_silence(reactor);
    CHECK(io_reactor_remove(reactor, fd) == 0);
    close_socket(fd);
    wait_silence(reactor);
    /* And one that is in progress when the reactor ends. */
    fd = make_socket();
    CHECK(begin(reactor, fd, &address) == 0);
    io_reactor_destroy(reactor);
    close_socket(fd);
    for (i = 0; i < 4; i++)
        close_socket(fill[i]);
    close_socket(listener);
}

#ifndef _WIN32
/* A server that is full says so and hangs up, before the reactor has looked. Windows discards what a reset has
   overtaken. */
static void what_a_peer_has_sent_can_be_read_although_it_has_reset(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), fd = make_socket(), peer;
    struct linger hard = { 1, 0 };
    io_reactor_t *reactor = io_reactor_create();
    char text[16];
    io_event_t event;

    CHECK(begin(reactor, fd, &address) == 0);
    peer = accept(listener, NULL, NULL);
    CHECK(peer >= 0);
    send_all(peer, "we are full", 11);
    CHECK(setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
    close_socket(peer);
    CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 1);
    CHECK(event.event_type == EVENT_WRITE);
    CHECK(recv(fd, text, sizeof text, 0) == 11 && memcmp(text, "we are full", 11) == 0);
    CHECK(recv(fd, text, sizeof text, 0) == -1 && errno == ECONNRESET);
    CHECK(io_reactor_remove(reactor, fd) == 0);
    close_socket(fd);
    close_socket(listener);
    io_reactor_destroy(reactor);
}
#endif

static void what_cannot_be_connected_is_refused(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), fd = make_socket(), pair[2], datagrams;
    io_reactor_t *reactor = io_reactor_create();

    make_pair(pair);
    datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(io_reactor_connect(NULL, fd, &address, (int)sizeof address, NULL) == -1);
    CHECK(io_reactor_connect(reactor, fd, NULL, (int)sizeof address, NULL) == -1);
    CHECK(io_reactor_connect(reactor, fd, &address, 0, NULL) == -1);
    CHECK(io_reactor_connect(reactor, fd, &address, -1, NULL) == -1);
    CHECK(io_reactor_connect(reactor, fd, &address, 100000, NULL) == -1);
    CHECK(begin(reactor, INVALID_SOCKET, &address) == -1);
    CHECK(begin(reactor, pair[0], &address) == -1);
    CHECK(begin(reactor, datagrams, &address) == -1);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
    close_socket(datagrams);
    close_socket(fd);
    close_socket(listener);
}

/* Each wait repeats an event that was not handled, as for a socket that was added. */
#ifndef _WIN32
static void input_is_reported_until_it_has_been_read(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), fd = make_socket(), peer;
    io_reactor_t *reactor = io_reactor_create();
    char byte;
    int i;

    CHECK(begin(reactor, fd, &address) == 0);
    CHECK(wait_one(reactor).event_type == EVENT_WRITE);
    peer = accept(listener, NULL, NULL);
    CHECK(peer != INVALID_SOCKET);
    send_all(peer, "ab", 2);
    CHECK(io_reactor_modify(reactor, fd, EVENT_READ) == 0);
    for (i = 0; i < 2; i++) {
        CHECK(wait_one(reactor).event_type == EVENT_READ);
        CHECK(wait_one(reactor).event_type == EVENT_READ);
        recv_all(fd, &byte, 1);
    }
    wait_silence(reactor);
    send_all(peer, "c", 1);
    CHECK(wait_one(reactor).event_type == EVENT_READ);
    io_reactor_destroy(reactor);
    close_socket(fd);
    close_socket(peer);
    close_socket(listener);
}
#endif

/* The same call on both systems: it gives the socket of a finished attempt its context and its events, once. */
static void a_connected_socket_may_be_added(void)
{
    static int user;
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), fd, peer;
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    char bytes[16];
    int round;

    /* Directly, or after it was removed. */
    for (round = 0; round < 2; round++) {
        fd = make_socket();
        CHECK(begin(reactor, fd, &address) == 0);
        CHECK(io_reactor_add(reactor, fd, &user, EVENT_READ) == -1);
        event = wait_one(reactor);
        CHECK(event.context == &context && event.event_type == EVENT_WRITE);
        peer = accept(listener, NULL, NULL);
        CHECK(peer != INVALID_SOCKET);
        if (round == 1)
            CHECK(io_reactor_remove(reactor, fd) == 0);
        CHECK(io_reactor_add(reactor, fd, &user, EVENT_READ) == 0);
        CHECK(io_reactor_add(reactor, fd, &context, EVENT_READ) == -1);
        CHECK(begin(reactor, fd, &address) == -1);
        wait_silence(reactor);
        send_all(peer, "hello", 5);
        event = wait_one(reactor);
        CHECK(event.context == &user && take_bytes(reactor, fd, &event, bytes, sizeof bytes) == 5);
        wait_silence(reactor);
        CHECK(io_reactor_remove(reactor, fd) == 0);
        close_socket(fd);
        close_socket(peer);
    }
    close_socket(listener);
    io_reactor_destroy(reactor);
}

/* Nothing that is asked of a socket before its event makes a second event, or an earlier one. */
static void before_its_event_a_socket_can_do_nothing(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), fd = make_socket();
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    char byte = 'x';
    void *expected = &context;

    CHECK(begin(reactor, fd, &address) == 0);
#ifdef _WIN32
    CHECK(io_reactor_modify(reactor, fd, EVENT_READ | EVENT_WRITE) == 0);
    CHECK(io_reactor_post_read(reactor, fd, NULL, 0) == -1);
    CHECK(io_reactor_post_write(reactor, fd, &byte, 1) == -1);
    /* Only the context is changed. */
    CHECK(io_reactor_modify_ex(reactor, fd, &byte, EVENT_READ | EVENT_WRITE) == 0);
    expected = &byte;
#else
    CHECK(io_reactor_modify(reactor, fd, EVENT_READ | EVENT_WRITE) == -1);
    CHECK(io_reactor_modify_ex(reactor, fd, &byte, EVENT_READ | EVENT_WRITE) == -1);
    CHECK(io_reactor_post_read(reactor, fd, &byte, 1) == 0);
#endif
    event = wait_one(reactor);
    CHECK(event.context == expected && event.event_type == EVENT_WRITE && event.bytes_transferred == 0);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
    close_socket(fd);
    close_socket(listener);
}

/* A socket that calls its own address is answered by itself. */
static void a_connection_to_itself_is_an_error(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    socket_fd_t fd = make_socket();
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    CHECK(begin(reactor, fd, &address) == 0);
    event = wait_one(reactor);
    CHECK(event.context == &context && event.event_type == EVENT_ERROR);
#ifdef _WIN32
    CHECK(event.bytes_transferred == WSAECONNREFUSED);
#endif
    wait_silence(reactor);
    CHECK(io_reactor_remove(reactor, fd) == 0);
    close_socket(fd);
    io_reactor_destroy(reactor);
}

/* An address without a family would end a connection that stands. */
static void an_address_without_a_family_or_an_end_is_refused(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), fd = make_socket(), pair[2];
    io_reactor_t *reactor = io_reactor_create();
    struct sockaddr_in none = address;
    char byte;

    none.sin_family = AF_UNSPEC;
    make_pair(pair);
    CHECK(begin(reactor, fd, &none) == -1);
    CHECK(begin(reactor, pair[0], &none) == -1);
    none.sin_family = 99;
    CHECK(begin(reactor, fd, &none) == -1);
    CHECK(io_reactor_connect(reactor, fd, &address, 8, NULL) == -1);
    CHECK(io_reactor_connect(reactor, fd, &address, 15, NULL) == -1);
#ifndef _WIN32
    /* It is as it was. */
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
#endif
    send_all(pair[0], "x", 1);
    recv_all(pair[1], &byte, 1);
    CHECK(begin(reactor, fd, &address) == 0);
    CHECK(wait_one(reactor).event_type == EVENT_WRITE);
    io_reactor_destroy(reactor);
    close_socket(fd);
    close_socket(listener);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* What the function was given. */
static struct {
    io_reactor_t *reactor;
    socket_fd_t fd;
    int calls, count, failed;
} resolved;

/* Connects to the first address. */
static void on_resolved(void *argument, const void *const *addresses, const int *lengths, int count,
                        const char *error)
{
    CHECK(argument == &context);
    CHECK((count > 0) == (error == NULL));
    resolved.calls++;
    resolved.count = count;
    resolved.failed = error != NULL && *error != 0;
    if (count > 0 && resolved.fd != INVALID_SOCKET)
        CHECK(io_reactor_connect(resolved.reactor, resolved.fd, addresses[0], lengths[0], &context) == 0);
}

static void wait_for_call(io_reactor_t *reactor)
{
    io_event_t events[4];
    int before = resolved.calls;

    while (resolved.calls == before)
        CHECK(io_reactor_wait(reactor, events, 4, NULL) == 0);
}

static void a_name_is_resolved_and_connected_to(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address);
    io_reactor_t *reactor = io_reactor_create();
    int port = ntohs(address.sin_port);
    io_event_t event;

    resolved.reactor = reactor;
    resolved.fd = make_socket();
    CHECK(io_reactor_resolve(reactor, "127.0.0.1", port, on_resolved, &context) == 0);
    CHECK(resolved.calls == 0);
    wait_for_call(reactor);
    CHECK(resolved.count == 1);
    event = wait_one(reactor);
    CHECK(event.context == &context && event.event_type == EVENT_WRITE);
    CHECK(io_reactor_remove(reactor, resolved.fd) == 0);
    close_socket(resolved.fd);
    resolved.fd = INVALID_SOCKET;
    CHECK(io_reactor_resolve(reactor, "localhost", port, on_resolved, &context) == 0);
    wait_for_call(reactor);
    CHECK(resolved.count >= 1);
    /* A name that cannot exist: RFC 6761. */
    CHECK(io_reactor_resolve(reactor, "there.is.no.such.host.invalid", port, on_resolved, &context) == 0);
    wait_for_call(reactor);
    CHECK(resolved.count == 0 && resolved.failed);
    CHECK(resolved.calls == 3);
    CHECK(io_reactor_resolve(NULL, "localhost", port, on_resolved, NULL) == -1);
    CHECK(io_reactor_resolve(reactor, NULL, port, on_resolved, NULL) == -1);
    CHECK(io_reactor_resolve(reactor, "localhost", port, NULL, NULL) == -1);
    CHECK(io_reactor_resolve(reactor, "localhost", 65536, on_resolved, NULL) == -1);
    CHECK(io_reactor_resolve(reactor, "localhost", -1, on_resolved, NULL) == -1);
    CHECK(io_reactor_resolve(reactor, "", port, on_resolved, NULL) == -1);
    wait_silence(reactor);
    /* One that has not ended when the reactor does. */
    CHECK(io_reactor_resolve(reactor, "localhost", port, on_resolved, &context) == 0);
    io_reactor_destroy(reactor);
    CHECK(resolved.calls == 3);
    close_socket(listener);
}

/* The result ends the wait even if it has taken the only place. */
static void a_wait_for_one_event_ends_with_a_name(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;

    resolved.fd = INVALID_SOCKET;
    resolved.calls = 0;
    CHECK(io_reactor_resolve(reactor, "127.0.0.1", 1, on_resolved, &context) == 0);
    while (resolved.calls == 0)
        CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 0);
    CHECK(resolved.count == 1);
    io_reactor_destroy(reactor);
}

/* What a function does while a wait calls it. */
static struct {
    io_reactor_t *reactor;
    socket_fd_t fd;
    int calls;
} inside;

static void on_resolved_misused(void *argument, const void *const *addresses, const int *lengths, int count,
                                const char *error)
{
    io_event_t event;

    (void)argument, (void)addresses, (void)lengths, (void)count, (void)error;
    inside.calls++;
    CHECK(wait_ms(inside.reactor, &event, 1, 0) == -1);
    CHECK(strstr(io_reactor_last_error(), "io_reactor_wait: a wait is calling a function") != NULL);
    io_reactor_destroy(inside.reactor);
    CHECK(strstr(io_reactor_last_error(), "io_reactor_destroy: a wait is calling a function") != NULL);
    /* Everything else works. */
    CHECK(io_reactor_remove(inside.reactor, inside.fd) == 0);
    CHECK(io_reactor_wakeup(inside.reactor) == 0);
}

/* A function that a wait calls can neither overwrite nor outdate an event of that wait, nor take the reactor from it. */
static void a_function_that_a_wait_calls_does_not_harm_the_wait(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t events[4];
    socket_fd_t pair[2];
    int round, count, calls;

    inside.reactor = reactor;
    make_pair(pair);
    inside.fd = pair[0];
    set_nonblocking(pair[0]);
    for (round = 0; round < 20; round++) {
        inside.calls = 0;
        CHECK(io_reactor_add(reactor, pair[0], &context, EVENT_READ) == 0);
        send_all(pair[1], "x", 1);
        CHECK(io_reactor_resolve(reactor, "127.0.0.1", 1, on_resolved_misused, &context) == 0);
        while (inside.calls == 0) {
            calls = inside.calls;
            count = io_reactor_wait(reactor, events, 4, NULL);
            CHECK(count >= 0);
            /* The socket has been removed by then. */
            CHECK(inside.calls == calls || count == 0);
            /* A wait that fails calls nothing. */
            CHECK(io_reactor_wait(reactor, NULL, 4, NULL) == -1);
            CHECK(inside.calls == calls || count == 0);
        }
        CHECK(inside.calls == 1);
        while (wait_ms(reactor, events, 4, SILENCE_MS) != 0)
            ;
    }
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

struct link {
    io_reactor_t *reactor;
    socket_fd_t fd;
    int connected;
    void (*handle)(struct link *link, const io_event_t *event);
};

/* From here to the end of the second function: docs/c-guide.md. */
/* A link to another mud, as a driver makes it: look the name up, connect, then read as with any other socket. */
static void link_resolved(void *context, const void *const *addresses, const int *lengths, int count,
                          const char *error)
{
    struct link *link = (struct link *)context;

    if (count == 0) {
        fprintf(stderr, "no address: %s\n", error);
        return;
    }
    link->fd = socket(((const struct sockaddr *)addresses[0])->sa_family, SOCK_STREAM, 0);
    if (io_reactor_connect(link->reactor, link->fd, addresses[0], lengths[0], link) == -1) {
        fprintf(stderr, "%s\n", io_reactor_last_error());
        close_socket(link->fd);
    }
}

static void link_event(struct link *link, const io_event_t *event)
{
    if (link->connected) {
        /* Input, output or the end, as of a player's socket. */
        link->handle(link, event);
    } else if (event->event_type == EVENT_WRITE) {
        link->connected = 1;
        io_reactor_add(link->reactor, link->fd, link, EVENT_READ);
    } else {
        /* EVENT_ERROR. The reason: SO_ERROR on POSIX, event->bytes_transferred on Windows. */
        io_reactor_remove(link->reactor, link->fd);
        close_socket(link->fd);
    }
}

static int link_bytes;

static void link_input(struct link *link, const io_event_t *event)
{
    char bytes[16];

    link_bytes += take_bytes(link->reactor, link->fd, event, bytes, sizeof bytes);
}

static void the_link_of_the_guide_works(void)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), peer;
    struct link link;
    io_event_t event;

    link.reactor = io_reactor_create();
    link.fd = INVALID_SOCKET;
    link.connected = 0;
    link.handle = link_input;
    CHECK(io_reactor_resolve(link.reactor, "127.0.0.1", ntohs(address.sin_port), link_resolved, &link) == 0);
    while (link.fd == INVALID_SOCKET)
        CHECK(io_reactor_wait(link.reactor, &event, 1, NULL) == 0);
    event = wait_one(link.reactor);
    link_event((struct link *)event.context, &event);
    CHECK(link.connected);
    peer = accept(listener, NULL, NULL);
    CHECK(peer != INVALID_SOCKET);
    send_all(peer, "hello", 5);
    while (link_bytes < 5) {
        event = wait_one(link.reactor);
        link_event((struct link *)event.context, &event);
    }
    io_reactor_destroy(link.reactor);
    close_socket(link.fd);
    close_socket(peer);
    close_socket(listener);
}

int main(int argc, char **argv)
{
    check_begin(argc, argv);
    RUN(connects_and_goes_on_like_a_socket_that_was_added);
    RUN(a_refusal_is_an_event_or_the_result_of_the_call);
    RUN(an_attempt_that_is_given_up_is_silent);
    RUN(what_cannot_be_connected_is_refused);
#ifndef _WIN32
    RUN(what_a_peer_has_sent_can_be_read_although_it_has_reset);
#endif
#ifndef _WIN32
    RUN(input_is_reported_until_it_has_been_read);
#endif
    RUN(a_connected_socket_may_be_added);
    RUN(before_its_event_a_socket_can_do_nothing);
    RUN(a_connection_to_itself_is_an_error);
    RUN(an_address_without_a_family_or_an_end_is_refused);
    RUN(a_name_is_resolved_and_connected_to);
    RUN(a_function_that_a_wait_calls_does_not_harm_the_wait);
    RUN(a_wait_for_one_event_ends_with_a_name);
    RUN(the_link_of_the_guide_works);
    return check_end();
}
