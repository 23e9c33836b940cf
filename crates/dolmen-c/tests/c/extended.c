/* What io_reactor.h has beyond the reference for sockets: events with the socket, listeners that accept, another context,
   the system's handle. The same on both systems, unless a case says otherwise. */
#include "check.h"

#ifndef _WIN32
#include <poll.h>
#endif

static int first, second;

static int wait_ex_ms(io_reactor_t *reactor, io_event_ex_t *events, int max_events, int milliseconds)
{
    struct timeval timeout;

    timeout.tv_sec = milliseconds / 1000;
    timeout.tv_usec = milliseconds % 1000 * 1000;
    return io_reactor_wait_ex(reactor, events, max_events, &timeout);
}

static io_event_ex_t wait_one_ex(io_reactor_t *reactor)
{
    io_event_ex_t event;

    CHECK(wait_ex_ms(reactor, &event, 1, DEADLINE_MS) == 1);
    return event;
}

static void the_event_has_the_socket(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_ex_t event;
    socket_fd_t pair[2];
    char byte;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &first, EVENT_READ) == 0);
    send_all(pair[1], "x", 1);
    event = wait_one_ex(reactor);
    CHECK(event.fd == pair[0] && event.completion_key == 0 && event.event.context == &first);
    CHECK(take_bytes(reactor, pair[0], &event.event, &byte, 1) == 1 && byte == 'x');
    /* Neither a message nor a timer has a socket. */
    CHECK(io_reactor_post(reactor, &second, &byte) == 0);
    event = wait_one_ex(reactor);
    CHECK(event.fd == INVALID_SOCKET && event.completion_key == 0);
    CHECK(event.event.event_type == EVENT_POST && event.event.context == &second && event.event.buffer == &byte);
    CHECK(io_reactor_timer_add(reactor, &first, 1000, 0) != 0);
    event = wait_one_ex(reactor);
    CHECK(event.fd == INVALID_SOCKET && event.event.event_type == EVENT_TIMER && event.event.context == &first);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void another_context_is_that_of_later_events(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    socket_fd_t pair[2];

    make_pair(pair);
    CHECK(io_reactor_modify_ex(reactor, pair[0], &second, EVENT_READ) == -1);
    CHECK(strstr(io_reactor_last_error(), "not registered") != NULL);
    CHECK(io_reactor_modify_ex(NULL, pair[0], &second, EVENT_READ) == -1);
    CHECK(io_reactor_add(reactor, pair[0], &first, EVENT_READ) == 0);
    CHECK(io_reactor_modify_ex(reactor, pair[0], &second, EVENT_READ) == 0);
    send_all(pair[1], "x", 1);
    event = wait_one(reactor);
    CHECK(event.context == &second && event.event_type == EVENT_READ);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static int own_port(socket_fd_t fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    return ntohs(address.sin_port);
}

static int port_of_peer(socket_fd_t fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    CHECK(getpeername(fd, (struct sockaddr *)&address, &length) == 0);
    return ntohs(address.sin_port);
}

static void a_listener_delivers_accepted_sockets(void)
{
    enum { CLIENTS = 40 };
    io_reactor_t *reactor = io_reactor_create();
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), clients[CLIENTS], users[CLIENTS], pair[2];
    io_event_ex_t events[7];
    int i, k, count, seen = 0;

    make_pair(pair);
    CHECK(io_reactor_add_listener(NULL, listener, &first) == -1);
    CHECK(io_reactor_add_listener(reactor, pair[0], &first) == -1);
    CHECK(strstr(io_reactor_last_error(), "not a listening socket") != NULL);
    CHECK(io_reactor_add_listener(reactor, INVALID_SOCKET, &first) == -1);
    CHECK(io_reactor_add_listener(reactor, listener, &first) == 0);
    CHECK(io_reactor_add_listener(reactor, listener, &first) == -1);
    CHECK(wait_ex_ms(reactor, events, 7, SILENCE_MS) == 0);
    for (i = 0; i < CLIENTS; i++)
        clients[i] = connect_to(&address);
    while (seen < CLIENTS) {
        count = wait_ex_ms(reactor, events, 7, DEADLINE_MS);
        CHECK(count > 0);
        for (k = 0; k < count; k++) {
            CHECK(events[k].event.event_type == EVENT_ACCEPT && events[k].event.context == &first);
            CHECK(events[k].fd != INVALID_SOCKET && events[k].fd != listener);
            users[seen++] = events[k].fd;
        }
    }
    CHECK(wait_ex_ms(reactor, events, 7, SILENCE_MS) == 0);
#ifdef _WIN32
    /* They have neither the listener's network event nor its mode: a socket with an event cannot be made blocking. */
    for (i = 0; i < CLIENTS; i++) {
        u_long off = 0;
        CHECK(ioctlsocket(users[i], FIONBIO, &off) == 0);
        set_nonblocking(users[i]);
    }
#endif
    /* They are as good as those of the caller's own accept: each has its client at the other end. */
    for (i = 0; i < CLIENTS; i++)
        CHECK(io_reactor_add(reactor, users[i], &users[i], EVENT_READ) == 0);
    for (i = 0; i < CLIENTS; i++) {
        char sent = (char)('0' + i), byte;
        /* They may have been accepted in another order. */
        for (k = 0; k < CLIENTS && port_of_peer(users[k]) != own_port(clients[i]); k++)
            ;
        CHECK(k < CLIENTS);
        send_all(clients[i], &sent, 1);
        count = wait_ex_ms(reactor, events, 1, DEADLINE_MS);
        CHECK(count == 1 && events[0].event.context == &users[k] && events[0].fd == users[k]);
        CHECK(take_bytes(reactor, events[0].fd, &events[0].event, &byte, 1) == 1 && byte == sent);
    }
    io_reactor_destroy(reactor);
    for (i = 0; i < CLIENTS; i++) {
        close_socket(clients[i]);
        close_socket(users[i]);
    }
    close_socket(pair[0]);
    close_socket(pair[1]);
    close_socket(listener);
}

/* io_reactor_wait() has no place for a socket: it reports the listener, and the caller accepts. */
static void a_wait_without_sockets_accepts_nothing(void)
{
    io_reactor_t *reactor = io_reactor_create();
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), client, accepted;
    io_event_t event;

    CHECK(io_reactor_add_listener(reactor, listener, &first) == 0);
    client = connect_to(&address);
    event = wait_one(reactor);
    CHECK(event.context == &first && event.event_type == EVENT_READ && event.buffer == NULL);
    accepted = accept(listener, NULL, NULL);
    CHECK(accepted != INVALID_SOCKET);
    close_socket(accepted);
    wait_silence(reactor);
    close_socket(client);
    client = connect_to(&address);
    CHECK(io_reactor_remove(reactor, listener) == 0);
    wait_silence(reactor);
    accepted = accept(listener, NULL, NULL);
    CHECK(accepted != INVALID_SOCKET);
    io_reactor_destroy(reactor);
    close_socket(accepted);
    close_socket(client);
    close_socket(listener);
}

#ifdef _WIN32
static void packets_of_others_come_out_of_the_wait_with_a_place_for_them(void)
{
    io_reactor_t *reactor = io_reactor_create();
    HANDLE port = (HANDLE)io_reactor_native_handle(reactor);
    OVERLAPPED overlapped;
    io_event_ex_t event;

    CHECK(port != NULL && io_reactor_native_handle(NULL) == NULL);
    memset(&overlapped, 0, sizeof overlapped);
    CHECK(PostQueuedCompletionStatus(port, 77, 0x1234, &overlapped));
    event = wait_one_ex(reactor);
    CHECK(event.event.event_type == EVENT_COMPLETION && event.completion_key == 0x1234);
    CHECK(event.event.bytes_transferred == 77 && event.event.buffer == &overlapped);
    CHECK(event.event.context == NULL && event.fd == INVALID_SOCKET);
    /* All 32 bits of the count. */
    CHECK(PostQueuedCompletionStatus(port, 0xDEADBEEFu, 0x1234, NULL));
    event = wait_one_ex(reactor);
    CHECK((DWORD)event.event.bytes_transferred == 0xDEADBEEFu && event.event.buffer == NULL);
    CHECK(PostQueuedCompletionStatus(port, 77, 0x1234, &overlapped));
    wait_silence(reactor);
    io_reactor_destroy(reactor);
}
#else
/* Another event loop polls the handle. */
static void the_handle_is_readable_while_there_is_something(void)
{
    io_reactor_t *reactor = io_reactor_create();
    struct pollfd entry;
    socket_fd_t pair[2];
    char byte;

    CHECK(io_reactor_native_handle(NULL) == -1);
    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &first, EVENT_READ) == 0);
    wait_silence(reactor);
    entry.fd = io_reactor_native_handle(reactor);
    entry.events = POLLIN;
    CHECK(entry.fd >= 0 && poll(&entry, 1, SILENCE_MS) == 0);
    send_all(pair[1], "x", 1);
    CHECK(poll(&entry, 1, DEADLINE_MS) == 1);
    CHECK(wait_one(reactor).context == &first);
    CHECK(recv(pair[0], &byte, 1, 0) == 1);
    wait_silence(reactor);
    CHECK(poll(&entry, 1, 0) == 0);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* What poll(2) takes. */
static int milliseconds_to_block(io_reactor_t *reactor)
{
    struct timeval next;

    switch (io_reactor_next_timeout(reactor, &next)) {
    case 0:
        return -1;
    case 1:
        return (int)(next.tv_sec * 1000 + (next.tv_usec + 999) / 1000);
    default:
        CHECK(!"io_reactor_next_timeout has failed");
        return 0;
    }
}

/* One pass of another event loop: it blocks in poll(2) alone. Returns the number of events. */
static int pass(io_reactor_t *reactor, io_event_ex_t *events, int max_events)
{
    struct pollfd entry;

    entry.fd = io_reactor_native_handle(reactor);
    entry.events = POLLIN;
    CHECK(poll(&entry, 1, milliseconds_to_block(reactor)) >= 0);
    return wait_ex_ms(reactor, events, max_events, 0);
}

static void an_outer_loop_learns_for_how_long_it_may_block(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_ex_t events[4];
    struct timeval next = { 7, 7 };
    uint64_t started = now_us();
    socket_fd_t pair[2];
    int count;

    CHECK(io_reactor_next_timeout(NULL, &next) == -1 && io_reactor_next_timeout(reactor, NULL) == -1);
    CHECK(io_reactor_next_timeout(reactor, &next) == 0 && next.tv_sec == 7 && next.tv_usec == 7);
    CHECK(io_reactor_timer_add(reactor, &first, 30000, 0) != 0);
    CHECK(io_reactor_next_timeout(reactor, &next) == 1 && next.tv_sec == 0 && next.tv_usec <= 30000);
    do
        count = pass(reactor, events, 4);
    while (count == 0);
    CHECK(count == 1 && events[0].event.event_type == EVENT_TIMER && now_us() - started >= 30000);
    CHECK(io_reactor_next_timeout(reactor, &next) == 0);
    /* What is there already, and what a wait had no room for. */
    CHECK(io_reactor_post(reactor, &first, NULL) == 0 && io_reactor_post(reactor, &second, NULL) == 0);
    CHECK(milliseconds_to_block(reactor) == 0);
    CHECK(pass(reactor, events, 1) == 1);
    CHECK(milliseconds_to_block(reactor) == 0);
    CHECK(pass(reactor, events, 1) == 1);
    while (milliseconds_to_block(reactor) == 0)
        CHECK(pass(reactor, events, 4) == 0);
    CHECK(io_reactor_next_timeout(reactor, &next) == 0);
    /* What only the handle shows. */
    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &first, EVENT_READ) == 0);
    while (milliseconds_to_block(reactor) == 0)
        CHECK(pass(reactor, events, 4) == 0);
    send_all(pair[1], "x", 1);
    CHECK(pass(reactor, events, 4) == 1 && events[0].event.context == &first);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* Standard input that is a file has something for each wait, which no handle shows. */
static void an_outer_loop_does_not_block_on_a_file(void)
{
    io_reactor_t *reactor = io_reactor_create();
    int input = dup(0), file = open("/dev/null", O_RDONLY);
    io_event_ex_t events[4];
    struct timeval next;

    CHECK(input >= 0 && file >= 0 && dup2(file, 0) == 0);
    CHECK(io_reactor_add_console(reactor, &first) == 0);
    CHECK(milliseconds_to_block(reactor) == 0);
    CHECK(pass(reactor, events, 4) == 1 && events[0].event.context == &first);
    /* Its end has been reported. */
    while (milliseconds_to_block(reactor) == 0)
        CHECK(pass(reactor, events, 4) == 0);
    CHECK(io_reactor_next_timeout(reactor, &next) == 0);
    io_reactor_destroy(reactor);
    CHECK(dup2(input, 0) == 0);
    close(input);
    close(file);
}

static struct rlimit all_descriptors;

static void leave_no_descriptor(void)
{
    struct rlimit low;

    CHECK(getrlimit(RLIMIT_NOFILE, &all_descriptors) == 0);
    low = all_descriptors;
    low.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
}

static void give_descriptors_back(void)
{
    CHECK(setrlimit(RLIMIT_NOFILE, &all_descriptors) == 0);
}

/* A listener of `reactor` that pauses, while a client waits. */
static socket_fd_t make_paused_listener(io_reactor_t *reactor, socket_fd_t *client)
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address);
    struct timeval next;
    io_event_ex_t event;

    CHECK(io_reactor_add_listener(reactor, listener, &first) == 0);
    *client = connect_to(&address);
    leave_no_descriptor();
    while (io_reactor_next_timeout(reactor, &next) == 0 || (next.tv_sec == 0 && next.tv_usec == 0))
        CHECK(wait_ex_ms(reactor, &event, 1, 0) == 0);
    return listener;
}

/* An outer loop knows of the pause, which no handle shows. */
static void hc10_an_outer_loop_does_not_sleep_through_the_end_of_a_pause(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t client, listener = make_paused_listener(reactor, &client);
    io_event_ex_t events[4];
    int count;

    give_descriptors_back();
    do
        count = pass(reactor, events, 4);
    while (count == 0);
    CHECK(count == 1 && events[0].event.event_type == EVENT_ACCEPT);
    io_reactor_destroy(reactor);
    close_socket(events[0].fd);
    close_socket(client);
    close_socket(listener);
}

/* The end of a pause restores what the caller asks for by then. */
static void hc10_a_pause_does_not_change_what_the_caller_asks_for(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t client, listener = make_paused_listener(reactor, &client);
    io_event_ex_t event;
    struct timeval next;

    CHECK(io_reactor_modify(reactor, listener, 0) == 0);
    give_descriptors_back();
    /* Until the pause is over. */
    while (io_reactor_next_timeout(reactor, &next) != 0)
        CHECK(wait_ex_ms(reactor, &event, 1, DEADLINE_MS) == 0);
    CHECK(wait_ex_ms(reactor, &event, 1, SILENCE_MS) == 0);
    CHECK(io_reactor_modify_ex(reactor, listener, &second, EVENT_READ) == 0);
    CHECK(wait_ex_ms(reactor, &event, 1, DEADLINE_MS) == 1);
    CHECK(event.event.event_type == EVENT_ACCEPT && event.event.context == &second);
    io_reactor_destroy(reactor);
    close_socket(event.fd);
    close_socket(client);
    close_socket(listener);
}

/* However often the caller changes its interest: the system is not asked before the pause is over, and nothing of the pause
   is left behind a removed listener. */
static void hc10_a_listener_has_one_pause_which_ends_with_it(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t client, listener = make_paused_listener(reactor, &client), pair[2];
    io_reactor_stats_t before, after;
    io_event_ex_t event;
    struct timeval next;
    int i;

    CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
    for (i = 0; i < 20; i++) {
        CHECK(io_reactor_modify_ex(reactor, listener, &first, EVENT_READ) == 0);
        CHECK(wait_ex_ms(reactor, &event, 1, 0) == 0);
    }
    CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0);
    CHECK(after.kernel_calls - before.kernel_calls < 30);
    CHECK(io_reactor_remove(reactor, listener) == 0);
    give_descriptors_back();
    while (milliseconds_to_block(reactor) == 0)
        CHECK(wait_ex_ms(reactor, &event, 1, 0) == 0);
    CHECK(io_reactor_next_timeout(reactor, &next) == 0);
    /* A user in its place. */
    make_pair(pair);
    send_all(pair[1], "x", 1);
    CHECK(io_reactor_add(reactor, pair[0], &second, 0) == 0);
    CHECK(wait_ex_ms(reactor, &event, 1, SILENCE_MS) == 0);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
    close_socket(client);
    close_socket(listener);
}

/* Connections that a wait had no room for are not accepted if the caller has withdrawn its interest since. */
static void a_muted_listener_accepts_nothing(void)
{
    enum { EACH = 3 };
    io_reactor_t *reactor = io_reactor_create();
    struct sockaddr_in addresses[2];
    socket_fd_t listeners[2], clients[2 * EACH], accepted;
    io_event_ex_t events[2];
    int i, k, served;

    for (i = 0; i < 2; i++) {
        listeners[i] = make_listener(&addresses[i]);
        CHECK(io_reactor_add_listener(reactor, listeners[i], &listeners[i]) == 0);
    }
    for (i = 0; i < 2 * EACH; i++)
        clients[i] = connect_to(&addresses[i % 2]);
    /* Both have connections, and those of one take all the room. */
    CHECK(wait_ex_ms(reactor, events, 2, DEADLINE_MS) == 2);
    CHECK(events[0].event.event_type == EVENT_ACCEPT && events[1].event.event_type == EVENT_ACCEPT);
    CHECK(events[0].event.context == events[1].event.context);
    served = events[0].event.context == &listeners[1];
    for (i = 0; i < 2; i++) {
        close_socket(events[i].fd);
        CHECK(io_reactor_modify(reactor, listeners[i], 0) == 0);
    }
    for (i = 0; i < 4; i++)
        CHECK(wait_ex_ms(reactor, events, 2, 0) == 0);
    /* They are still there for the caller, or for the library again. */
    accepted = accept(listeners[!served], NULL, NULL);
    CHECK(accepted != INVALID_SOCKET);
    close_socket(accepted);
    CHECK(io_reactor_modify(reactor, listeners[!served], EVENT_READ) == 0);
    for (i = 0; i < EACH - 1; i++) {
        CHECK(wait_ex_ms(reactor, events, 1, DEADLINE_MS) == 1);
        CHECK(events[0].event.event_type == EVENT_ACCEPT && events[0].event.context == &listeners[!served]);
        close_socket(events[0].fd);
    }
    io_reactor_destroy(reactor);
    for (k = 0; k < 2 * EACH; k++)
        close_socket(clients[k]);
    close_socket(listeners[0]);
    close_socket(listeners[1]);
}

/* The statistics count the caller's timers, also while the end of a pause waits for room. */
static void hc10_the_end_of_a_pause_is_no_timer_of_the_callers(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t client, listener = make_paused_listener(reactor, &client);
    io_reactor_stats_t stats;
    io_event_ex_t event;
    int i, left, paused = 1;

    CHECK(io_reactor_timer_add(reactor, &second, 3600000000u, 0) != 0);
    CHECK(io_reactor_stats(reactor, &stats, sizeof stats) == 0 && stats.timers == 1);
    /* A busy driver: the pause is over, and messages are in front. */
    while ((left = milliseconds_to_block(reactor)) > 0 && left < 1000)
        poll(NULL, 0, left);
    for (i = 0; i < 3; i++)
        CHECK(io_reactor_post(reactor, &second, NULL) == 0);
    for (i = 0; i < 3;) {
        /* A new pause, for there is still no descriptor, may take a place. */
        int count = wait_ex_ms(reactor, &event, 1, DEADLINE_MS);
        CHECK(count == 0 || event.event.event_type == EVENT_POST);
        i += count;
        CHECK(io_reactor_stats(reactor, &stats, sizeof stats) == 0);
        CHECK(stats.timers == 1);
    }
    give_descriptors_back();
    while (paused) {
        i = wait_ex_ms(reactor, &event, 1, DEADLINE_MS);
        CHECK(i == 0 || event.event.event_type == EVENT_ACCEPT);
        paused = i == 0;
    }
    CHECK(io_reactor_stats(reactor, &stats, sizeof stats) == 0 && stats.timers == 1);
    io_reactor_destroy(reactor);
    close_socket(event.fd);
    close_socket(client);
    close_socket(listener);
}

/* At the limit of descriptors a listener neither ends waits nor loses the connection. */
static void hc10_a_listener_without_descriptors_pauses(void)
{
    io_reactor_t *reactor = io_reactor_create();
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), client;
    struct rlimit limit, low;
    io_reactor_stats_t before, after;
    io_event_ex_t event;
    int i, count = 0;

    CHECK(io_reactor_add_listener(reactor, listener, &first) == 0);
    client = connect_to(&address);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    low = limit;
    low.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
    for (i = 0; i < 4; i++)
        count += wait_ex_ms(reactor, &event, 1, 25);
    CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(count == 0);
    CHECK(after.kernel_calls - before.kernel_calls < 40);
    CHECK(after.timers == 0); /* the pause's is not the caller's */
    do {
        count = wait_ex_ms(reactor, &event, 1, DEADLINE_MS);
    } while (count == 0);
    CHECK(count == 1 && event.event.event_type == EVENT_ACCEPT && event.event.context == &first);
    close_socket(event.fd);
    /* A pause ends with the registration. */
    close_socket(client);
    client = connect_to(&address);
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    CHECK(wait_ex_ms(reactor, &event, 1, 0) == 0);
    CHECK(io_reactor_remove(reactor, listener) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0 && after.timers == 0);
    io_reactor_destroy(reactor);
    close_socket(client);
    close_socket(listener);
}
#endif

int main(int argc, char **argv)
{
    check_begin(argc, argv);
    RUN(the_event_has_the_socket);
    RUN(another_context_is_that_of_later_events);
    RUN(a_listener_delivers_accepted_sockets);
    RUN(a_wait_without_sockets_accepts_nothing);
#ifdef _WIN32
    RUN(packets_of_others_come_out_of_the_wait_with_a_place_for_them);
#else
    RUN(the_handle_is_readable_while_there_is_something);
    RUN(an_outer_loop_learns_for_how_long_it_may_block);
    RUN(an_outer_loop_does_not_block_on_a_file);
    RUN(a_muted_listener_accepts_nothing);
    /* valgrind takes a connection before it reports that there is no descriptor for it, and the connection is lost. */
    if (!slow()) {
        RUN(hc10_a_listener_without_descriptors_pauses);
        RUN(hc10_an_outer_loop_does_not_sleep_through_the_end_of_a_pause);
        RUN(hc10_a_pause_does_not_change_what_the_caller_asks_for);
        RUN(hc10_a_listener_has_one_pause_which_ends_with_it);
        RUN(hc10_the_end_of_a_pause_is_no_timer_of_the_callers);
    }
#endif
    return check_end();
}
