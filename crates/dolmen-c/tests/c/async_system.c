/* async_runtime.h: what belongs to one system, the console, and the cost. */
#include "async_check.h"

static int context;

#ifdef _WIN32
static void packets_of_others_are_completions(void)
{
    async_runtime_t *runtime = async_runtime_init();
    HANDLE port = async_runtime_get_iocp(runtime);
    OVERLAPPED overlapped;
    io_event_t event;

    CHECK(port != NULL);
    memset(&overlapped, 0, sizeof overlapped);
    CHECK(PostQueuedCompletionStatus(port, 77, 0x1234, &overlapped));
    CHECK(PostQueuedCompletionStatus(port, 0xDEADBEEFu, 0x1234, NULL));
    CHECK(PostQueuedCompletionStatus(port, 0, 0, NULL));
    event = wait_one(runtime);
    CHECK(event.event_type == EVENT_READ && event.completion_key == 0x1234 && event.bytes_transferred == 77);
    CHECK(event.context == (void *)0x1234 && event.buffer == &overlapped && event.fd == 77);
    event = wait_one(runtime);
    CHECK(event.completion_key == 0x1234 && event.bytes_transferred == 0xDEADBEEFu && event.fd == 0xDEADBEEFu);
    event = wait_one(runtime);
    CHECK(event.event_type == EVENT_READ && event.completion_key == 0 && event.bytes_transferred == 0);
    CHECK(event.context == NULL && event.buffer == NULL);
    wait_silence(runtime);
    async_runtime_deinit(runtime);
}

/* A packet with a key of the program's is the program's, even with the address of an operation that the library waits for;
   and one with the library's key is the library's only with such an address. */
static void packets_of_others_are_told_apart_by_key_and_operation(void)
{
    async_runtime_t *runtime = async_runtime_init();
    HANDLE port = async_runtime_get_iocp(runtime);
    OVERLAPPED own, *operation;
    socket_fd_t pair[2];
    io_event_t event;
    ULONG_PTR key;
    DWORD count;
    char byte;

    make_pair(pair);
    CHECK(async_runtime_add(runtime, pair[0], EVENT_READ, &context) == 0);
    CHECK(wait_ms(runtime, &event, 1, 0) == 0); /* it receives; a longer wait might leave a packet of its alarm */
    send_all(pair[1], "x", 1);
    /* No program may do this: the packet that completes the receive comes here. */
    CHECK(GetQueuedCompletionStatus(port, &count, &key, &operation, DEADLINE_MS) && operation != NULL);
    memset(&own, 0, sizeof own);
    CHECK(PostQueuedCompletionStatus(port, 5, 1, operation));
    CHECK(PostQueuedCompletionStatus(port, 6, key, &own));
    CHECK(PostQueuedCompletionStatus(port, 7, 1, &own));
    event = wait_one(runtime);
    CHECK(event.completion_key == 1 && event.bytes_transferred == 5 && event.buffer == operation);
    event = wait_one(runtime);
    CHECK(event.completion_key == 1 && event.bytes_transferred == 7 && event.buffer == &own);
    wait_silence(runtime);
    CHECK(PostQueuedCompletionStatus(port, count, key, operation));
    event = wait_one(runtime);
    check_source(&event, pair[0], &context);
    CHECK(take_bytes(runtime, &event, &byte, 1) == 1 && byte == 'x');
    wait_silence(runtime);
    async_runtime_deinit(runtime);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* Nor do many packets, with no operation or with addresses of nothing, whatever arrives in between. */
static void packets_of_others_do_not_disturb_a_connection(void)
{
    enum { MESSAGES = 200 };
    async_runtime_t *runtime = async_runtime_init();
    HANDLE port = async_runtime_get_iocp(runtime);
    int i, foreign = 0, received = 0;
    socket_fd_t pair[2];
    io_event_t event;

    make_pair(pair);
    CHECK(async_runtime_add(runtime, pair[0], EVENT_READ, &context) == 0);
    for (i = 0; i < MESSAGES; i++) {
        CHECK(PostQueuedCompletionStatus(port, (DWORD)i, (ULONG_PTR)1, (OVERLAPPED *)(ULONG_PTR)i));
        send_all(pair[1], "x", 1);
        while (received <= i || foreign <= i) {
            char byte;
            event = wait_one(runtime);
            if (event.completion_key == 1) {
                CHECK(event.bytes_transferred == (size_t)foreign && event.buffer == (void *)(ULONG_PTR)foreign);
                foreign++;
            } else {
                check_source(&event, pair[0], &context);
                CHECK(take_bytes(runtime, &event, &byte, 1) == 1 && byte == 'x');
                received++;
            }
        }
    }
    wait_silence(runtime);
    async_runtime_deinit(runtime);
    close_socket(pair[0]);
    close_socket(pair[1]);
}
#else
static volatile sig_atomic_t heart_beats;

static void beat(int number)
{
    (void)number;
    heart_beats = heart_beats + 1;
}

/* The heart beat of a driver: a signal whose handler only sets a flag, restarting calls or not. */
static void a_signal_ends_a_wait_without_a_timeout(void)
{
    async_runtime_t *runtime = async_runtime_init();
    struct itimerval every = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action, before;
    io_event_t event;
    int restart;

    for (restart = 0; restart < 2; restart++) {
        memset(&action, 0, sizeof action);
        action.sa_handler = beat;
        action.sa_flags = restart ? SA_RESTART : 0;
        CHECK(sigaction(SIGALRM, &action, &before) == 0);
        heart_beats = 0;
        CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
        while (heart_beats < 3)
            CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
        CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
        CHECK(sigaction(SIGALRM, &before, NULL) == 0);
    }
    check_alarm();
    async_runtime_deinit(runtime);
}

static void write_eight(int fd)
{
    uint64_t one = 1;

    CHECK(write(fd, &one, sizeof one) == (ssize_t)sizeof one);
}

static THREAD_RESULT write_eight_bytes(void *argument)
{
    write_eight(*(int *)argument);
    return 0;
}

/* A removed socket leaves work for the next wait, which then does not block at first. */
static void eight_bytes_end_a_wait_that_has_work_of_its_own(void)
{
    async_runtime_t *runtime = async_runtime_init();
    int handle = async_runtime_get_event_loop_handle(runtime);
    socket_fd_t pair[2];
    io_event_t event;

    make_pair(pair);
    CHECK(async_runtime_add(runtime, pair[0], EVENT_READ, pair) == 0);
    wait_silence(runtime);
    CHECK(async_runtime_remove(runtime, pair[0]) == 0);
    write_eight(handle);
    CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    close_socket(pair[0]);
    close_socket(pair[1]);
    async_runtime_deinit(runtime);
}

/* What others write may fill the counter: neither theirs nor the library's own wakes are lost. */
static void any_number_may_be_written_to_the_handle(void)
{
    const uint64_t full = UINT64_MAX - 1, packed = (uint64_t)0xC0701E << 32 | 5;
    async_runtime_t *runtime = async_runtime_init();
    int handle = async_runtime_get_event_loop_handle(runtime);
    io_event_t event;
    int i;

    CHECK(write(handle, &full, sizeof full) == (ssize_t)sizeof full);
    CHECK(write(handle, &full, sizeof full) == -1 && errno == EAGAIN);
    CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    CHECK(write(handle, &full, sizeof full) == (ssize_t)sizeof full);
    CHECK(async_runtime_post_completion(runtime, 5, 6) == 0);
    event = wait_one(runtime);
    CHECK(event.completion_key == 5 && event.bytes_transferred == 6);
    CHECK(async_runtime_wakeup(runtime) == 0);
    CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    for (i = 0; i < 1000; i++) {
        CHECK(write(handle, &packed, sizeof packed) == (ssize_t)sizeof packed);
        CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    }
    async_runtime_deinit(runtime);
}

/* From its first wait on, a forked process has a handle of its own, under the same number. */
static void each_process_has_a_handle(void)
{
    async_runtime_t *runtime = async_runtime_init();
    int handle = async_runtime_get_event_loop_handle(runtime), status;
    struct timeval no_time = {0, 0};
    io_event_t event;
    uint64_t began;
    pid_t child;

    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(async_runtime_wait(runtime, &event, 1, &no_time) == 0);
        write_eight(handle);
        CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
        /* This one is still there when the parent waits. */
        write_eight(handle);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* The child's did not reach the parent: this wait lasts for all of its time. */
    began = now_us();
    CHECK(wait_ms(runtime, &event, 1, 50) == 0);
    CHECK(now_us() - began >= 50000);
    write_eight(handle);
    CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    async_runtime_deinit(runtime);
}

static void eight_bytes_to_the_handle_end_a_wait(void)
{
    async_runtime_t *runtime = async_runtime_init();
    int handle = async_runtime_get_event_loop_handle(runtime);
    io_event_t event;
    thread_t thread;

    CHECK(handle > 2);
    write_eight(handle);
    CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    thread = start_thread(write_eight_bytes, &handle);
    CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    join_thread(thread);
    wait_silence(runtime);
    /* A completion posted by a thread that also writes is neither lost nor counted twice. */
    CHECK(async_runtime_post_completion(runtime, 5, 6) == 0);
    write_eight(handle);
    event = wait_one(runtime);
    CHECK(event.completion_key == 5 && event.bytes_transferred == 6);
    wait_silence(runtime);
    async_runtime_deinit(runtime);
}
#endif

/* Standard input becomes a pipe with bytes in it, which stay there. */
static void the_console_is_described_and_not_read(void)
{
    async_runtime_t *runtime = async_runtime_init();
    char bytes[8];

    CHECK(async_runtime_get_console_type(runtime) == CONSOLE_TYPE_NONE);
#ifdef _WIN32
    HANDLE ends[2], before = GetStdHandle(STD_INPUT_HANDLE);
    DWORD count;
    CHECK(CreatePipe(&ends[0], &ends[1], NULL, 0));
    CHECK(WriteFile(ends[1], "look\n", 5, &count, NULL) && count == 5);
    CHECK(SetStdHandle(STD_INPUT_HANDLE, ends[0]));
    CHECK(async_runtime_get_console_ctx(runtime) == NULL);
#else
    int ends[2], before = dup(0);
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], "look\n", 5) == 5);
    CHECK(dup2(ends[0], 0) == 0);
#endif
    CHECK(async_runtime_add_console(runtime, &context) == 0);
    CHECK(async_runtime_get_console_type(runtime) == CONSOLE_TYPE_PIPE);
    wait_silence(runtime);
#ifdef _WIN32
    CHECK(async_runtime_get_console_ctx(runtime) == &context);
    CHECK(async_runtime_get_console_event(runtime) == NULL);
    CHECK(ReadFile(ends[0], bytes, sizeof bytes, &count, NULL) && count == 5);
    CHECK(SetStdHandle(STD_INPUT_HANDLE, before));
    CloseHandle(ends[0]);
    CloseHandle(ends[1]);
#else
    CHECK(read(0, bytes, sizeof bytes) == 5);
    if (before >= 0) {
        CHECK(dup2(before, 0) == 0);
        close(before);
    } else {
        close(0);
    }
    close(ends[0]);
    close(ends[1]);
#endif
    CHECK(memcmp(bytes, "look\n", 5) == 0);
    async_runtime_deinit(runtime);
}

/* What a driver's worker for the console does first, in its own thread. The main thread is inside the runtime when a
   completion has been posted and it has not taken it yet, but for moments. */
enum { QUESTIONS = 300 };

static volatile int taken;

static THREAD_RESULT ask_for_the_console(void *argument)
{
    async_runtime_t *runtime = (async_runtime_t *)argument;
    int i;

    for (i = 1; i <= QUESTIONS; i++) {
        CHECK(async_runtime_post_completion(runtime, (uintptr_t)i, 0) == 0);
        do {
            CHECK(async_runtime_get_console_type(runtime) == CONSOLE_TYPE_PIPE);
#ifdef _WIN32
            CHECK(async_runtime_get_console_ctx(runtime) == &context);
            CHECK(async_runtime_get_console_event(runtime) == NULL);
            CHECK(async_runtime_get_iocp(runtime) != NULL);
#else
            CHECK(async_runtime_get_event_loop_handle(runtime) >= 0);
#endif
        } while (taken < i);
    }
    return 0;
}

/* Its questions neither fail nor make the main thread's wait fail. */
static void any_thread_asks_for_the_console(void)
{
    async_runtime_t *runtime = async_runtime_init();
    thread_t thread;
    int i;
#ifdef _WIN32
    HANDLE ends[2], before = GetStdHandle(STD_INPUT_HANDLE);
    CHECK(CreatePipe(&ends[0], &ends[1], NULL, 0) && SetStdHandle(STD_INPUT_HANDLE, ends[0]));
#else
    int ends[2], before = dup(0);
    CHECK(pipe(ends) == 0 && dup2(ends[0], 0) == 0);
#endif

    CHECK(async_runtime_add_console(runtime, &context) == 0);
    taken = 0;
    thread = start_thread(ask_for_the_console, runtime);
    for (i = 1; i <= QUESTIONS; i++) {
        CHECK(wait_one(runtime).completion_key == (uintptr_t)i);
        taken = i;
    }
    join_thread(thread);
    async_runtime_deinit(runtime);
#ifdef _WIN32
    CHECK(SetStdHandle(STD_INPUT_HANDLE, before));
    CloseHandle(ends[0]);
    CloseHandle(ends[1]);
#else
    if (before >= 0) {
        CHECK(dup2(before, 0) == 0);
        close(before);
    } else {
        close(0);
    }
    close(ends[0]);
    close(ends[1]);
#endif
}

/* A server as a driver is one: is the context a port of mine, else is the key one that I know, else it is a user. */
enum { STOP_KEY = 0x50 };

struct server {
    async_runtime_t *runtime;
    socket_fd_t listener;
    int users, stopping;
};

struct user {
    socket_fd_t fd;
};

static void hang_up(struct server *server, struct user *user)
{
    CHECK(async_runtime_remove(server->runtime, user->fd) == 0);
    close_socket(user->fd);
    free(user);
    server->users--;
}

static void echo(struct server *server, struct user *user, const io_event_t *event)
{
#ifdef _WIN32
    if (event->event_type & EVENT_READ) {
        CHECK(async_runtime_post_write(server->runtime, user->fd, event->buffer, event->bytes_transferred) == 0);
        CHECK(async_runtime_post_read(server->runtime, user->fd, NULL, 0) == 0);
    } else if (event->event_type & (EVENT_CLOSE | EVENT_ERROR)) {
        hang_up(server, user);
    }
#else
    char bytes[512];
    ssize_t got = event->event_type & EVENT_READ ? recv(user->fd, bytes, sizeof bytes, 0) : 0;

    if (got > 0)
        CHECK(send(user->fd, bytes, (size_t)got, 0) == got);
    else
        hang_up(server, user);
#endif
}

static THREAD_RESULT serve(void *argument)
{
    struct server *server = (struct server *)argument;
    io_event_t events[64];
    int i, count;

    while (!server->stopping || server->users > 0) {
        count = async_runtime_wait(server->runtime, events, 64, NULL);
        CHECK(count >= 0);
        for (i = 0; i < count; i++) {
            if (events[i].context == server) {
                struct user *user = (struct user *)malloc(sizeof *user);
                CHECK(user != NULL);
                user->fd = connection_of(&events[i], server->listener, server);
                CHECK(async_runtime_add(server->runtime, user->fd, EVENT_READ, user) == 0);
                server->users++;
            } else if (events[i].completion_key == STOP_KEY) {
                server->stopping = 1;
            } else {
                echo(server, (struct user *)events[i].context, &events[i]);
            }
        }
    }
    return 0;
}

static void a_thousand_clients_are_echoed(void)
{
    enum { MOST = 1000 };
    static socket_fd_t clients[MOST];
    int i, round, count = slow() ? 100 : MOST;
    struct sockaddr_in address;
    struct server server;
    thread_t thread;

#ifndef _WIN32
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
#endif
    memset(&server, 0, sizeof server);
    server.runtime = async_runtime_init();
    server.listener = make_listener(&address);
    CHECK(async_runtime_add(server.runtime, server.listener, EVENT_READ, &server) == 0);
    thread = start_thread(serve, &server);
    for (i = 0; i < count; i++)
        clients[i] = connect_to(&address);
    for (round = 0; round < 3; round++) {
        char text[32], back[32];
        for (i = 0; i < count; i++)
            send_all(clients[i], text, (size_t)sprintf(text, "client %04d %d", i, round));
        for (i = 0; i < count; i++) {
            int length = sprintf(text, "client %04d %d", i, round);
            recv_all(clients[i], back, (size_t)length);
            CHECK(memcmp(text, back, (size_t)length) == 0);
        }
    }
    for (i = 0; i < count; i++)
        close_socket(clients[i]);
    CHECK(async_runtime_post_completion(server.runtime, STOP_KEY, 0) == 0);
    join_thread(thread);
    close_socket(server.listener);
    async_runtime_deinit(server.runtime);
}

/* Functions that take a runtime as well: see docs/c-guide.md. Their header and this one's cannot meet. */
struct stats {
    uint64_t waits, kernel_calls;
};
typedef void (*resolved_t)(void *context, const void *const *addresses, const int *lengths, int count, const char *error);
#ifdef __cplusplus
extern "C" {
#endif
int io_reactor_stats(async_runtime_t *reactor, struct stats *stats, size_t size);
uint64_t io_reactor_timer_add(async_runtime_t *reactor, void *context, uint64_t delay_us, uint64_t period_us);
int io_reactor_resolve(async_runtime_t *reactor, const char *host, int port, resolved_t callback, void *context);
int io_reactor_connect(async_runtime_t *reactor, socket_fd_t fd, const void *addr, int addrlen, void *context);
#ifdef __cplusplus
}
#endif

static void a_timer_reaches_a_runtime(void)
{
    async_runtime_t *runtime = async_runtime_init();
    io_event_t event;
    int beats;

    CHECK(io_reactor_timer_add(runtime, &context, 2000, 2000) != 0);
    for (beats = 0; beats < 3; beats++) {
        event = wait_one(runtime);
        CHECK(event.event_type == 0x20 && event.context == &context && event.buffer == NULL);
    }
    async_runtime_deinit(runtime);
}

struct link {
    async_runtime_t *runtime;
    socket_fd_t fd;
    int calls;
};

static void connect_link(void *argument, const void *const *addresses, const int *lengths, int count, const char *error)
{
    struct link *link = (struct link *)argument;

    link->calls++;
    CHECK(count > 0 && error == NULL);
    CHECK(io_reactor_connect(link->runtime, link->fd, addresses[0], lengths[0], link) == 0);
}

static void a_name_and_a_connection_reach_a_runtime(void)
{
    struct link link = {async_runtime_init(), socket(AF_INET, SOCK_STREAM, 0), 0};
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), peer;
    io_event_t event;
    char bytes[8];

    CHECK(io_reactor_resolve(link.runtime, "127.0.0.1", ntohs(address.sin_port), connect_link, &link) == 0);
    /* The wait that calls the function returns, with or without an event. */
    while (wait_ms(link.runtime, &event, 1, DEADLINE_MS) == 0)
        CHECK(link.calls == 1);
    CHECK(link.calls == 1 && event.event_type == EVENT_WRITE && event.context == &link && event.fd == link.fd);
    CHECK(async_runtime_add(link.runtime, link.fd, EVENT_READ, &link) == 0);
    peer = accept(listener, NULL, NULL);
    CHECK(peer != INVALID_SOCKET);
    send_all(peer, "hello", 5);
    event = wait_one(link.runtime);
    CHECK(event.context == &link && take_bytes(link.runtime, &event, bytes, sizeof bytes) == 5);
    CHECK(async_runtime_remove(link.runtime, link.fd) == 0);
    close_socket(peer);
    close_socket(link.fd);
    close_socket(listener);
    async_runtime_deinit(link.runtime);
}

/* As many as through io_reactor.h: see scale.c. */
static void a_message_costs_as_many_calls_as_through_the_other_header(void)
{
    enum { MESSAGES = 1000 };
    async_runtime_t *runtime = async_runtime_init();
    struct stats before, after;
    int calls, i, waits = 0;
    socket_fd_t pair[2];

    make_pair(pair);
    CHECK(async_runtime_add(runtime, pair[0], EVENT_READ, &context) == 0);
    CHECK(io_reactor_stats(runtime, &before, sizeof before) == 0);
    for (i = 0; i < MESSAGES; i++) {
        io_event_t event;
        char byte;

        send_all(pair[1], "x", 1);
        do {
            CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 1);
            waits++;
        } while (event.event_type == EVENT_WRITE);
#ifdef _WIN32
        CHECK(async_runtime_post_write(runtime, pair[0], event.buffer, 1) == 0);
#endif
        CHECK(take_bytes(runtime, &event, &byte, 1) == 1);
#ifndef _WIN32
        send_all(pair[0], &byte, 1);
#endif
        recv_all(pair[1], &byte, 1);
    }
    CHECK(io_reactor_stats(runtime, &after, sizeof after) == 0);
    calls = (int)(after.kernel_calls - before.kernel_calls);
    printf("   %.3f kernel calls a message, in %.3f waits\n", (double)calls / MESSAGES, (double)waits / MESSAGES);
#ifdef _WIN32
    CHECK(calls <= 2 * MESSAGES + waits + MESSAGES / 100);
#else
    CHECK(calls <= waits + MESSAGES / 100);
#endif
    async_runtime_deinit(runtime);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

int main(int argc, char **argv)
{
    check_begin(argc, argv);
#ifdef _WIN32
    RUN(packets_of_others_are_completions);
    RUN(packets_of_others_are_told_apart_by_key_and_operation);
    RUN(packets_of_others_do_not_disturb_a_connection);
#else
    RUN(a_signal_ends_a_wait_without_a_timeout);
    RUN(eight_bytes_to_the_handle_end_a_wait);
    RUN(eight_bytes_end_a_wait_that_has_work_of_its_own);
    RUN(any_number_may_be_written_to_the_handle);
    RUN(each_process_has_a_handle);
#endif
    RUN(the_console_is_described_and_not_read);
    RUN(any_thread_asks_for_the_console);
    RUN(a_thousand_clients_are_echoed);
    RUN(a_timer_reaches_a_runtime);
    RUN(a_name_and_a_connection_reach_a_runtime);
    RUN(a_message_costs_as_many_calls_as_through_the_other_header);
    return check_end();
}
