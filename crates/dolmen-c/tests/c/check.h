/*
 * Shared by the C tests: a list of named cases, sockets in pairs, threads, waits with a deadline. Nothing here sleeps to let
 * something happen: a test waits for the event itself, and only a failure takes the whole deadline.
 */
#ifndef CHECK_H
#define CHECK_H

/* Of the two headers a program has one. */
#ifdef CHECK_ASYNC_RUNTIME
#include "async_runtime.h"
#define last_error async_runtime_last_error
#else
#include "io_reactor.h"
#define last_error io_reactor_last_error
#endif

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <ws2tcpip.h>
#include <windows.h>
#define close_socket closesocket
typedef HANDLE thread_t;
#define THREAD_RESULT DWORD WINAPI
#else
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define close_socket close
#define INVALID_SOCKET (-1)
typedef pthread_t thread_t;
#define THREAD_RESULT void *
#endif

#define CHECK(condition) check_that((condition) != 0, #condition, __FILE__, __LINE__)

/* Runs a case, unless the command line names others. */
#define RUN(name) \
    do { \
        if (check_argc < 2 || strstr(#name, check_argv[1]) != NULL) { \
            check_running = #name; \
            check_alarm(); \
            name(); \
            check_count++; \
            printf("ok %s\n", #name); \
            fflush(stdout); \
        } \
    } while (0)

static const char *check_running = "(none)";
static int check_argc, check_count;
static char **check_argv;

/* How many milliseconds must pass before a missing event counts as lost, or as rightly absent. */
#define DEADLINE_MS 20000
#define SILENCE_MS 60

static inline void check_that(int holds, const char *condition, const char *file, int line)
{
    if (holds)
        return;
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s: does not hold: %s (last error: %s)\n", file, line, check_running, condition,
            last_error());
    fflush(stderr);
    exit(1);
}

/* Whether an instrument, such as valgrind, slows everything down: then numbers are smaller and limits longer. */
static inline int slow(void)
{
    return getenv("CHECK_SLOW") != NULL;
}

static inline uint64_t now_us(void)
{
#ifdef _WIN32
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (uint64_t)((double)count.QuadPart * 1e6 / (double)frequency.QuadPart);
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
#endif
}

#ifdef _WIN32
static volatile LONG check_case;

static DWORD WINAPI check_watchdog(LPVOID unused)
{
    LONG watched;

    (void)unused;
    do {
        watched = check_case;
        Sleep(28000);
    } while (watched != check_case);
    fprintf(stderr, "%s has not ended in time\n", check_running);
    fflush(stderr);
    _exit(1);
}
#endif

/*
 * Ends a test program whose case does not end by itself: in half a minute, on Windows in up to twice that. A case that
 * uses the alarm itself, or runs for long, calls this again afterwards.
 */
static inline void check_alarm(void)
{
#ifdef _WIN32
    InterlockedIncrement(&check_case);
#else
    alarm(slow() ? 280 : 28);
#endif
}

static inline void check_begin(int argc, char **argv)
{
    check_argc = argc;
    check_argv = argv;
#ifdef _WIN32
    {
        WSADATA data;
        CHECK(WSAStartup(0x0202, &data) == 0);
        CloseHandle(CreateThread(NULL, 0, check_watchdog, NULL, 0, NULL));
    }
#else
    signal(SIGPIPE, SIG_IGN);
#endif
}

static inline int check_end(void)
{
    CHECK(check_count > 0);
    return 0;
}

static inline thread_t start_thread(THREAD_RESULT (*body)(void *), void *argument)
{
    thread_t thread;
#ifdef _WIN32
    thread = CreateThread(NULL, 0, (LPTHREAD_START_ROUTINE)body, argument, 0, NULL);
    CHECK(thread != NULL);
#else
    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
#endif
    return thread;
}

static inline void join_thread(thread_t thread)
{
#ifdef _WIN32
    CHECK(WaitForSingleObject(thread, INFINITE) == WAIT_OBJECT_0);
    CloseHandle(thread);
#else
    CHECK(pthread_join(thread, NULL) == 0);
#endif
}

/* A listening socket on a port of the system's choice, which goes into `address`. */
static inline socket_fd_t make_listener(struct sockaddr_in *address)
{
    socket_fd_t listener = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof *address;

    CHECK(listener != INVALID_SOCKET);
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)address, sizeof *address) == 0);
    CHECK(listen(listener, 1024) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)address, &length) == 0);
    return listener;
}

static inline socket_fd_t connect_to(const struct sockaddr_in *address)
{
    int one = 1;
    socket_fd_t client = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(client != INVALID_SOCKET);
    CHECK(connect(client, (const struct sockaddr *)address, sizeof *address) == 0);
    CHECK(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, (const char *)&one, sizeof one) == 0);
    return client;
}

/* Both ends of a TCP connection. */
static inline void make_pair(socket_fd_t pair[2])
{
    struct sockaddr_in address;
    socket_fd_t listener = make_listener(&address);

    pair[1] = connect_to(&address);
    pair[0] = accept(listener, NULL, NULL);
    CHECK(pair[0] != INVALID_SOCKET);
    close_socket(listener);
}

static inline void set_nonblocking(socket_fd_t fd)
{
#ifdef _WIN32
    u_long one = 1;
    CHECK(ioctlsocket(fd, FIONBIO, &one) == 0);
#else
    CHECK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
#endif
}

/* Ends a connection by RST. */
static inline void reset_and_close(socket_fd_t fd)
{
    struct linger linger;

    linger.l_onoff = 1;
    linger.l_linger = 0;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, (const char *)&linger, sizeof linger) == 0);
    close_socket(fd);
}

static inline void send_all(socket_fd_t fd, const void *bytes, size_t length)
{
    const char *at = (const char *)bytes;

    while (length > 0) {
        int sent = (int)send(fd, at, (int)length, 0);
        CHECK(sent > 0);
        at += sent;
        length -= (size_t)sent;
    }
}

/* Blocks until `length` bytes have been received. */
static inline void recv_all(socket_fd_t fd, void *bytes, size_t length)
{
    char *at = (char *)bytes;

    while (length > 0) {
        int got = (int)recv(fd, at, (int)length, 0);
        CHECK(got > 0);
        at += got;
        length -= (size_t)got;
    }
}

/* Whether a wait may end without an event and before its time: on POSIX by the wake of a post that an earlier wait has
 * found already. On Windows never. */
#ifdef _WIN32
enum { ENDS_EARLY = 0 };
#else
enum { ENDS_EARLY = 1 };
#endif

#ifndef CHECK_ASYNC_RUNTIME
static inline int wait_ms(io_reactor_t *reactor, io_event_t *events, int max_events, int milliseconds)
{
    struct timeval timeout;

    timeout.tv_sec = milliseconds / 1000;
    timeout.tv_usec = milliseconds % 1000 * 1000;
    return io_reactor_wait(reactor, events, max_events, &timeout);
}

/* Waits for exactly one event, which has to arrive. Waits may end without one before, see ENDS_EARLY. */
static inline io_event_t wait_one(io_reactor_t *reactor)
{
    uint64_t end = now_us() + DEADLINE_MS * (uint64_t)1000;
    io_event_t event;
    int count;

    do {
        count = wait_ms(reactor, &event, 1, DEADLINE_MS);
    } while (ENDS_EARLY && count == 0 && now_us() < end);
    CHECK(count == 1);
    return event;
}

/* No event arrives. */
static inline void wait_silence(io_reactor_t *reactor)
{
    io_event_t events[8];

    CHECK(wait_ms(reactor, events, 8, SILENCE_MS) == 0);
}

/* The bytes of a read event: on Windows those of the event, on POSIX those of one recv. Asks for more. */
static inline int take_bytes(io_reactor_t *reactor, socket_fd_t fd, const io_event_t *event, char *bytes, int room)
{
    CHECK(event->event_type & EVENT_READ);
#ifdef _WIN32
    CHECK(event->buffer != NULL && event->bytes_transferred > 0 && event->bytes_transferred <= room);
    memcpy(bytes, event->buffer, (size_t)event->bytes_transferred);
    CHECK(io_reactor_post_read(reactor, fd, NULL, 0) == 0);
    return event->bytes_transferred;
#else
    (void)reactor;
    CHECK(event->buffer == NULL && event->bytes_transferred == 0);
    return (int)recv(fd, bytes, (size_t)room, 0);
#endif
}
#endif

#endif
