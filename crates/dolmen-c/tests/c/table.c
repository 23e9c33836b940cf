/* Each row of the table of functions, and each promise beyond the reference. */
#include "check.h"

#include <limits.h>

static int a, b, c; /* contexts */

static void create_gives_reactors_side_by_side(void)
{
    io_reactor_t *first = io_reactor_create(), *second = io_reactor_create();
    io_event_t event;

    CHECK(first != NULL && second != NULL && first != second);
    CHECK(io_reactor_wakeup(first) == 0);
    CHECK(io_reactor_post(second, &b, NULL) == 0);
    CHECK(wait_ms(first, &event, 1, DEADLINE_MS) == 0);
    event = wait_one(second);
    CHECK(event.context == &b);
    io_reactor_destroy(first);
    wait_silence(second);
    io_reactor_destroy(second);
}

static void create_ex_takes_sizes(void)
{
    io_reactor_t *reactor = io_reactor_create_ex(2, 4);
    io_event_t events[8];
    int i;

    CHECK(io_reactor_create_ex(-1, 0) == NULL);
    CHECK(strstr(io_reactor_last_error(), "negative") != NULL);
    for (i = 0; i < 3; i++)
        CHECK(io_reactor_post(reactor, &a, NULL) == 0);
    CHECK(wait_ms(reactor, events, 8, DEADLINE_MS) == 2);
    CHECK(wait_ms(reactor, events, 8, DEADLINE_MS) == 1);
    io_reactor_destroy(reactor);
    reactor = io_reactor_create_ex(0, 0);
    CHECK(reactor != NULL);
    io_reactor_destroy(reactor);
}

static void destroy_leaves_the_sockets_open(void)
{
    struct sockaddr_in address;
    socket_fd_t pair[2], listener = make_listener(&address), client;
    io_reactor_t *reactor = io_reactor_create();
    char byte;

    io_reactor_destroy(NULL);
    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    CHECK(io_reactor_add(reactor, listener, &b, EVENT_READ) == 0);
    wait_silence(reactor); /* so that everything is in flight */
    io_reactor_destroy(reactor);
    send_all(pair[1], "x", 1);
    recv_all(pair[0], &byte, 1);
    send_all(pair[0], &byte, 1);
    recv_all(pair[1], &byte, 1);
    CHECK(byte == 'x');
    client = connect_to(&address);
    close_socket(client);
    close_socket(listener);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void add_refuses_what_it_cannot_do(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();

    make_pair(pair);
    CHECK(io_reactor_add(NULL, pair[0], &a, EVENT_READ) == -1);
    CHECK(io_reactor_add(reactor, INVALID_SOCKET, &a, EVENT_READ) == -1);
    CHECK(io_reactor_add(reactor, (socket_fd_t)999999, &a, EVENT_READ) == -1);
    CHECK(io_reactor_last_error()[0] != '\0');
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == -1);
    CHECK(strstr(io_reactor_last_error(), "already") != NULL);
    send_all(pair[1], "x", 1);
    CHECK(wait_one(reactor).context == &a);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

#ifndef _WIN32
/* Whether only the tested socket is reported: `fd` is the only one, with context `a`, and one byte is sent to it. */
static void reports_only(io_reactor_t *reactor, socket_fd_t fd, socket_fd_t peer)
{
    io_event_t event;
    char byte;

    send_all(peer, "x", 1);
    event = wait_one(reactor);
    CHECK(event.context == &a && event.event_type == EVENT_READ);
    recv_all(fd, &byte, 1);
    wait_silence(reactor);
}

/* The number now belongs to another socket, and the old registration was with interest or without. */
static void add_takes_a_socket_whose_predecessor_was_closed_unremoved(void)
{
    int round;

    for (round = 0; round < 2; round++) {
        socket_fd_t old[2], new[2];
        io_reactor_t *reactor = io_reactor_create();

        make_pair(old);
        make_pair(new);
        CHECK(io_reactor_add(reactor, old[0], &b, round == 0 ? EVENT_READ : 0) == 0);
        wait_silence(reactor);
        CHECK(dup2(new[0], old[0]) == old[0] && close(new[0]) == 0);
        CHECK(io_reactor_add(reactor, old[0], &a, EVENT_READ) == 0);
        CHECK(io_reactor_add(reactor, old[0], &c, EVENT_READ) == -1);
        reports_only(reactor, old[0], new[1]);
        CHECK(io_reactor_modify(reactor, old[0], 0) == 0);
        CHECK(io_reactor_add(reactor, old[0], &c, EVENT_READ) == -1);
        io_reactor_destroy(reactor);
        close(old[0]);
        close(old[1]);
        close(new[1]);
    }
}

/* A number that was closed, and belonged to another socket when it was removed, stands for its first socket again. */
static void a_number_may_get_back_the_socket_that_it_had(void)
{
    int round;

    for (round = 0; round < 2; round++) {
        socket_fd_t pair[2], other[2], copy;
        io_reactor_t *reactor = io_reactor_create();

        make_pair(pair);
        make_pair(other);
        CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == 0);
        wait_silence(reactor);
        copy = dup(pair[0]);
        CHECK(copy >= 0 && dup2(other[0], pair[0]) == pair[0]);
        CHECK(io_reactor_remove(reactor, pair[0]) == 0);
        if (round == 0)
            wait_silence(reactor);
        CHECK(dup2(copy, pair[0]) == pair[0]);
        CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
        reports_only(reactor, pair[0], pair[1]);
        io_reactor_destroy(reactor);
        close(copy);
        close(pair[0]);
        close(pair[1]);
        close(other[0]);
        close(other[1]);
    }
}

/* A child process has a copy of a descriptor, so epoll still reports the socket after it was closed here. */
static void a_socket_that_lives_on_elsewhere_is_silent_and_costs_nothing(void)
{
    int round;

    for (round = 0; round < 2; round++) {
        socket_fd_t pair[2], other[2], copy;
        io_reactor_t *reactor = io_reactor_create();
        io_reactor_stats_t before, after;

        make_pair(pair);
        make_pair(other);
        CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ | EVENT_WRITE) == 0);
        CHECK(io_reactor_add(reactor, other[0], &a, EVENT_READ) == 0);
        CHECK(wait_one(reactor).context == &b);
        copy = dup(pair[0]);
        CHECK(copy >= 0 && close(pair[0]) == 0);
        if (round == 1) {
            /* Also not removed, and its number belongs to another socket. */
            CHECK(dup2(other[0], pair[0]) == pair[0] && close(other[0]) == 0);
            CHECK(io_reactor_remove(reactor, other[0]) == 0);
            other[0] = pair[0];
            CHECK(io_reactor_add(reactor, other[0], &a, EVENT_READ) == 0);
        } else {
            CHECK(io_reactor_remove(reactor, pair[0]) == 0);
        }
        send_all(pair[1], "x", 1);
        CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
        wait_silence(reactor);
        CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0);
        CHECK(after.kernel_calls - before.kernel_calls < 20);
        reports_only(reactor, other[0], other[1]);
        CHECK(io_reactor_wakeup(reactor) == 0);
        CHECK(io_reactor_wait(reactor, &(io_event_t){0}, 1, NULL) == 0);
        io_reactor_destroy(reactor);
        close(copy);
        close(pair[1]);
        close(other[0]);
        close(other[1]);
    }
}

/* A driver that becomes a daemon: one process goes on, and the other one cleans up. */
static void after_a_fork_one_goes_on_and_the_other_may_destroy(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    int status;
    pid_t child;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    wait_silence(reactor);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        io_reactor_destroy(reactor);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    reports_only(reactor, pair[0], pair[1]);
    io_reactor_destroy(reactor);
    close(pair[0]);
    close(pair[1]);
}

/* A driver whose standard input is a file or /dev/null adds it like any other. */
static void files_are_always_ready(void)
{
    io_reactor_t *reactor = io_reactor_create();
    FILE *file = tmpfile();
    int i, null = open("/dev/null", O_RDWR);

    CHECK(file != NULL && null >= 0);
    CHECK(io_reactor_add(reactor, fileno(file), &a, EVENT_READ) == 0);
    CHECK(io_reactor_add(reactor, fileno(file), &b, EVENT_READ) == -1);
    for (i = 0; i < 3; i++) {
        io_event_t event = wait_one(reactor);
        CHECK(event.context == &a && event.event_type == EVENT_READ);
    }
    CHECK(io_reactor_modify(reactor, fileno(file), 0) == 0);
    wait_silence(reactor);
    CHECK(io_reactor_add(reactor, null, &b, EVENT_READ | EVENT_WRITE) == 0);
    CHECK(wait_one(reactor).event_type == (EVENT_READ | EVENT_WRITE));
    CHECK(io_reactor_modify(reactor, null, EVENT_WRITE) == 0);
    CHECK(wait_one(reactor).event_type == EVENT_WRITE);
    CHECK(io_reactor_remove(reactor, null) == 0);
    wait_silence(reactor);
    CHECK(io_reactor_modify(reactor, fileno(file), EVENT_READ) == 0);
    CHECK(wait_one(reactor).context == &a);
    io_reactor_destroy(reactor);
    close(null);
    fclose(file);
}
#else
static void add_takes_a_socket_whose_predecessor_was_closed_unremoved(void)
{
    socket_fd_t pair[2], old;
    io_reactor_t *reactor = io_reactor_create();
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), peer;
    io_event_t event;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    old = pair[0];
    close_socket(pair[0]);
    close_socket(pair[1]);
    peer = connect_to(&address);
    pair[0] = accept(listener, NULL, NULL);
    /* The test can detect something only if the system reuses the number. */
    if (pair[0] != old && peer == old) {
        socket_fd_t swap = pair[0];
        pair[0] = peer;
        peer = swap;
    }
    CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == 0);
    send_all(peer, "x", 1);
    do
        event = wait_one(reactor);
    while (event.context == &a && pair[0] != old);
    CHECK(event.context == &b && (event.event_type & EVENT_READ));
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(peer);
    close_socket(listener);
}

/* A socket of this kind with this number, unbound. Others that are made in between go into `others`. */
static socket_fd_t make_with_number(socket_fd_t number, int kind, socket_fd_t *others, int *count)
{
    for (;;) {
        socket_fd_t made = socket(AF_INET, kind, 0);
        CHECK(made != INVALID_SOCKET);
        if (made == number)
            return made;
        CHECK(*count < 64);
        others[(*count)++] = made;
    }
}

/* As above, where one of the two is a datagram socket or a listener. */
static void add_takes_a_socket_of_another_kind_whose_predecessor_was_closed_unremoved(void)
{
    socket_fd_t pair[2], others[64], number, peer;
    io_reactor_t *reactor = io_reactor_create();
    struct sockaddr_in address;
    socklen_t length;
    int i, count = 0;

    make_pair(pair);
    number = pair[0];
    CHECK(io_reactor_add(reactor, number, &a, EVENT_READ) == 0);
    wait_silence(reactor);
    for (i = 0; i < 4; i++) {
        /* After the stream a datagram socket, another one, a listener, and a datagram socket. */
        int kind = i == 2 ? SOCK_STREAM : SOCK_DGRAM;
        void *context = i % 2 == 0 ? &b : &a;

        close_socket(number);
        CHECK(make_with_number(number, kind, others, &count) == number);
        memset(&address, 0, sizeof address);
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        CHECK(bind(number, (struct sockaddr *)&address, sizeof address) == 0);
        length = sizeof address;
        CHECK(getsockname(number, (struct sockaddr *)&address, &length) == 0);
        CHECK(kind == SOCK_DGRAM || listen(number, 4) == 0);
        CHECK(io_reactor_add(reactor, number, context, EVENT_READ) == 0);
        /* It is registered now. */
        CHECK(io_reactor_add(reactor, number, context, EVENT_READ) == -1);
        CHECK(strstr(io_reactor_last_error(), "already") != NULL);
        wait_silence(reactor);
        peer = socket(AF_INET, kind, 0);
        CHECK(connect(peer, (struct sockaddr *)&address, sizeof address) == 0);
        if (kind == SOCK_DGRAM)
            send_all(peer, "x", 1);
        CHECK(wait_one(reactor).context == context);
        close_socket(peer);
    }
    /* And a connection after all of those. */
    close_socket(number);
    make_pair(others + count);
    peer = others[count + 1] == number ? others[count] : others[count + 1];
    if (others[count] == number || others[count + 1] == number) {
        CHECK(io_reactor_add(reactor, number, &a, EVENT_READ) == 0);
        send_all(peer, "x", 1);
        CHECK(wait_one(reactor).context == &a);
    }
    io_reactor_destroy(reactor);
    for (i = 0; i < count + 2; i++)
        close_socket(others[i]);
    close_socket(pair[1]);
}
#endif

/* Datagrams are reported, and the caller receives them, as it needs the sender's address; on both systems. */
static void datagrams_are_reported(void)
{
    struct sockaddr_in address, from;
    socklen_t length = sizeof address;
    socket_fd_t receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
    io_reactor_t *reactor = io_reactor_create();
    char bytes[16];
    int round;

    CHECK(receiver != INVALID_SOCKET && sender != INVALID_SOCKET);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(receiver, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(getsockname(receiver, (struct sockaddr *)&address, &length) == 0);
    CHECK(io_reactor_add(reactor, receiver, &a, EVENT_READ) == 0);
    wait_silence(reactor);
    for (round = 0; round < 3; round++) {
        int size;
        /* Two datagrams, the second empty, which is not an end. */
        for (size = 5; size >= 0; size -= 5)
            CHECK(sendto(sender, "hello", (size_t)size, 0, (struct sockaddr *)&address, sizeof address) == size);
        for (size = 5; size >= 0; size -= 5) {
            io_event_t event = wait_one(reactor);
            CHECK(event.context == &a && event.event_type == EVENT_READ && event.buffer == NULL);
            length = sizeof from;
            CHECK(recvfrom(receiver, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length) == size);
        }
        wait_silence(reactor);
    }
    CHECK(io_reactor_remove(reactor, receiver) == 0);
    CHECK(sendto(sender, "hello", 5, 0, (struct sockaddr *)&address, sizeof address) == 5);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
    close_socket(receiver);
    close_socket(sender);
}

#ifndef _WIN32
/* Operations given back for a removed socket take no room from a ready one. */
static void removed_sockets_take_no_room(void)
{
    enum { GONE = 8 };
    socket_fd_t ready[2], gone[GONE][2];
    io_reactor_t *reactor = io_reactor_create();
    io_event_t events[GONE];
    int round, i, room;

    make_pair(ready);
    for (i = 0; i < GONE; i++)
        make_pair(gone[i]);
    send_all(ready[1], "x", 1);
    CHECK(io_reactor_add(reactor, ready[0], &b, EVENT_READ) == 0);
    for (room = 1; room <= GONE; room++)
        for (round = 0; round < 20; round++) {
            for (i = 0; i < GONE; i++)
                CHECK(io_reactor_add(reactor, gone[i][0], &a, EVENT_READ) == 0);
            CHECK(wait_ms(reactor, events, room, 0) == 1 && events[0].context == &b);
            for (i = 0; i < GONE; i++)
                CHECK(io_reactor_remove(reactor, gone[i][0]) == 0);
            CHECK(wait_ms(reactor, events, room, 0) == 1 && events[0].context == &b);
        }
    io_reactor_destroy(reactor);
    for (i = 0; i < 2 * GONE; i++)
        close_socket(gone[i / 2][i % 2]);
    close_socket(ready[0]);
    close_socket(ready[1]);
}
#endif

#ifndef _WIN32
static void standard_input_for_writing_only_is_refused(void)
{
    io_reactor_t *reactor = io_reactor_create();
    int kept = dup(0), null = open("/dev/null", O_WRONLY);

    CHECK(kept >= 0 && null >= 0 && dup2(null, 0) == 0);
    CHECK(io_reactor_add_console(reactor, &a) == -1);
    CHECK(strstr(io_reactor_last_error(), "for writing only") != NULL);
    CHECK(io_reactor_add_console_ex(reactor, &a, IO_REACTOR_CONSOLE_BUFFERED) == -1);
    CHECK(dup2(kept, 0) == 0);
    io_reactor_destroy(reactor);
    close(kept);
    close(null);
}
#endif

/* Neither connected nor connecting. */
static void a_stream_that_is_not_connected_is_as_the_guide_says(void)
{
    socket_fd_t stream = socket(AF_INET, SOCK_STREAM, 0);
    io_reactor_t *reactor = io_reactor_create();
#ifdef _WIN32
    CHECK(io_reactor_add(reactor, stream, &a, EVENT_READ) == -1);
    CHECK(strstr(io_reactor_last_error(), "nothing can be received") != NULL);
    CHECK(wait_ms(reactor, &(io_event_t){0}, 1, 0) == 0);
#else
    io_event_t event;
    CHECK(io_reactor_add(reactor, stream, &a, EVENT_READ | EVENT_WRITE) == 0);
    event = wait_one(reactor);
    CHECK(event.context == &a && (event.event_type & (EVENT_WRITE | EVENT_CLOSE)) == (EVENT_WRITE | EVENT_CLOSE));
#endif
    io_reactor_destroy(reactor);
    close_socket(stream);
}

static void modify_sets_the_interest(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;

    make_pair(pair);
    CHECK(io_reactor_modify(NULL, pair[0], EVENT_READ) == -1);
#ifdef _WIN32
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_READ) == 0);
    CHECK(io_reactor_modify(reactor, INVALID_SOCKET, EVENT_WRITE) == 0);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_WRITE) == 0);
    wait_silence(reactor); /* as in the reference: the caller has not asked yet */
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_WRITE) == 0);
    event = wait_one(reactor);
    CHECK(event.context == &a && event.event_type == EVENT_WRITE && event.bytes_transferred == 0);
    wait_silence(reactor); /* once */
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_WRITE) == 0);
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_READ) == 0);
    wait_silence(reactor); /* withdrawn */
#else
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_READ) == -1);
    CHECK(io_reactor_add(reactor, pair[0], &a, 0) == 0);
    send_all(pair[1], "x", 1);
    wait_silence(reactor);
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_WRITE) == 0);
    event = wait_one(reactor);
    CHECK(event.context == &a && event.event_type == EVENT_WRITE);
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_READ | EVENT_WRITE) == 0);
    CHECK(wait_one(reactor).event_type == (EVENT_READ | EVENT_WRITE));
    CHECK(wait_one(reactor).event_type == (EVENT_READ | EVENT_WRITE)); /* level-triggered */
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_READ) == 0);
    CHECK(wait_one(reactor).event_type == EVENT_READ);
    CHECK(io_reactor_modify(reactor, pair[0], 0) == 0);
    wait_silence(reactor);
#endif
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* The reference driver's flush: send until it would block, ask for EVENT_WRITE, go on when it is reported. */
static void write_interest_tells_when_a_would_block_is_over(void)
{
    static char block[65536];
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    size_t sent = 0, received = 0;
    io_event_t event;
    int round;

    make_pair(pair);
    set_nonblocking(pair[0]);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    for (round = 0; round < 3; round++) {
        int count, fills = 0;
        /* The system may find some more room by itself, but not indefinitely: the socket is full, and the peer does not
         * read. */
        do {
            CHECK(fills++ < 100);
            while ((count = (int)send(pair[0], block, sizeof block, 0)) > 0)
                sent += (size_t)count;
            CHECK(io_reactor_modify(reactor, pair[0], EVENT_READ | EVENT_WRITE) == 0);
            count = wait_ms(reactor, &event, 1, SILENCE_MS);
        } while (count == 1);
        CHECK(count == 0);
        while (received < sent) {
            count = (int)recv(pair[1], block, sizeof block, 0);
            CHECK(count > 0);
            received += (size_t)count;
        }
        event = wait_one(reactor);
        CHECK(event.context == &a && event.event_type == EVENT_WRITE);
        CHECK(io_reactor_modify(reactor, pair[0], EVENT_READ) == 0);
        wait_silence(reactor);
    }
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void remove_silences_whatever_is_in_flight(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    int round;

    CHECK(io_reactor_remove(NULL, INVALID_SOCKET) == -1);
#ifdef _WIN32
    CHECK(io_reactor_remove(reactor, INVALID_SOCKET) == -1); /* as in the reference */
#endif
    make_pair(pair);
    CHECK(io_reactor_remove(reactor, pair[0]) == 0);
    /* There are bytes or not; the caller asked for them or not; the peer has closed or not. */
    for (round = 0; round < 8; round++) {
        CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ | EVENT_WRITE) == 0);
        if (round & 1)
            CHECK(wait_ms(reactor, &event, 1, 0) >= 0);
        if (round & 2)
            send_all(pair[1], "x", 1);
        if (round & 4)
            CHECK(io_reactor_post_read(reactor, pair[0], NULL, 0) == 0);
        CHECK(io_reactor_remove(reactor, pair[0]) == 0);
        wait_silence(reactor);
    }
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    close_socket(pair[1]);
    CHECK(io_reactor_remove(reactor, pair[0]) == 0);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
}

static void a_removed_socket_can_be_added_again(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    char bytes[8];
    int round;

    make_pair(pair);
    for (round = 0; round < 3; round++) {
        CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == 0);
        send_all(pair[1], "ping", 4);
        event = wait_one(reactor);
        CHECK(event.context == &b);
        CHECK(take_bytes(reactor, pair[0], &event, bytes, 8) == 4);
        CHECK(io_reactor_remove(reactor, pair[0]) == 0);
    }
    /* Another reactor can have the socket on POSIX; on Windows a socket stays with its port. */
    {
        io_reactor_t *other = io_reactor_create();
#ifdef _WIN32
        CHECK(io_reactor_add(other, pair[0], &c, EVENT_READ) == -1);
#else
        CHECK(io_reactor_add(other, pair[0], &c, EVENT_READ) == 0);
#endif
        io_reactor_destroy(other);
    }
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void wait_checks_its_arguments(void)
{
    io_reactor_t *reactor = io_reactor_create();
    struct timeval zero;
    io_event_t event;

    zero.tv_sec = 0;
    zero.tv_usec = 0;
    CHECK(io_reactor_wait(NULL, &event, 1, &zero) == -1);
    CHECK(io_reactor_wait(reactor, NULL, 1, &zero) == -1);
    CHECK(io_reactor_wait(reactor, &event, 0, &zero) == -1);
    CHECK(io_reactor_wait(reactor, &event, -1, &zero) == -1);
    CHECK(io_reactor_wait(reactor, &event, 1, &zero) == 0);
    /* As many as a C program may name; the wait touches no more of them than it fills. */
    CHECK(io_reactor_post(reactor, &a, NULL) == 0);
    CHECK(io_reactor_wait(reactor, &event, INT_MAX, &zero) == 1 && event.context == &a);
    io_reactor_destroy(reactor);
}

/* A negative time means no timeout, and so does a time that no clock holds. */
static void a_timeout_that_never_comes_is_none(void)
{
    static const struct { long seconds, micros; } times[] = {
        { -1, 0 }, { 0, -1 }, { -1, 999999 }, { LONG_MAX, 0 }, { LONG_MAX, 999999 }, { LONG_MAX / 1000, 0 },
    };
    io_reactor_t *reactor = io_reactor_create();
    size_t i;

    for (i = 0; i < sizeof times / sizeof *times; i++) {
        struct timeval timeout;
        io_event_t event;
        uint64_t start = now_us();

        timeout.tv_sec = times[i].seconds;
        timeout.tv_usec = times[i].micros;
        CHECK(io_reactor_timer_add(reactor, &a, SILENCE_MS * 1000u, 0) != 0);
        CHECK(io_reactor_wait(reactor, &event, 1, &timeout) == 1);
        CHECK(event.context == &a && event.event_type == EVENT_TIMER);
        CHECK(now_us() - start >= SILENCE_MS * 1000u);
    }
    io_reactor_destroy(reactor);
}

static void timeouts_are_never_cut_short(void)
{
    io_reactor_t *reactor = io_reactor_create();
    struct timeval timeout;
    io_event_t event;
    int round;

    for (round = 0; round < 20; round++) {
        uint64_t start = now_us();
        timeout.tv_sec = 0;
        timeout.tv_usec = 300 + 700 * round;
        CHECK(io_reactor_wait(reactor, &event, 1, &timeout) == 0);
        CHECK(now_us() - start >= (uint64_t)timeout.tv_usec);
    }
    io_reactor_destroy(reactor);
}

static void all_sources_are_collected(void)
{
    struct sockaddr_in address;
    socket_fd_t pair[2], listener = make_listener(&address), client;
    io_reactor_t *reactor = io_reactor_create();
    io_event_t events[16];
    int i, count, seen = 0, waits;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    CHECK(io_reactor_add(reactor, listener, &b, EVENT_READ) == 0);
    CHECK(io_reactor_post(reactor, &c, NULL) == 0);
    client = connect_to(&address);
    send_all(pair[1], "x", 1);
    for (waits = 0; seen != 7; waits++) {
        count = wait_ms(reactor, events, 16, DEADLINE_MS);
        CHECK(count > 0 && waits < 1000);
        for (i = 0; i < count; i++)
            seen |= events[i].context == &a ? 1 : events[i].context == &b ? 2 : events[i].context == &c ? 4 : 8;
    }
    io_reactor_destroy(reactor);
    close_socket(client);
    close_socket(listener);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static THREAD_RESULT wake(void *reactor)
{
    CHECK(io_reactor_wakeup((io_reactor_t *)reactor) == 0);
    return 0;
}

static void a_wakeup_is_sticky_and_no_event(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    int i;

    CHECK(io_reactor_wakeup(NULL) == -1);
    for (i = 0; i < 1000; i++)
        CHECK(io_reactor_wakeup(reactor) == 0);
    CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 0);
    {
        uint64_t start = now_us(); /* a thousand wakes count as one */
        CHECK(wait_ms(reactor, &event, 1, SILENCE_MS) == 0);
        CHECK(now_us() - start >= SILENCE_MS * 1000u);
    }
    for (i = 0; i < 20; i++) {
        thread_t thread = start_thread(wake, reactor);
        CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 0);
        join_thread(thread);
    }
    /* An event that arrives with a wake is not missed, even where there is room for one only. */
    CHECK(io_reactor_wakeup(reactor) == 0);
    CHECK(io_reactor_post(reactor, &a, NULL) == 0);
    CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 1);
    CHECK(event.context == &a);
    io_reactor_destroy(reactor);
}

#ifndef _WIN32
static io_reactor_t *to_wake;

static void on_alarm(int number)
{
    (void)number;
    io_reactor_wakeup(to_wake);
}

static volatile sig_atomic_t beats;

static void on_beat(int number)
{
    (void)number;
    beats++;
}

/* A driver's heart beat: the handler only sets a flag, which the driver checks when the wait returns. */
static void hc49_a_signal_handler_ends_the_wait(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t pair[2];
    int way;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    for (way = 0; way < 4; way++) {
        struct sigaction action, before;
        struct itimerval every, none;
        struct timeval timeout;
        io_event_t event;
        uint64_t start;

        memset(&action, 0, sizeof action);
        memset(&none, 0, sizeof none);
        action.sa_handler = on_beat;
        action.sa_flags = way & 1 ? SA_RESTART : 0;
        CHECK(sigaction(SIGALRM, &action, &before) == 0);
        every = none;
        /* Repeatedly, for a busy machine may be late for the wait. */
        every.it_value.tv_usec = every.it_interval.tv_usec = 200000;
        beats = 0;
        timeout.tv_sec = 25;
        timeout.tv_usec = 0;
        start = now_us();
        CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
        CHECK(io_reactor_wait(reactor, &event, 1, way & 2 ? NULL : &timeout) == 0);
        CHECK(beats >= 1 && now_us() - start >= 200000u);
        /* Not only after the rest of the timeout. */
        CHECK(now_us() - start < 24900000u);
        CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
        /* A beat ends one wait. */
        start = now_us();
        CHECK(wait_ms(reactor, &event, 1, SILENCE_MS) == 0 && now_us() - start >= SILENCE_MS * 1000u);
        CHECK(sigaction(SIGALRM, &before, NULL) == 0);
        check_alarm();
    }
    /* With signals that arrive all the time, events are delivered as well. */
    {
        struct sigaction action;
        struct itimerval every;
        int i;

        memset(&action, 0, sizeof action);
        action.sa_handler = on_beat;
        CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
        memset(&every, 0, sizeof every);
        every.it_value.tv_usec = every.it_interval.tv_usec = 1000;
        CHECK(setitimer(ITIMER_VIRTUAL, &every, NULL) == 0);
        for (i = 0; i < 200; i++) {
            char byte;
            io_event_t event;

            send_all(pair[1], "x", 1);
            while (wait_ms(reactor, &event, 1, DEADLINE_MS) == 0)
                ;
            CHECK(event.context == &a && recv(pair[0], &byte, 1, 0) == 1);
        }
        memset(&every, 0, sizeof every);
        CHECK(setitimer(ITIMER_VIRTUAL, &every, NULL) == 0);
        /* Valgrind may still hold one back: the default action would end the program. */
        action.sa_handler = SIG_IGN;
        CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
    }
    io_reactor_destroy(reactor);
    close(pair[0]);
    close(pair[1]);
}

/* A driver with a small array reads any socket between two waits. */
static void what_did_not_fit_is_looked_at_again(void)
{
    enum { SOCKETS = 5 };
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t pairs[SOCKETS][2];
    io_event_t event;
    int contexts[SOCKETS], seen[SOCKETS], i, round;
    char byte;

    for (i = 0; i < SOCKETS; i++) {
        make_pair(pairs[i]);
        CHECK(io_reactor_add(reactor, pairs[i][0], &contexts[i], EVENT_READ) == 0);
    }
    for (round = 0; round < 20; round++) {
        for (i = 0; i < SOCKETS; i++)
            send_all(pairs[i][1], "x", 1);
        CHECK(wait_one(reactor).event_type == EVENT_READ);
        if (round % 2 == 1)
            CHECK(wait_ms(reactor, &event, 1, 0) == 1);
        for (i = 0; i < SOCKETS; i++)
            recv_all(pairs[i][0], &byte, 1);
        CHECK(wait_ms(reactor, &event, 1, 0) == 0);
    }
    /* Sockets that stay ready are reported by turns. */
    memset(seen, 0, sizeof seen);
    for (i = 0; i < SOCKETS; i++)
        send_all(pairs[i][1], "x", 1);
    for (round = 0; round < 20 * SOCKETS; round++) {
        event = wait_one(reactor);
        CHECK(event.event_type == EVENT_READ);
        for (i = 0; i < SOCKETS; i++)
            seen[i] += event.context == &contexts[i];
    }
    for (i = 0; i < SOCKETS; i++)
        CHECK(seen[i] >= 10);
    io_reactor_destroy(reactor);
    for (i = 0; i < SOCKETS; i++) {
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
}

static void a_wakeup_may_come_from_a_signal_handler(void)
{
    struct sigaction action;
    thread_t self = pthread_self();
    io_event_t event;
    int i;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    to_wake = io_reactor_create();
    for (i = 0; i < 20; i++) {
        CHECK(pthread_kill(self, SIGUSR1) == 0);
        CHECK(io_reactor_wait(to_wake, &event, 1, NULL) == 0);
    }
    io_reactor_destroy(to_wake);
}

static void post_read_and_post_write_do_nothing_on_posix(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    char byte = 'x';

    make_pair(pair);
    CHECK(io_reactor_post_read(NULL, pair[0], NULL, 0) == -1);
    CHECK(io_reactor_post_write(NULL, pair[0], &byte, 1) == -1);
    CHECK(io_reactor_post_read(reactor, pair[0], NULL, 0) == 0);
    CHECK(io_reactor_post_write(reactor, pair[0], &byte, 1) == 0);
    CHECK(io_reactor_post_write(reactor, pair[0], NULL, 0) == 0);
    wait_silence(reactor);
    CHECK(recv(pair[1], &byte, 1, MSG_DONTWAIT) == -1);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* Hard case 36, for sockets and pipes: bytes that were sent before the end are reported before the end. */
static void hang_up_with_bytes_pending_says_read_first(void)
{
    int i, pair[2];
    io_reactor_t *reactor = io_reactor_create();
    char bytes[8];

    for (i = 0; i < 2; i++) {
        if (i == 0)
            CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        else
            CHECK(pipe(pair) == 0);
        CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
        CHECK(write(pair[1], "ab", 2) == 2);
        close(pair[1]);
        CHECK(wait_one(reactor).event_type == EVENT_READ);
        CHECK(read(pair[0], bytes, 1) == 1);
        CHECK(wait_one(reactor).event_type == EVENT_READ);
        CHECK(read(pair[0], bytes, 1) == 1);
        CHECK(wait_one(reactor).event_type & EVENT_CLOSE);
        CHECK(read(pair[0], bytes, 1) == 0);
        CHECK(io_reactor_remove(reactor, pair[0]) == 0);
        close(pair[0]);
    }
    io_reactor_destroy(reactor);
}

/* A reset does not hide the bytes in front of it. Behind them one report has all flags: a read does not block, and returns
   the reason. */
static void a_reset_is_reported_behind_the_bytes_in_front_of_it(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t pair[2];
    char bytes[8];

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    send_all(pair[1], "ab", 2);
    CHECK(wait_one(reactor).event_type == EVENT_READ);
    reset_and_close(pair[1]);
    CHECK(wait_one(reactor).event_type == EVENT_READ);
    CHECK(recv(pair[0], bytes, 8, 0) == 2);
    CHECK(wait_one(reactor).event_type == (EVENT_READ | EVENT_ERROR | EVENT_CLOSE));
    CHECK(recv(pair[0], bytes, 8, 0) == -1 && errno == ECONNRESET);
    io_reactor_destroy(reactor);
    close(pair[0]);
}

/* The report of room to write waits for room in the array, and the interest has changed before its turn. */
static void an_end_does_not_overtake_bytes_by_a_change_of_interest(void)
{
    enum { PAIRS = 3 };
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t pairs[PAIRS][2];
    io_event_t events[PAIRS], event;
    int i;

    for (i = 0; i < PAIRS; i++) {
        make_pair(pairs[i]);
        CHECK(io_reactor_add(reactor, pairs[i][0], pairs[i], EVENT_WRITE) == 0);
    }
    /* The posts wait for room behind the sockets, and then the sockets behind the posts. */
    CHECK(io_reactor_post(reactor, &a, NULL) == 0 && io_reactor_post(reactor, &a, NULL) == 0);
    CHECK(wait_ms(reactor, events, 2, DEADLINE_MS) == 2 && events[0].event_type == EVENT_WRITE);
    CHECK(wait_ms(reactor, events, 3, DEADLINE_MS) == 3 && events[0].event_type == EVENT_POST);
    for (i = 0; i < PAIRS; i++) {
        CHECK(io_reactor_modify(reactor, pairs[i][0], EVENT_READ | EVENT_WRITE) == 0);
        send_all(pairs[i][1], "bytes", 5);
        reset_and_close(pairs[i][1]);
    }
    for (i = 0; i < 2 * PAIRS; i++) {
        CHECK(wait_ms(reactor, &event, 1, DEADLINE_MS) == 1);
        CHECK((event.event_type & (EVENT_ERROR | EVENT_CLOSE)) == 0);
    }
    io_reactor_destroy(reactor);
    for (i = 0; i < PAIRS; i++)
        close(pairs[i][0]);
}

/* A wrong number may be that of one of the library's descriptors. */
static void what_wakes_the_reactor_is_not_registered(void)
{
    io_reactor_t *reactor;
    io_event_t event;
    int fd, found = 0, open_before[64];

    for (fd = 3; fd < 64; fd++)
        open_before[fd] = fcntl(fd, F_GETFD) != -1;
    reactor = io_reactor_create();
    for (fd = 3; fd < 64; fd++) {
        char name[32], target[64];
        ssize_t length;
        if (open_before[fd])
            continue;
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        length = readlink(name, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = 0;
        if (strstr(target, "eventfd") == NULL)
            continue;
        found++;
        CHECK(io_reactor_add(reactor, fd, &a, EVENT_READ) == -1);
        CHECK(io_reactor_remove(reactor, fd) == 0);
    }
    CHECK(found == 1);
    CHECK(io_reactor_wakeup(reactor) == 0);
    CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 0);
    io_reactor_destroy(reactor);
}

static void without_interest_an_end_does_not_spin(void)
{
    int pair[2];
    io_reactor_t *reactor = io_reactor_create();
    io_reactor_stats_t before, after;
    io_event_t event;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    CHECK(io_reactor_modify(reactor, pair[0], 0) == 0);
    close(pair[1]);
    CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
    CHECK(wait_ms(reactor, &event, 1, SILENCE_MS) == 0);
    CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0);
    CHECK(after.kernel_calls - before.kernel_calls <= 6);
    CHECK(io_reactor_modify(reactor, pair[0], EVENT_READ) == 0);
    CHECK(wait_one(reactor).event_type & EVENT_CLOSE);
    io_reactor_destroy(reactor);
    close(pair[0]);
}
#else
static void post_write_sends_all_of_it_and_tells_once(void)
{
    static char block[1000000], back[1000000];
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    size_t i, received = 0;
    int tells = 0, small = 4096;

    for (i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 251);
    make_pair(pair);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, (const char *)&small, sizeof small);
    set_nonblocking(pair[1]);
    CHECK(io_reactor_post_write(NULL, pair[0], block, 1) == -1);
    CHECK(io_reactor_post_write(reactor, pair[0], block, 1) == -1); /* not registered */
    CHECK(io_reactor_add(reactor, pair[0], &a, 0) == 0);
    CHECK(io_reactor_post_write(reactor, pair[0], block, (size_t)-1) == -1); /* no memory holds that much */
    CHECK(io_reactor_post_write(reactor, pair[0], NULL, 5) == -1);
    CHECK(io_reactor_post_write(reactor, pair[0], block, 0) == -1);
    CHECK(io_reactor_post_write(reactor, pair[0], block, 10) == 0);
    CHECK(io_reactor_post_write(reactor, pair[0], block + 10, sizeof block - 20) == 0);
    CHECK(io_reactor_post_write(reactor, pair[0], block + sizeof block - 10, 10) == 0);
    for (i = 0; i < sizeof block; i++)
        back[i] = block[i];
    memset(block, 0, sizeof block); /* it was copied */
    while (tells < 3 || received < sizeof block) {
        int count = wait_ms(reactor, &event, 1, tells < 3 ? 10 : 0);
        CHECK(count >= 0 && tells + count <= 3);
        if (count == 1) {
            static const int lengths[3] = {10, sizeof block - 20, 10};
            CHECK(event.context == &a && event.event_type == EVENT_WRITE);
            CHECK(event.bytes_transferred == lengths[tells]);
            tells++;
        }
        count = recv(pair[1], block + received, (int)(sizeof block - received), 0);
        if (count > 0)
            received += (size_t)count;
    }
    CHECK(memcmp(block, back, sizeof block) == 0);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* The reference driver posts one receive by add and another one explicitly. */
static void hc33_a_second_receive_is_not_posted(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    io_reactor_stats_t stats;
    io_event_t event;
    char number[16];
    int i, expected = 0;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    for (i = 0; i < 3; i++)
        CHECK(io_reactor_post_read(reactor, pair[0], NULL, 0) == 0);
    CHECK(io_reactor_stats(reactor, &stats, sizeof stats) == 0);
    CHECK(stats.operations_in_flight == 1);
    for (i = 0; i < 500; i++)
        send_all(pair[1], number, (size_t)sprintf(number, "%06d ", i));
    while (expected < 500 * 7) {
        const char *at;
        event = wait_one(reactor);
        CHECK(event.event_type == EVENT_READ);
        for (at = (const char *)event.buffer, i = 0; i < event.bytes_transferred; i++, expected++) {
            sprintf(number, "%06d ", expected / 7);
            CHECK(at[i] == number[expected % 7]);
        }
        CHECK(io_reactor_post_read(reactor, pair[0], NULL, 0) == 0);
        CHECK(io_reactor_post_read(reactor, pair[0], NULL, 0) == 0);
    }
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void hc34_a_small_buffer_truncates_nothing(void)
{
    char small[3], guard = 'G', all[11];
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    int received = 0;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, 0) == 0);
    send_all(pair[1], "0123456789", 10);
    CHECK(io_reactor_post_read(reactor, pair[0], small, sizeof small) == 0);
    while (received < 9) {
        event = wait_one(reactor);
        CHECK(event.event_type == EVENT_READ && event.buffer == small);
        CHECK(event.bytes_transferred > 0 && event.bytes_transferred <= 3);
        memcpy(all + received, small, (size_t)event.bytes_transferred);
        received += event.bytes_transferred;
        wait_silence(reactor); /* not before the caller asks for it */
        if (received < 9)
            CHECK(io_reactor_post_read(reactor, pair[0], small, sizeof small) == 0);
    }
    CHECK(io_reactor_post_read(reactor, pair[0], NULL, 0) == 0);
    event = wait_one(reactor);
    CHECK(event.event_type == EVENT_READ && event.bytes_transferred == 1);
    memcpy(all + received, event.buffer, 2); /* with the zero behind it */
    CHECK(strcmp(all, "0123456789") == 0 && guard == 'G');
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* The reason says what happened to the socket, and not that there is none. */
static void add_tells_that_the_peer_has_reset_the_connection(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t pair[2];

    make_pair(pair);
    reset_and_close(pair[1]);
    CHECK(io_reactor_add(reactor, pair[0], NULL, EVENT_READ) == -1);
    CHECK(strstr(io_reactor_last_error(), "reset") != NULL);
    close_socket(pair[0]);
    io_reactor_destroy(reactor);
}

static void a_reset_closes(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    reset_and_close(pair[1]);
    event = wait_one(reactor);
    CHECK(event.context == &a && event.event_type == EVENT_CLOSE && event.bytes_transferred == 0);
    wait_silence(reactor);
    CHECK(io_reactor_post_read(reactor, pair[0], NULL, 0) == -1);
    CHECK(io_reactor_post_write(reactor, pair[0], &a, 1) == -1);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
}

/* A send that is cancelled half way leaves a hole in the stream: the caller can only close such a socket. */
static void a_socket_removed_with_a_send_in_flight_is_not_taken_again(void)
{
    static char bytes[8 << 20];
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t pair[2];
    io_event_t event;
    size_t posted = 0;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, 0) == 0);
    /* The peer does not read: post until the last write is not taken. */
    do {
        CHECK(posted < sizeof bytes * 16);
        CHECK(io_reactor_post_write(reactor, pair[0], bytes, sizeof bytes) == 0);
        posted += sizeof bytes;
    } while (wait_ms(reactor, &event, 1, SILENCE_MS) == 1);
    CHECK(io_reactor_remove(reactor, pair[0]) == 0);
    CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == -1);
    CHECK(strstr(io_reactor_last_error(), "an unknown part is lost") != NULL);
    CHECK(strstr(io_reactor_last_error(), "close the socket") != NULL);
    wait_silence(reactor);
    /* Also when the send has ended. */
    CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == -1);
    close_socket(pair[0]);
    close_socket(pair[1]);
    /* A new socket may have the same number. And a socket whose writes were all sent may be added again. */
    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, 0) == 0);
    CHECK(io_reactor_post_write(reactor, pair[0], bytes, 100) == 0);
    event = wait_one(reactor);
    CHECK(event.context == &a && event.event_type == EVENT_WRITE && event.bytes_transferred == 100);
    CHECK(io_reactor_remove(reactor, pair[0]) == 0);
    CHECK(io_reactor_add(reactor, pair[0], &b, 0) == 0);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void half_close_leaves_the_way_back(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    char bytes[4];

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    shutdown(pair[1], SD_SEND);
    CHECK(wait_one(reactor).event_type == EVENT_CLOSE);
    strcpy(bytes, "bye");
    CHECK(io_reactor_post_write(reactor, pair[0], bytes, 3) == 0);
    CHECK(wait_one(reactor).event_type == EVENT_WRITE);
    recv_all(pair[1], bytes, 3);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}
#endif

static void buffers_stay_until_the_next_wait(void)
{
    enum { PAIRS = 8 };
    socket_fd_t pairs[PAIRS][2];
    int contexts[PAIRS], i, k, count, seen = 0;
    io_reactor_t *reactor = io_reactor_create_ex(0, 2); /* fewer buffers than sockets */
    io_event_t events[PAIRS];

    for (i = 0; i < PAIRS; i++) {
        char text[32];
        contexts[i] = i;
        make_pair(pairs[i]);
        CHECK(io_reactor_add(reactor, pairs[i][0], &contexts[i], EVENT_READ) == 0);
        send_all(pairs[i][1], text, (size_t)sprintf(text, "number %d", i));
    }
    while (seen < PAIRS) {
        count = wait_ms(reactor, events, PAIRS, DEADLINE_MS);
        CHECK(count > 0);
        /* All handlers ask for more before any bytes are read. */
        for (k = 0; k < count; k++)
            CHECK(io_reactor_post_read(reactor, pairs[*(int *)events[k].context][0], NULL, 0) == 0);
        for (k = 0; k < count; k++) {
            char text[32], found[32];
            i = *(int *)events[k].context;
            sprintf(text, "number %d", i);
#ifdef _WIN32
            CHECK(events[k].bytes_transferred == 8);
            strcpy(found, (const char *)events[k].buffer); /* a zero follows */
#else
            found[recv(pairs[i][0], found, sizeof found - 1, 0)] = '\0';
#endif
            CHECK(strcmp(text, found) == 0);
            seen++;
        }
    }
    io_reactor_destroy(reactor);
    for (i = 0; i < PAIRS; i++) {
        close_socket(pairs[i][0]);
        close_socket(pairs[i][1]);
    }
}

struct poster {
    io_reactor_t *reactor;
    intptr_t first;
};

enum { POSTS = 2500, POSTERS = 4 };

static THREAD_RESULT post_numbers(void *argument)
{
    struct poster *poster = (struct poster *)argument;
    intptr_t i;

    for (i = 0; i < POSTS; i++)
        CHECK(io_reactor_post(poster->reactor, &a, (void *)(poster->first + i)) == 0);
    return 0;
}

static void posts_are_neither_lost_nor_merged(void)
{
    io_reactor_t *reactor = io_reactor_create();
    struct poster posters[POSTERS];
    thread_t threads[POSTERS];
    intptr_t next[POSTERS];
    io_event_t events[32];
    int i, count, total = 0;

    CHECK(io_reactor_post(NULL, &a, &b) == -1);
    for (i = 0; i < POSTERS; i++) {
        posters[i].reactor = reactor;
        posters[i].first = (intptr_t)i * 10000;
        next[i] = 0;
        threads[i] = start_thread(post_numbers, &posters[i]);
    }
    while (total < POSTS * POSTERS) {
        count = wait_ms(reactor, events, 32, DEADLINE_MS);
        CHECK(count > 0);
        for (i = 0; i < count; i++, total++) {
            intptr_t number = (intptr_t)events[i].buffer;
            CHECK(events[i].event_type == EVENT_POST && events[i].context == &a);
            CHECK(number % 10000 == next[number / 10000]++);
        }
    }
    for (i = 0; i < POSTERS; i++)
        join_thread(threads[i]);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
}

static void timers_are_on_time_and_can_be_cancelled(void)
{
    io_reactor_t *reactor = io_reactor_create();
    uint64_t start = now_us(), timer;
    io_event_t event;

    CHECK(io_reactor_timer_add(NULL, &a, 1, 0) == 0);
    CHECK(io_reactor_timer_cancel(NULL, 1) == -1);
    CHECK(io_reactor_timer_cancel(reactor, 0) == -1);
    CHECK(io_reactor_timer_cancel(reactor, 12345) == 0); /* it never existed */
    CHECK(io_reactor_timer_add(reactor, &b, 300000, 0) != 0);
    CHECK(io_reactor_timer_add(reactor, &a, 10000, 0) != 0);
    timer = io_reactor_timer_add(reactor, &c, 1, 0);
    CHECK(timer != 0 && io_reactor_timer_cancel(reactor, timer) == 0);
    CHECK(io_reactor_timer_cancel(reactor, timer) == 0);
    CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 1);
    CHECK(event.context == &a && event.event_type == EVENT_TIMER && now_us() - start >= 10000);
    CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 1);
    CHECK(event.context == &b && now_us() - start >= 300000);
    wait_silence(reactor);
    start = now_us();
    timer = io_reactor_timer_add(reactor, &c, 1000, 5000);
    CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 1 && event.context == &c);
    CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 1 && event.context == &c);
    CHECK(now_us() - start >= 6000);
    CHECK(io_reactor_timer_cancel(reactor, timer) == 0);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
}

/* Ids are numbers that a caller may get wrong: an id that was not issued here belongs to no timer, now and later. */
static void ids_that_were_never_issued_do_no_harm(void)
{
    io_reactor_t *reactor = io_reactor_create(), *other = io_reactor_create();
    uint64_t strange = io_reactor_timer_add(other, &b, 1000000, 0);
    uint64_t start = now_us();

    CHECK(io_reactor_timer_cancel(reactor, UINT64_MAX) == 0);
    CHECK(io_reactor_timer_cancel(reactor, strange) == 0);
    CHECK(now_us() - start < 1000000); /* and the calls cost nothing */
    CHECK(io_reactor_timer_add(reactor, &a, 1000, 0) == strange);
    CHECK(wait_one(reactor).context == &a);
    io_reactor_destroy(other);
    io_reactor_destroy(reactor);
}

struct sender {
    socket_fd_t fd;
    uint64_t sent_us;
};

static THREAD_RESULT send_one(void *argument)
{
    struct sender *sender = (struct sender *)argument;

    sender->sent_us = now_us();
    send_all(sender->fd, "x", 1);
    return 0;
}

/* The reference's players wait for the next heart beat. The next one is far away here. */
static void input_does_not_wait_for_timers(void)
{
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    uint64_t worst = 0;
    int i;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    CHECK(io_reactor_timer_add(reactor, &b, 60000000, 0) != 0);
    for (i = 0; i < 50; i++) {
        struct sender sender;
        thread_t thread;
        io_event_t event;
        char byte;

        sender.fd = pair[1];
        thread = start_thread(send_one, &sender);
        CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 1);
        {
            uint64_t now = now_us();
            join_thread(thread);
            if (now - sender.sent_us > worst)
                worst = now - sender.sent_us;
        }
        CHECK(event.context == &a && take_bytes(reactor, pair[0], &event, &byte, 1) == 1);
    }
    printf("   input to event, the worst of 50: %u us\n", (unsigned)worst);
    CHECK(worst < 1000000);
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void give_way(void)
{
#ifdef _WIN32
    Sleep(0);
#else
    sched_yield();
#endif
}

static THREAD_RESULT wait_for_wakeup(void *argument)
{
    io_event_t event;

    /* -1 while the other thread is inside */
    while (io_reactor_wait((io_reactor_t *)argument, &event, 1, NULL) != 0)
        give_way();
    return 0;
}

static void a_second_thread_is_refused(void)
{
    io_reactor_t *reactor = io_reactor_create();
    thread_t thread;

    thread = start_thread(wait_for_wakeup, reactor);
    /* Until it is inside, calls succeed. */
    while (io_reactor_remove(reactor, (socket_fd_t)999999) == 0)
        give_way();
    CHECK(io_reactor_timer_add(reactor, &b, 1000, 0) == 0);
    CHECK(strstr(io_reactor_last_error(), "another thread") != NULL);
    /* Nor does it take the reactor away from under that thread. */
    io_reactor_destroy(reactor);
    CHECK(strstr(io_reactor_last_error(), "io_reactor_destroy: another thread") != NULL);
    CHECK(io_reactor_wakeup(reactor) == 0);
    join_thread(thread);
    io_reactor_destroy(reactor);
}

#ifndef _WIN32
static volatile sig_atomic_t handled;

/* As a driver's may do before its reactor exists, and when it is gone. */
static void wake_nothing(int number)
{
    (void)number;
    if (io_reactor_wakeup(NULL) == -1)
        handled = handled + 1;
}

struct signals {
    pthread_t target;
    volatile sig_atomic_t enough;
};

static THREAD_RESULT send_signals(void *argument)
{
    struct signals *signals = (struct signals *)argument;

    while (!signals->enough) {
        CHECK(pthread_kill(signals->target, SIGUSR1) == 0);
        give_way();
    }
    return 0;
}

/* The handler interrupts allocations, and the calls of this library that note a failure: it does neither. */
static void a_handler_may_wake_nothing_at_any_moment(void)
{
    io_reactor_t *reactor = io_reactor_create();
    struct sigaction action, before;
    struct signals signals;
    thread_t thread;
    void *blocks[64];
    size_t i;

    errno = 77;
    CHECK(io_reactor_add(NULL, 0, NULL, 0) == -1);
    errno = 77;
    CHECK(io_reactor_wakeup(NULL) == -1 && io_reactor_wakeup(reactor) == 0 && errno == 77);
    CHECK(strstr(io_reactor_last_error(), "io_reactor_add: ") != NULL);
    memset(&action, 0, sizeof action);
    action.sa_handler = wake_nothing;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGUSR1, &action, &before) == 0);
    memset(blocks, 0, sizeof blocks);
    signals.target = pthread_self();
    signals.enough = 0;
    handled = 0;
    thread = start_thread(send_signals, &signals);
    for (i = 0; handled < (slow() ? 50 : 500); i++) {
        free(blocks[i % 64]);
        blocks[i % 64] = malloc(16 + i * 37 % 200);
        CHECK(blocks[i % 64] != NULL);
        CHECK(io_reactor_modify(NULL, 0, 0) == -1);
        CHECK(strstr(io_reactor_last_error(), "io_reactor_modify: ") != NULL);
    }
    signals.enough = 1;
    join_thread(thread);
    CHECK(sigaction(SIGUSR1, &before, NULL) == 0);
    for (i = 0; i < 64; i++)
        free(blocks[i]);
    io_reactor_destroy(reactor);
}
#endif

static void every_function_takes_null(void)
{
    io_reactor_stats_t stats;
    io_event_t event;
    socket_fd_t none = INVALID_SOCKET;
    char byte = 0;

    io_reactor_destroy(NULL);
    CHECK(io_reactor_add(NULL, none, NULL, 0) == -1);
    CHECK(io_reactor_modify(NULL, none, 0) == -1);
    CHECK(io_reactor_remove(NULL, none) == -1);
    CHECK(io_reactor_wait(NULL, &event, 1, NULL) == -1);
    CHECK(io_reactor_post_read(NULL, none, NULL, 0) == -1);
    CHECK(io_reactor_post_write(NULL, none, &byte, 1) == -1);
    CHECK(io_reactor_add_console(NULL, NULL) == -1);
    CHECK(io_reactor_get_console_type(NULL) == CONSOLE_TYPE_NONE);
    CHECK(io_reactor_wakeup(NULL) == -1);
    CHECK(strstr(io_reactor_last_error(), "io_reactor_get_console_type: ") != NULL); /* of the call before */
    CHECK(io_reactor_post(NULL, NULL, NULL) == -1);
    CHECK(io_reactor_timer_add(NULL, NULL, 0, 0) == 0);
    CHECK(io_reactor_timer_cancel(NULL, 1) == -1);
    CHECK(io_reactor_stats(NULL, &stats, sizeof stats) == -1);
    CHECK(strstr(io_reactor_last_error(), "NULL reactor") != NULL);
}

static void version_and_stats_are_there(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_reactor_stats_t stats;
    struct {
        io_reactor_stats_t known;
        uint64_t later;
    } larger;

    CHECK(strcmp(io_reactor_version(), IO_REACTOR_VERSION) == 0);
    CHECK(io_reactor_stats(reactor, NULL, sizeof stats) == -1);
    CHECK(io_reactor_timer_add(reactor, &a, 1000000, 0) != 0);
    memset(&larger, 0xff, sizeof larger);
    CHECK(io_reactor_stats(reactor, &larger.known, sizeof larger) == 0);
    CHECK(larger.known.timers == 1 && larger.known.sockets == 0 && larger.later == 0);
    memset(&stats, 0xff, sizeof stats);
    CHECK(io_reactor_stats(reactor, &stats, sizeof stats.waits) == 0);
    CHECK(stats.waits == 0 && stats.kernel_calls == UINT64_MAX);
    io_reactor_destroy(reactor);
}

int main(int argc, char **argv)
{
    check_begin(argc, argv);
    RUN(create_gives_reactors_side_by_side);
    RUN(create_ex_takes_sizes);
    RUN(destroy_leaves_the_sockets_open);
    RUN(add_refuses_what_it_cannot_do);
    RUN(add_takes_a_socket_whose_predecessor_was_closed_unremoved);
    RUN(datagrams_are_reported);
#ifndef _WIN32
    RUN(removed_sockets_take_no_room);
    RUN(standard_input_for_writing_only_is_refused);
#else
    RUN(add_takes_a_socket_of_another_kind_whose_predecessor_was_closed_unremoved);
#endif
    RUN(a_stream_that_is_not_connected_is_as_the_guide_says);
    RUN(modify_sets_the_interest);
    RUN(write_interest_tells_when_a_would_block_is_over);
    RUN(remove_silences_whatever_is_in_flight);
    RUN(a_removed_socket_can_be_added_again);
    RUN(wait_checks_its_arguments);
    RUN(a_timeout_that_never_comes_is_none);
    RUN(timeouts_are_never_cut_short);
    RUN(all_sources_are_collected);
    RUN(a_wakeup_is_sticky_and_no_event);
#ifndef _WIN32
    RUN(a_number_may_get_back_the_socket_that_it_had);
    RUN(a_socket_that_lives_on_elsewhere_is_silent_and_costs_nothing);
    RUN(after_a_fork_one_goes_on_and_the_other_may_destroy);
    RUN(files_are_always_ready);
    RUN(what_did_not_fit_is_looked_at_again);
    RUN(a_wakeup_may_come_from_a_signal_handler);
    RUN(hc49_a_signal_handler_ends_the_wait);
    RUN(post_read_and_post_write_do_nothing_on_posix);
    RUN(hang_up_with_bytes_pending_says_read_first);
    RUN(a_reset_is_reported_behind_the_bytes_in_front_of_it);
    RUN(an_end_does_not_overtake_bytes_by_a_change_of_interest);
    RUN(what_wakes_the_reactor_is_not_registered);
    RUN(without_interest_an_end_does_not_spin);
#else
    RUN(post_write_sends_all_of_it_and_tells_once);
    RUN(hc33_a_second_receive_is_not_posted);
    RUN(hc34_a_small_buffer_truncates_nothing);
    RUN(a_reset_closes);
    RUN(add_tells_that_the_peer_has_reset_the_connection);
    RUN(a_socket_removed_with_a_send_in_flight_is_not_taken_again);
    RUN(half_close_leaves_the_way_back);
#endif
    RUN(buffers_stay_until_the_next_wait);
    RUN(posts_are_neither_lost_nor_merged);
    RUN(timers_are_on_time_and_can_be_cancelled);
    RUN(ids_that_were_never_issued_do_no_harm);
    RUN(input_does_not_wait_for_timers);
    RUN(a_second_thread_is_refused);
    RUN(every_function_takes_null);
#ifndef _WIN32
    RUN(a_handler_may_wake_nothing_at_any_moment);
#endif
    RUN(version_and_stats_are_there);
    return check_end();
}
