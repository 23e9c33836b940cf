/* libuv: readiness below, completion callbacks above. The same program as the contenders in Rust: see mod.rs.
 *
 *     libuv-server echo | broadcast | version
 *     libuv-server wake SECONDS CPU | timers SECONDS COUNT
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#define BUFFER_BYTES 4096

typedef struct {
    uv_tcp_t handle;
    size_t at; /* in everyone */
    char buffer[BUFFER_BYTES];
} connection;

typedef struct {
    uv_write_t request;
    char bytes[];
} queued_write;

static uv_loop_t *loop;
static int broadcast;
static connection **everyone;
static size_t count, room;

static void check(int status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
        exit(1);
    }
}

static void written(uv_write_t *request, int status) {
    (void)status;
    free(request);
}

/* Immediately where the socket takes it, as in libuv's guide; the rest is queued. */
static void send_bytes(uv_stream_t *stream, const char *bytes, size_t length) {
    uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned)length);
    int sent = uv_try_write(stream, &buffer, 1);
    size_t done = sent < 0 ? 0 : (size_t)sent;
    if (done == length)
        return;
    queued_write *rest = malloc(sizeof *rest + length - done);
    memcpy(rest->bytes, bytes + done, length - done);
    uv_buf_t left = uv_buf_init(rest->bytes, (unsigned)(length - done));
    if (uv_write(&rest->request, stream, &left, 1, written) < 0)
        free(rest);
}

static void closed(uv_handle_t *handle) {
    connection *gone = (connection *)handle;
    everyone[gone->at] = everyone[--count];
    everyone[gone->at]->at = gone->at;
    free(gone);
}

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)suggested;
    *buffer = uv_buf_init(((connection *)handle)->buffer, BUFFER_BYTES);
}

static void received(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    if (length < 0) {
        uv_close((uv_handle_t *)stream, closed);
    } else if (length > 0 && !broadcast) {
        send_bytes(stream, buffer->base, (size_t)length);
    } else if (length > 0) {
        for (size_t at = 0; at < count; at++)
            send_bytes((uv_stream_t *)&everyone[at]->handle, buffer->base, (size_t)length);
    }
}

static void accepted(uv_stream_t *listener, int status) {
    check(status, "accept");
    connection *next = malloc(sizeof *next);
    check(uv_tcp_init(loop, &next->handle), "init");
    check(uv_accept(listener, (uv_stream_t *)&next->handle), "accept");
    check(uv_tcp_nodelay(&next->handle, 1), "nodelay");
    if (count == room) {
        room = room ? 2 * room : 64;
        everyone = realloc(everyone, room * sizeof *everyone);
    }
    next->at = count;
    everyone[count++] = next;
    check(uv_read_start((uv_stream_t *)&next->handle, lend, received), "read");
}

static void serve(void) {
    static uv_tcp_t listener;
    struct sockaddr_in address;
    int length = sizeof address;
    check(uv_ip4_addr("127.0.0.1", 0, &address), "address");
    check(uv_tcp_init(loop, &listener), "init");
    check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0), "bind");
    check(uv_listen((uv_stream_t *)&listener, 4096, accepted), "listen");
    check(uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length), "name");
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);
    uv_run(loop, UV_RUN_DEFAULT);
}

/* The measurements within the program: nanoseconds between an event's time and its delivery. */

static uint64_t *latencies, measured, latency_room;
static double cpu_before;
static uint64_t begun, end;

static double cpu_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void record(uint64_t latency) {
    if (measured == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 65536;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
    }
    latencies[measured++] = latency;
}

/* "done EVENTS SECONDS CPU_SECONDS", then a line "NANOSECONDS TIMES" for each. */
static void finish(void) {
    printf("done %llu %f %f\n", (unsigned long long)measured, (double)(uv_hrtime() - begun) / 1e9,
           cpu_seconds() - cpu_before);
    for (uint64_t at = 0; at < measured; at++)
        printf("%llu 1\n", (unsigned long long)latencies[at]);
    fflush(stdout);
    _Exit(0);
}

static atomic_ullong posted_at, posted, delivered;
static uv_async_t bell;
static int poster_cpu;

static void *post(void *unused) {
    (void)unused;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(poster_cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    for (;;) {
        uint64_t until = uv_hrtime() + 20000;
        while (uv_hrtime() < until)
            ;
        posted_at = uv_hrtime();
        uint64_t number = ++posted;
        uv_async_send(&bell);
        while (delivered < number)
            ;
    }
    return NULL;
}

static void rung(uv_async_t *handle) {
    (void)handle;
    uint64_t now = uv_hrtime();
    record(now - posted_at);
    if (now >= end)
        finish();
    delivered = posted;
}

static uint64_t *due, state = 88172645463325252u;

/* Up to a second, from the generator of servers/mod.rs. */
static uint64_t delay_ms(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return 1 + state % 1000;
}

static void fired(uv_timer_t *timer) {
    uint64_t now = uv_hrtime(), *its_time = timer->data, next = delay_ms();
    record(now > *its_time ? now - *its_time : 0);
    if (now >= end)
        finish();
    *its_time = now + next * 1000000;
    uv_timer_start(timer, fired, next, 0);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    loop = uv_default_loop();
    /* libuv leaves it to its users to handle a closed peer. */
    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(mode, "version")) {
        puts(uv_version_string());
        return 0;
    }
    broadcast = !strcmp(mode, "broadcast");
    if (broadcast || !strcmp(mode, "echo")) {
        serve();
        return 0;
    }
    if (argc < 4)
        return 2;
    begun = uv_hrtime();
    end = begun + (uint64_t)(atof(argv[2]) * 1e9);
    cpu_before = cpu_seconds();
    if (!strcmp(mode, "wake")) {
        pthread_t thread;
        poster_cpu = atoi(argv[3]);
        check(uv_async_init(loop, &bell, rung), "async");
        pthread_create(&thread, NULL, post, NULL);
    } else {
        size_t timers = (size_t)atoi(argv[3]);
        uv_timer_t *all = calloc(timers, sizeof *all);
        due = calloc(timers, sizeof *due);
        for (size_t at = 0; at < timers; at++) {
            uint64_t first = delay_ms();
            uv_timer_init(loop, &all[at]);
            all[at].data = &due[at];
            uv_update_time(loop);
            due[at] = uv_hrtime() + first * 1000000;
            uv_timer_start(&all[at], fired, first, 0);
        }
    }
    uv_run(loop, UV_RUN_DEFAULT);
    return 0;
}
