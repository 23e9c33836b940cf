/* What the tests of async_runtime.h share. */
#ifndef ASYNC_CHECK_H
#define ASYNC_CHECK_H

#define CHECK_ASYNC_RUNTIME
#include "check.h"

#ifndef _WIN32
#include <poll.h>
#endif

static inline int wait_ms(async_runtime_t *runtime, io_event_t *events, int max_events, int milliseconds)
{
    struct timeval timeout;

    timeout.tv_sec = milliseconds / 1000;
    timeout.tv_usec = milliseconds % 1000 * 1000;
    return async_runtime_wait(runtime, events, max_events, &timeout);
}

/* Waits for exactly one event, which has to arrive. Waits may end without one before, see ENDS_EARLY. */
static inline io_event_t wait_one(async_runtime_t *runtime)
{
    uint64_t end = now_us() + DEADLINE_MS * (uint64_t)1000;
    io_event_t event;
    int count;

    do {
        count = wait_ms(runtime, &event, 1, DEADLINE_MS);
    } while (ENDS_EARLY && count == 0 && now_us() < end);
    CHECK(count == 1);
    return event;
}

/* No event arrives. */
static inline void wait_silence(async_runtime_t *runtime)
{
    io_event_t events[8];

    CHECK(wait_ms(runtime, events, 8, SILENCE_MS) == 0);
}

/* An event of a registered socket. */
static inline void check_source(const io_event_t *event, socket_fd_t fd, void *context)
{
    CHECK(event->fd == fd);
    CHECK(event->context == context);
#ifdef _WIN32
    CHECK(event->completion_key == (uintptr_t)context);
    CHECK(event->handle == NULL);
#else
    CHECK(event->completion_key == 0);
#endif
}

/* The connection of a listener's event: the event brings it on Windows, and the caller accepts it elsewhere. */
static inline socket_fd_t connection_of(const io_event_t *event, socket_fd_t listener, void *context)
{
    CHECK(event->event_type == EVENT_READ && event->buffer == NULL && event->bytes_transferred == 0);
#ifdef _WIN32
    CHECK(event->fd != listener && event->fd != INVALID_SOCKET);
    check_source(event, event->fd, context);
    return event->fd;
#else
    socket_fd_t accepted;

    check_source(event, listener, context);
    accepted = accept(listener, NULL, NULL);
    CHECK(accepted != INVALID_SOCKET);
    return accepted;
#endif
}

/* The bytes of a read event: on Windows those of the event, on POSIX those of one recv. Asks for more. */
static inline int take_bytes(async_runtime_t *runtime, const io_event_t *event, char *bytes, int room)
{
    CHECK(event->event_type & EVENT_READ);
#ifdef _WIN32
    CHECK(event->buffer != NULL && event->bytes_transferred > 0 && event->bytes_transferred <= (size_t)room);
    memcpy(bytes, event->buffer, event->bytes_transferred);
    CHECK(async_runtime_post_read(runtime, event->fd, NULL, 0) == 0);
    return (int)event->bytes_transferred;
#else
    (void)runtime;
    CHECK(event->buffer == NULL && event->bytes_transferred == 0);
    return (int)recv(event->fd, bytes, (size_t)room, 0);
#endif
}

#endif
