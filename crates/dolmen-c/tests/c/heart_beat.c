/*
 * heart_beat alarm|alarm-wakeup|thread|timer MILLISECONDS SECONDS: an echo server with a heart beat, for `cargo xtask soak
 * --heart-beats`. It waits without a timeout, so that a heart beat that does not end the wait is lost. async_heart_beat.c is
 * the same program for async_runtime.h.
 *
 *   alarm         SIGALRM (setitimer), whose handler only sets a flag (POSIX)
 *   alarm-wakeup  SIGALRM, whose handler also calls the wake-up (POSIX)
 *   thread        a thread, which sets the flag and calls the wake-up
 *   timer         a timer of the library (io_reactor.h)
 *
 * It prints its port, begins when it has read a line, and ends a second after its time. At the end it prints the time of each
 * beat in microseconds since it began, and "echoed" with the number of bytes.
 */
#include "check.h"

#ifdef CHECK_ASYNC_RUNTIME
typedef async_runtime_t reactor_t;
#define create async_runtime_init
#define destroy async_runtime_deinit
#define add(reactor, fd, context) async_runtime_add(reactor, fd, EVENT_READ, context)
#define remove_socket async_runtime_remove
#define wake async_runtime_wakeup
#define wait_for_events async_runtime_wait
#define post_read async_runtime_post_read
#define post_write async_runtime_post_write
#else
typedef io_reactor_t reactor_t;
#define create io_reactor_create
#define destroy io_reactor_destroy
#define add(reactor, fd, context) io_reactor_add(reactor, fd, context, EVENT_READ)
#define remove_socket io_reactor_remove
#define wake io_reactor_wakeup
#define wait_for_events io_reactor_wait
#define post_read io_reactor_post_read
#define post_write io_reactor_post_write
#endif

enum { MAX_EVENTS = 64, LONGEST_MS = 60000, LONGEST_S = 86400 };

struct client {
    socket_fd_t fd;
};

static reactor_t *reactor;
static socket_fd_t listener;
static int port_context, timer_context;
static uint64_t start_us, period_us, echoed, *beats;
static long beats_room, beats_done;
static int rung, over; /* changed by __atomic_... only */

static int read_rung(void)
{
    return __atomic_load_n(&rung, __ATOMIC_ACQUIRE);
}

static void ring(int times)
{
    __atomic_add_fetch(&rung, times, __ATOMIC_RELEASE);
}

static void beat(void)
{
    if (beats_done < beats_room)
        beats[beats_done] = now_us() - start_us;
    beats_done++;
}

#ifndef _WIN32
static int handler_wakes;

static void on_alarm(int signal)
{
    int error = errno;

    (void)signal;
    ring(1);
    if (handler_wakes)
        wake(reactor);
    errno = error;
}

static void set_alarm(uint64_t us)
{
    struct itimerval timer;
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    timer.it_interval.tv_sec = (time_t)(us / 1000000);
    timer.it_interval.tv_usec = (suseconds_t)(us % 1000000);
    timer.it_value = timer.it_interval;
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}
#endif

/* Rings at fixed times, so that a late beat does not delay the later ones. */
static THREAD_RESULT ring_in_a_thread(void *unused)
{
    uint64_t next = start_us + period_us, now;

    (void)unused;
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
        now = now_us();
        if (now < next) {
#ifdef _WIN32
            Sleep((DWORD)((next - now + 999) / 1000));
#else
            struct timespec rest;
            rest.tv_sec = (time_t)((next - now) / 1000000);
            rest.tv_nsec = (long)((next - now) % 1000000 * 1000);
            nanosleep(&rest, NULL);
#endif
            continue;
        }
        next += period_us;
        ring(1);
        CHECK(wake(reactor) == 0);
    }
    return 0;
}

static void hang_up(struct client *client)
{
    remove_socket(reactor, client->fd);
    close_socket(client->fd);
    free(client);
}

static void new_client(const io_event_t *event)
{
    struct client *client = malloc(sizeof *client);

    CHECK(client != NULL);
#if defined(_WIN32) && defined(CHECK_ASYNC_RUNTIME)
    client->fd = event->fd;
#else
    (void)event;
    client->fd = accept(listener, NULL, NULL);
#endif
    CHECK(client->fd != INVALID_SOCKET);
    CHECK(add(reactor, client->fd, client) == 0);
}

static void client_event(struct client *client, const io_event_t *event)
{
    if (event->event_type & EVENT_READ) {
#ifdef _WIN32
        echoed += (uint64_t)event->bytes_transferred;
        /* If one of these fails, the connection's end is the next event. */
        post_write(reactor, client->fd, event->buffer, (size_t)event->bytes_transferred);
        post_read(reactor, client->fd, NULL, 0);
#else
        char bytes[4096];
        ssize_t count = recv(client->fd, bytes, sizeof bytes, 0);
        if (count <= 0 || send(client->fd, bytes, (size_t)count, MSG_NOSIGNAL) != count) {
            hang_up(client);
            return;
        }
        echoed += (uint64_t)count;
#endif
    } else if (event->event_type & (EVENT_CLOSE | EVENT_ERROR)) {
        hang_up(client);
    }
}

static void turn(void)
{
    io_event_t events[MAX_EVENTS];
    int i, count = wait_for_events(reactor, events, MAX_EVENTS, NULL);

    CHECK(count >= 0);
    for (i = 0; i < count; i++) {
        if (events[i].context == &port_context)
            new_client(&events[i]);
        else if (events[i].context == &timer_context)
            ring(1 + (int)events[i].bytes_transferred);
        else
            client_event(events[i].context, &events[i]);
    }
    while (beats_done < read_rung())
        beat();
}

static long number_of(const char *text, long most)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || number < 1 || number > most) {
        fprintf(stderr, "heart_beat: not a number from 1 to %ld: \"%s\"\n", most, text);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {
        "thread",
#ifndef _WIN32
        "alarm", "alarm-wakeup",
#endif
#ifndef CHECK_ASYNC_RUNTIME
        "timer",
#endif
    };
    struct sockaddr_in address;
    thread_t thread = 0;
    size_t kind = 0;
    uint64_t total_us;
    long i;
    int threaded;
    char line[16];

    while (argc == 4 && kind < sizeof kinds / sizeof *kinds && strcmp(argv[1], kinds[kind]) != 0)
        kind++;
    if (argc != 4 || kind == sizeof kinds / sizeof *kinds) {
        fprintf(stderr, "usage: heart_beat KIND MILLISECONDS SECONDS, with a KIND of");
        for (kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
            fprintf(stderr, " %s", kinds[kind]);
        fprintf(stderr, "\n");
        return 2;
    }
    period_us = 1000u * (uint64_t)number_of(argv[2], LONGEST_MS);
    total_us = 1000000u * (uint64_t)number_of(argv[3], LONGEST_S);
    /* Clients that began within the time get their answers. */
    total_us += 1000000;
    beats_room = (long)(total_us / period_us) + 1;
    beats = calloc((size_t)beats_room, sizeof *beats);
    reactor = create();
    CHECK(beats != NULL && reactor != NULL);
    listener = make_listener(&address);
    CHECK(add(reactor, listener, &port_context) == 0);
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        return 2;

    threaded = strcmp(argv[1], "thread") == 0;
    start_us = now_us();
    if (threaded)
        thread = start_thread(ring_in_a_thread, NULL);
#ifndef _WIN32
    handler_wakes = strcmp(argv[1], "alarm-wakeup") == 0;
    if (strncmp(argv[1], "alarm", 5) == 0)
        set_alarm(period_us);
#endif
#ifndef CHECK_ASYNC_RUNTIME
    if (strcmp(argv[1], "timer") == 0)
        CHECK(io_reactor_timer_add(reactor, &timer_context, period_us, period_us) != 0);
#endif
    /* Without a timeout: the first beat after its time ends it. */
    while (now_us() - start_us < total_us)
        turn();
#ifndef _WIN32
    if (strncmp(argv[1], "alarm", 5) == 0)
        set_alarm(0);
#endif
    __atomic_store_n(&over, 1, __ATOMIC_RELEASE);
    if (threaded)
        join_thread(thread);
    destroy(reactor);
    for (i = 0; i < beats_done && i < beats_room; i++)
        printf("%llu\n", (unsigned long long)beats[i]);
    printf("echoed %llu\n", (unsigned long long)echoed);
    return 0;
}
