/* async_runtime.h: each promise as a case. */
#include "async_check.h"

static int port_context, user_context, other_context;

static void a_listener_brings_connections_and_a_connection_bytes(void)
{
    async_runtime_t *runtime = async_runtime_init();
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), client, user;
    io_event_t event;
    char bytes[16];

    CHECK(async_runtime_add(runtime, listener, EVENT_READ, &port_context) == 0);
    wait_silence(runtime);
    client = connect_to(&address);
    event = wait_one(runtime);
    user = connection_of(&event, listener, &port_context);
    CHECK(async_runtime_add(runtime, user, EVENT_READ, &user_context) == 0);
    wait_silence(runtime);
    send_all(client, "look", 4);
    event = wait_one(runtime);
    check_source(&event, user, &user_context);
    CHECK(take_bytes(runtime, &event, bytes, sizeof bytes) == 4 && memcmp(bytes, "look", 4) == 0);
    close_socket(client);
    event = wait_one(runtime);
    check_source(&event, user, &user_context);
    CHECK(event.event_type & (EVENT_CLOSE | EVENT_READ));
    CHECK(async_runtime_remove(runtime, user) == 0);
    CHECK(async_runtime_remove(runtime, listener) == 0);
    wait_silence(runtime);
    async_runtime_deinit(runtime);
    close_socket(user);
    close_socket(listener);
}

/* More connections than there is room for: none is lost, and none is accepted before it is reported. */
static void every_connection_comes_once_and_a_removed_listener_keeps_the_rest(void)
{
    enum { CLIENTS = 20 };
    async_runtime_t *runtime = async_runtime_init();
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address), clients[CLIENTS], accepted;
    io_event_t events[3];
    int i, k, count, seen = 0;

    set_nonblocking(listener);
    CHECK(async_runtime_add(runtime, listener, EVENT_READ, &port_context) == 0);
    for (i = 0; i < CLIENTS; i++)
        clients[i] = connect_to(&address);
    while (seen < CLIENTS / 2) {
        count = wait_ms(runtime, events, 3, DEADLINE_MS);
        CHECK(count > 0);
        for (k = 0; k < count; k++, seen++)
            close_socket(connection_of(&events[k], listener, &port_context));
    }
    CHECK(async_runtime_remove(runtime, listener) == 0);
    wait_silence(runtime);
    while ((accepted = accept(listener, NULL, NULL)) != INVALID_SOCKET) {
        close_socket(accepted);
        seen++;
    }
    CHECK(seen == CLIENTS);
    async_runtime_deinit(runtime);
    for (i = 0; i < CLIENTS; i++)
        close_socket(clients[i]);
    close_socket(listener);
}

static void check_completion(const io_event_t *event, uintptr_t key, uintptr_t data)
{
    CHECK(event->event_type == EVENT_READ);
    CHECK(event->completion_key == key);
    CHECK(event->bytes_transferred == data);
    CHECK(event->buffer == NULL);
#ifdef _WIN32
    CHECK(event->fd == (SOCKET)data);
    CHECK(event->context == (void *)key);
    CHECK(event->handle == NULL);
#else
    CHECK(event->fd == -1);
    CHECK(event->context == NULL);
#endif
}

static void completions_arrive_whole_and_in_order(void)
{
    static const uintptr_t values[][2] = {
        {1, 2}, {0, 0}, {UINTPTR_MAX, UINTPTR_MAX}, {UINTPTR_MAX / 2 + 1, 3}, {1, UINTPTR_MAX / 2 + 2}, {1, 2},
    };
    enum { COUNT = sizeof values / sizeof values[0] };
    async_runtime_t *runtime = async_runtime_init();
    io_event_t event;
    int i;

    for (i = 0; i < COUNT; i++)
        CHECK(async_runtime_post_completion(runtime, values[i][0], values[i][1]) == 0);
    for (i = 0; i < COUNT; i++) {
        event = wait_one(runtime);
        check_completion(&event, values[i][0], values[i][1]);
    }
    wait_silence(runtime);
    async_runtime_deinit(runtime);
}

struct poster {
    async_runtime_t *runtime;
    uintptr_t key, count;
};

static THREAD_RESULT post_many(void *argument)
{
    struct poster *poster = (struct poster *)argument;
    uintptr_t i;

    for (i = 0; i < poster->count; i++)
        CHECK(async_runtime_post_completion(poster->runtime, poster->key, i) == 0);
    return 0;
}

static void a_hundred_thousand_completions_of_four_threads_arrive_in_each_threads_order(void)
{
    enum { THREADS = 4 };
    const uintptr_t each = slow() ? 2500 : 25000;
    async_runtime_t *runtime = async_runtime_init();
    struct poster posters[THREADS];
    thread_t threads[THREADS];
    uintptr_t next[THREADS] = {0, 0, 0, 0}, seen = 0;
    io_event_t events[64];
    int i, count;

    for (i = 0; i < THREADS; i++) {
        posters[i].runtime = runtime;
        posters[i].key = 100 + (uintptr_t)i;
        posters[i].count = each;
        threads[i] = start_thread(post_many, &posters[i]);
    }
    while (seen < THREADS * each) {
        count = async_runtime_wait(runtime, events, 64, NULL);
        CHECK(count >= 0);
        for (i = 0; i < count; i++, seen++) {
            uintptr_t thread = events[i].completion_key - 100;
            CHECK(thread < THREADS);
            check_completion(&events[i], 100 + thread, next[thread]);
            next[thread]++;
        }
    }
    for (i = 0; i < THREADS; i++)
        join_thread(threads[i]);
    wait_silence(runtime);
    async_runtime_deinit(runtime);
}

static THREAD_RESULT wake_up(void *argument)
{
    CHECK(async_runtime_wakeup((async_runtime_t *)argument) == 0);
    return 0;
}

static void a_wakeup_ends_a_wait_without_an_event(void)
{
    async_runtime_t *runtime = async_runtime_init();
    io_event_t event;
    thread_t thread;

    CHECK(async_runtime_wakeup(runtime) == 0 && async_runtime_wakeup(runtime) == 0);
    CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    thread = start_thread(wake_up, runtime);
    CHECK(async_runtime_wait(runtime, &event, 1, NULL) == 0);
    join_thread(thread);
    wait_silence(runtime);
    async_runtime_deinit(runtime);
}

static void a_new_context_is_that_of_later_events(void)
{
    async_runtime_t *runtime = async_runtime_init();
    socket_fd_t pair[2];
    io_event_t event;

    make_pair(pair);
    CHECK(async_runtime_modify(runtime, pair[0], EVENT_READ, &user_context) == -1);
    CHECK(strstr(async_runtime_last_error(), "not registered") != NULL);
    CHECK(async_runtime_add(runtime, pair[0], EVENT_READ, &user_context) == 0);
    CHECK(async_runtime_add(runtime, pair[0], EVENT_READ, &user_context) == -1);
    CHECK(async_runtime_modify(runtime, pair[0], EVENT_READ, &other_context) == 0);
    wait_silence(runtime);
    send_all(pair[1], "x", 1);
    event = wait_one(runtime);
    check_source(&event, pair[0], &other_context);
    CHECK(event.event_type == EVENT_READ);
    CHECK(async_runtime_modify(runtime, pair[0], EVENT_WRITE, &user_context) == 0);
    event = wait_one(runtime);
    check_source(&event, pair[0], &user_context);
    CHECK(event.event_type == EVENT_WRITE);
    CHECK(async_runtime_remove(runtime, pair[0]) == 0);
    CHECK(async_runtime_remove(runtime, pair[0]) == -1);
    CHECK(strstr(async_runtime_last_error(), "async_runtime_remove") != NULL);
    CHECK(strstr(async_runtime_last_error(), "not registered") != NULL);
    wait_silence(runtime);
    async_runtime_deinit(runtime);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void a_posted_write_is_sent_whole(void)
{
    enum { LENGTH = 300000 };
    static char bytes[LENGTH], back[LENGTH];
    async_runtime_t *runtime = async_runtime_init();
    socket_fd_t pair[2];
    int i;

    for (i = 0; i < LENGTH; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    make_pair(pair);
    CHECK(async_runtime_add(runtime, pair[0], 0, &user_context) == 0);
    CHECK(async_runtime_post_write(runtime, pair[0], bytes, LENGTH) == 0);
#ifdef _WIN32
    CHECK(async_runtime_post_write(runtime, pair[0], bytes, 0) == -1);
    memset(bytes, 0, 16); /* the library has a copy */
    {
        int got = 0, written = 0;
        set_nonblocking(pair[1]);
        while (got < LENGTH || !written) {
            io_event_t event;
            int count = wait_ms(runtime, &event, 1, 1);
            CHECK(count >= 0);
            if (count == 1) {
                check_source(&event, pair[0], &user_context);
                CHECK(event.event_type == EVENT_WRITE && event.bytes_transferred == LENGTH && !written);
                written = 1;
            }
            count = (int)recv(pair[1], back + got, LENGTH - got, 0);
            got += count > 0 ? count : 0;
        }
    }
    for (i = 0; i < LENGTH; i++)
        CHECK(back[i] == (char)(i * 31 + i / 251));
#else
    /* It does nothing: the caller writes. */
    set_nonblocking(pair[1]);
    CHECK(recv(pair[1], back, LENGTH, 0) == -1 && errno == EAGAIN);
    CHECK(async_runtime_post_read(runtime, pair[0], NULL, 0) == 0);
#endif
    wait_silence(runtime);
    async_runtime_deinit(runtime);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

/* Every argument that is wrong is refused, with a reason that names the function. */
static void wrong_arguments_are_refused(void)
{
    async_runtime_t *runtime = async_runtime_init();
    struct timeval now = {0, 0};
    io_event_t event;

#define REFUSED(call, function, reason) \
    do { \
        CHECK((call) == -1); \
        CHECK(strstr(async_runtime_last_error(), function) != NULL); \
        CHECK(strstr(async_runtime_last_error(), reason) != NULL); \
    } while (0)
    REFUSED(async_runtime_add(NULL, 0, EVENT_READ, NULL), "async_runtime_add: ", "NULL runtime");
    REFUSED(async_runtime_modify(NULL, 0, EVENT_READ, NULL), "async_runtime_modify: ", "NULL runtime");
    REFUSED(async_runtime_remove(NULL, 0), "async_runtime_remove: ", "NULL runtime");
    REFUSED(async_runtime_wait(NULL, &event, 1, &now), "async_runtime_wait: ", "NULL runtime");
    REFUSED(async_runtime_post_completion(NULL, 1, 2), "async_runtime_post_completion: ", "NULL runtime");
    REFUSED(async_runtime_post_read(NULL, 0, NULL, 0), "async_runtime_post_read: ", "NULL runtime");
    REFUSED(async_runtime_post_write(NULL, 0, &event, 1), "async_runtime_post_write: ", "NULL runtime");
    REFUSED(async_runtime_add_console(NULL, NULL), "async_runtime_add_console: ", "NULL runtime");
    REFUSED(async_runtime_wait(runtime, NULL, 1, &now), "async_runtime_wait: ", "no room");
    REFUSED(async_runtime_wait(runtime, &event, 0, &now), "async_runtime_wait: ", "no room");
    REFUSED(async_runtime_wait(runtime, &event, -1, &now), "async_runtime_wait: ", "no room");
    REFUSED(async_runtime_add(runtime, INVALID_SOCKET, EVENT_READ, NULL), "async_runtime_add: ", "not a socket");
    REFUSED(async_runtime_remove(runtime, INVALID_SOCKET), "async_runtime_remove: ", "not registered");
    REFUSED(async_runtime_modify(runtime, INVALID_SOCKET, 0, NULL), "async_runtime_modify: ", "not registered");
    /* A handler may call this one, and leaves the text to the call that it has interrupted. */
    CHECK(async_runtime_wakeup(NULL) == -1);
    CHECK(strstr(async_runtime_last_error(), "async_runtime_modify: ") != NULL);
    CHECK(async_runtime_get_console_type(NULL) == CONSOLE_TYPE_NONE);
#ifdef _WIN32
    CHECK(async_runtime_get_iocp(NULL) == NULL);
    CHECK(async_runtime_get_console_event(NULL) == NULL);
    CHECK(async_runtime_get_console_ctx(NULL) == NULL);
#else
    REFUSED(async_runtime_get_event_loop_handle(NULL), "async_runtime_get_event_loop_handle: ", "NULL runtime");
#endif
    async_runtime_deinit(NULL);
    wait_silence(runtime);
    async_runtime_deinit(runtime);
}

int main(int argc, char **argv)
{
    check_begin(argc, argv);
    RUN(a_listener_brings_connections_and_a_connection_bytes);
    RUN(every_connection_comes_once_and_a_removed_listener_keeps_the_rest);
    RUN(completions_arrive_whole_and_in_order);
    RUN(a_hundred_thousand_completions_of_four_threads_arrive_in_each_threads_order);
    RUN(a_wakeup_ends_a_wait_without_an_event);
    RUN(a_new_context_is_that_of_later_events);
    RUN(a_posted_write_is_sent_whole);
    RUN(wrong_arguments_are_refused);
    return check_end();
}
