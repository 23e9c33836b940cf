/* POSIX: a program forks with a reactor. Either process may go on with it, or destroy its copy. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>

static int a, b; /* contexts */
extern char **environ;

/* In the child: any failure has to end it soon. */
static pid_t fork_checked(void)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        alarm(slow() ? 200 : 20);
    return pid;
}

/* A sanitizer's fork copies much, and a slow machine has the same number of seconds. */
static int rounds_of(int rounds)
{
#ifdef SANITIZED
    rounds /= 16;
#endif
    return slow() ? rounds / 40 + 1 : rounds;
}

static void ends_well(pid_t child)
{
    int status = -1;

    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

/* Of all registered sockets only `fd` is reported, with context `a`. */
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

/* Woken by a thread of this process. */
static THREAD_RESULT wake(void *reactor)
{
    CHECK(io_reactor_wakeup((io_reactor_t *)reactor) == 0);
    return 0;
}

static void wakes_itself(io_reactor_t *reactor, int rounds)
{
    io_event_t event;

    while (rounds-- > 0) {
        thread_t thread = start_thread(wake, reactor);
        CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 0);
        join_thread(thread);
    }
}

/* Echoes one byte on each of two sockets, and returns when both have ended. */
static void serve(io_reactor_t *reactor)
{
    io_event_t events[8];
    int open = 2;

    while (open > 0) {
        int i, count = wait_ms(reactor, events, 8, DEADLINE_MS);
        CHECK(count > 0);
        for (i = 0; i < count; i++) {
            socket_fd_t fd = *(socket_fd_t *)events[i].context;
            char byte;
            if (recv(fd, &byte, 1, 0) == 1) {
                send_all(fd, &byte, 1);
            } else {
                CHECK(io_reactor_remove(reactor, fd) == 0);
                close(fd);
                open--;
            }
        }
    }
}

/* A driver that becomes a daemon: the parent exits, with or without destroying its copy. */
static void a_driver_becomes_a_daemon(void)
{
    int round, i;

    for (round = 0; round < 2; round++) {
        socket_fd_t first[2], second[2];
        pid_t driver;
        char byte;

        make_pair(first);
        make_pair(second);
        driver = fork_checked();
        if (driver == 0) {
            io_reactor_t *reactor = io_reactor_create();
            close(first[1]);
            close(second[1]);
            CHECK(io_reactor_add(reactor, first[0], &first[0], EVENT_READ) == 0);
            CHECK(io_reactor_add(reactor, second[0], &second[0], EVENT_READ) == 0);
            wait_silence(reactor);
            if (fork_checked() != 0) {
                if (round == 1)
                    io_reactor_destroy(reactor);
                _exit(0);
            }
            setsid();
            serve(reactor);
            io_reactor_destroy(reactor);
            _exit(0);
        }
        close(first[0]);
        close(second[0]);
        ends_well(driver);
        for (i = 0; i < 3; i++) {
            send_all(first[1], "1", 1);
            recv_all(first[1], &byte, 1);
            CHECK(byte == '1');
            send_all(second[1], "2", 1);
            recv_all(second[1], &byte, 1);
            CHECK(byte == '2');
        }
        /* No process can wait for the daemon. It has ended when its sockets have ended. */
        shutdown(first[1], SHUT_WR);
        shutdown(second[1], SHUT_WR);
        CHECK(recv(first[1], &byte, 1, 0) == 0);
        CHECK(recv(second[1], &byte, 1, 0) == 0);
        close(first[1]);
        close(second[1]);
    }
}

static void what_a_child_removes_goes_on_in_the_parent(void)
{
    socket_fd_t pair[2], other[2];
    io_reactor_t *reactor = io_reactor_create();
    int round;

    make_pair(pair);
    make_pair(other);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    CHECK(io_reactor_add(reactor, other[0], &b, EVENT_READ) == 0);
    wait_silence(reactor);
    for (round = 0; round < 6; round++) {
        pid_t child = fork_checked();
        if (child == 0) {
            /* Before the first wait of this process, or after one; then closed, or kept. */
            if (round & 1)
                wait_silence(reactor);
            if (round < 4)
                CHECK(io_reactor_remove(reactor, pair[0]) == 0);
            else
                CHECK(io_reactor_modify(reactor, pair[0], 0) == 0);
            if (round & 2)
                close(pair[0]);
            wait_silence(reactor);
            send_all(other[1], "x", 1);
            CHECK(wait_one(reactor).context == &b);
            recv_all(other[0], &(char){0}, 1);
            if (round & 2)
                io_reactor_destroy(reactor);
            _exit(0);
        }
        ends_well(child);
        /* The byte was on a shared socket, and has been consumed. */
        wait_silence(reactor);
        reports_only(reactor, pair[0], pair[1]);
    }
    io_reactor_destroy(reactor);
    close(pair[0]);
    close(pair[1]);
    close(other[0]);
    close(other[1]);
}

static io_reactor_t *to_wake;
static int round_to_wake, waker_stops;

static THREAD_RESULT wake_each_round(void *unused)
{
    int seen = 0;
    unsigned state = 1;

    (void)unused;
    for (;;) {
        int i, round, pause;
        while ((round = __atomic_load_n(&round_to_wake, __ATOMIC_ACQUIRE)) == seen) {
            if (__atomic_load_n(&waker_stops, __ATOMIC_ACQUIRE))
                return 0;
            sched_yield();
        }
        seen = round;
        state = state * 1103515245u + 12345u;
        pause = (int)(state >> 16 & 0xfff);
        for (i = 0; i < pause; i++)
            __atomic_load_n(&waker_stops, __ATOMIC_RELAXED);
        CHECK(io_reactor_wakeup(to_wake) == 0);
    }
}

/* Children destroy their copies, immediately, after a wait of their own, or after a wake of their own. */
static void no_wake_is_lost_to_a_child_that_destroys_its_copy(void)
{
    const int rounds = rounds_of(800);
    socket_fd_t pair[2];
    io_event_t event;
    thread_t waker;
    int round, manner;

    to_wake = io_reactor_create();
    make_pair(pair);
    CHECK(io_reactor_add(to_wake, pair[0], &a, EVENT_READ) == 0);
    waker = start_thread(wake_each_round, NULL);
    for (manner = 0; manner < 3; manner++) {
        for (round = 0; round < rounds; round++) {
            uint64_t start = now_us();
            pid_t child;
            check_alarm();
            __atomic_add_fetch(&round_to_wake, 1, __ATOMIC_RELEASE);
            child = fork_checked();
            if (child == 0) {
                if (manner == 1)
                    CHECK(wait_ms(to_wake, &event, 1, 0) == 0);
                if (manner == 2)
                    CHECK(io_reactor_wakeup(to_wake) == 0);
                io_reactor_destroy(to_wake);
                _exit(0);
            }
            CHECK(wait_ms(to_wake, &event, 1, DEADLINE_MS) == 0);
            CHECK(now_us() - start < DEADLINE_MS * 1000u);
            ends_well(child);
        }
    }
    __atomic_store_n(&waker_stops, 1, __ATOMIC_RELEASE);
    join_thread(waker);
    reports_only(to_wake, pair[0], pair[1]);
    io_reactor_destroy(to_wake);
    close(pair[0]);
    close(pair[1]);
}

static io_reactor_t *to_post;
static int poster_stops;
static int lock_is_used;
static unsigned tickets, served;

/* Handlers of the program, registered before the library's. The lock is granted in the order of the requests. */
static void lock_at_fork(void)
{
    unsigned ticket;

    if (!__atomic_load_n(&lock_is_used, __ATOMIC_ACQUIRE))
        return;
    ticket = __atomic_fetch_add(&tickets, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&served, __ATOMIC_ACQUIRE) != ticket)
        sched_yield();
}

static void unlock_after_fork(void)
{
    if (__atomic_load_n(&lock_is_used, __ATOMIC_ACQUIRE))
        __atomic_add_fetch(&served, 1, __ATOMIC_RELEASE);
}

static THREAD_RESULT post_always(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&poster_stops, __ATOMIC_ACQUIRE)) {
        lock_at_fork();
        io_reactor_post(to_post, &a, NULL); /* the queue may be full */
        unlock_after_fork();
    }
    return 0;
}

/* Children destroy their copies immediately, or after a wait, or after a post of their own, which is the only one they
 * get. */
static void forks_while_a_thread_posts(int rounds)
{
    io_event_t events[64];
    thread_t poster;
    int round, manner;

    to_post = io_reactor_create();
    poster_stops = 0;
    poster = start_thread(post_always, NULL);
    for (manner = 0; manner < 3; manner++) {
        for (round = 0; round < rounds; round++) {
            pid_t child;
            check_alarm();
            child = fork_checked();
            if (child == 0) {
                if (manner == 1)
                    CHECK(wait_ms(to_post, events, 64, 0) == 0);
                if (manner == 2) {
                    CHECK(io_reactor_post(to_post, &b, NULL) == 0);
                    CHECK(wait_ms(to_post, events, 64, DEADLINE_MS) == 1 && events[0].context == &b);
                }
                io_reactor_destroy(to_post);
                _exit(0);
            }
            CHECK(wait_ms(to_post, events, 64, DEADLINE_MS) > 0 && events[0].context == &a);
            ends_well(child);
        }
    }
    __atomic_store_n(&poster_stops, 1, __ATOMIC_RELEASE);
    join_thread(poster);
    io_reactor_destroy(to_post);
}

static void posts_and_forks_do_not_meet(void)
{
    forks_while_a_thread_posts(rounds_of(800));
}

static void a_lock_that_the_program_takes_at_a_fork_may_be_held_by_a_poster(void)
{
    __atomic_store_n(&lock_is_used, 1, __ATOMIC_RELEASE);
    forks_while_a_thread_posts(rounds_of(50));
    __atomic_store_n(&lock_is_used, 0, __ATOMIC_RELEASE);
}

static void both_processes_go_on_and_wake_themselves(void)
{
    const int rounds = slow() ? 10 : 300;
    socket_fd_t pair[2], own[2];
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    pid_t child;
    uint64_t timer;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    wait_silence(reactor);
    child = fork_checked();
    if (child == 0) {
        /* A wake before the first verb is not lost either. */
        CHECK(io_reactor_wakeup(reactor) == 0);
        CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 0);
        wakes_itself(reactor, rounds);
        CHECK(io_reactor_post(reactor, &b, NULL) == 0);
        CHECK(wait_one(reactor).context == &b);
        timer = io_reactor_timer_add(reactor, &b, 1000, 0);
        CHECK(timer != 0 && wait_one(reactor).event_type == EVENT_TIMER);
        make_pair(own);
        CHECK(io_reactor_remove(reactor, pair[0]) == 0);
        CHECK(io_reactor_add(reactor, own[0], &a, EVENT_READ) == 0);
        reports_only(reactor, own[0], own[1]);
        wakes_itself(reactor, rounds);
        io_reactor_destroy(reactor);
        _exit(0);
    }
    /* No byte is sent to the shared socket yet, as both processes report it. */
    wakes_itself(reactor, rounds);
    ends_well(child);
    wait_silence(reactor);
    reports_only(reactor, pair[0], pair[1]);
    wakes_itself(reactor, 10);
    io_reactor_destroy(reactor);
    close(pair[0]);
    close(pair[1]);
}

/* A socket that was closed without being removed, and whose number now belongs to a file, stops no report of another
 * socket. */
/* The child has an epoll instance of its own from its first call on, and the library returns that one. */
static void the_handle_is_that_of_the_process(void)
{
    io_reactor_t *reactor = io_reactor_create();
    pid_t child = fork_checked();

    if (child == 0) {
        struct pollfd entry;
        socket_fd_t pair[2];

        make_pair(pair);
        CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
        entry.fd = io_reactor_native_handle(reactor);
        entry.events = POLLIN;
        CHECK(entry.fd >= 0 && poll(&entry, 1, SILENCE_MS) == 0);
        send_all(pair[1], "x", 1);
        CHECK(poll(&entry, 1, DEADLINE_MS) == 1);
        CHECK(wait_one(reactor).context == &a);
        _exit(0);
    }
    ends_well(child);
    io_reactor_destroy(reactor);
}

static void a_closed_sockets_number_may_be_a_files_in_a_child(void)
{
    int round;

    for (round = 0; round < 2; round++) {
        socket_fd_t stale[2], other[2];
        io_reactor_t *reactor = io_reactor_create();
        int file;
        pid_t child;

        make_pair(stale);
        make_pair(other);
        CHECK(io_reactor_add(reactor, stale[0], &b, EVENT_READ) == 0);
        if (round == 0)
            CHECK(io_reactor_add(reactor, other[0], &a, EVENT_READ) == 0);
        close(stale[0]);
        file = open("/proc/self/exe", O_RDONLY);
        CHECK(file >= 0);
        if (file != stale[0]) {
            CHECK(dup2(file, stale[0]) == stale[0]);
            close(file);
        }
        child = fork_checked();
        if (child == 0) {
            io_event_t event;
            /* An add may be the first verb, and concerns another descriptor. */
            if (round == 1)
                CHECK(io_reactor_add(reactor, other[0], &a, EVENT_READ) == 0);
            event = wait_one(reactor);
            CHECK(event.context == &b && event.event_type == EVENT_ERROR);
            wait_silence(reactor);
            reports_only(reactor, other[0], other[1]);
            CHECK(io_reactor_remove(reactor, stale[0]) == 0);
            io_reactor_destroy(reactor);
            _exit(0);
        }
        ends_well(child);
        io_reactor_destroy(reactor);
        close(stale[0]);
        close(stale[1]);
        close(other[0]);
        close(other[1]);
    }
}

static void set_descriptors(rlim_t count)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = count;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Epoll reports again and again a socket that is closed here and open in another process, until a descriptor is free to
 * end that. */
static void a_process_without_descriptors_does_not_spin(void)
{
    pid_t child = fork_checked();

    if (child == 0) {
        io_reactor_t *reactor = io_reactor_create();
        io_reactor_stats_t before, after;
        io_event_t event;
        socket_fd_t pair[2], other[2];
        uint64_t start;
        int copy, round;

        make_pair(pair);
        make_pair(other);
        CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == 0);
        CHECK(io_reactor_add(reactor, other[0], &a, EVENT_READ) == 0);
        copy = dup(pair[0]);
        close(pair[0]);
        CHECK(io_reactor_remove(reactor, pair[0]) == 0);
        send_all(pair[1], "x", 1);
        set_descriptors(3);
        start = now_us();
        CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
        for (round = 0; round < 20; round++)
            CHECK(wait_ms(reactor, &event, 1, 20) == 0);
        CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0);
        CHECK(after.kernel_calls - before.kernel_calls < 400);
        /* A wait may end early, but not immediately. */
        CHECK(now_us() - start >= 20 * 5000u);
        send_all(other[1], "x", 1);
        while (wait_ms(reactor, &event, 1, DEADLINE_MS) == 0)
            ;
        CHECK(event.context == &a);
        recv_all(other[0], &(char){0}, 1);
        set_descriptors(256);
        /* The reports have ended when a wait lasts for its whole timeout. */
        for (;;) {
            start = now_us();
            CHECK(wait_ms(reactor, &event, 1, 200) == 0);
            CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
            if (before.kernel_calls - after.kernel_calls < 2 + 1 && now_us() - start >= 200000u)
                break;
            after = before;
        }
        reports_only(reactor, other[0], other[1]);
        close(copy);
        io_reactor_destroy(reactor);
        _exit(0);
    }
    ends_well(child);
}

/* A child that only starts another program shares the parent's memory, and the library makes nothing anew for it. */
static void starting_a_program_changes_nothing(void)
{
    static char name[] = "true";
    char *arguments[] = {name, NULL};
    io_reactor_stats_t before, after;
    socket_fd_t pair[2];
    io_reactor_t *reactor = io_reactor_create();
    pid_t child;
    int round;

    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], &a, EVENT_READ) == 0);
    wait_silence(reactor);
    for (round = 0; round < 2; round++) {
        if (round == 0) {
            CHECK(posix_spawnp(&child, name, NULL, NULL, arguments, environ) == 0);
        } else {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
            child = vfork();
#pragma GCC diagnostic pop
            if (child == 0) {
                execvp(name, arguments);
                _exit(1);
            }
        }
        ends_well(child);
        CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
        wait_silence(reactor);
        CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0);
        CHECK(after.kernel_calls - before.kernel_calls <= 2);
        reports_only(reactor, pair[0], pair[1]);
        wakes_itself(reactor, 10);
    }
    io_reactor_destroy(reactor);
    close(pair[0]);
    close(pair[1]);
}

/* Opens 0, 1 and 2, which must be free, and leaves them free. */
static int standard_numbers_are_free(void)
{
    int fd, free = 1;

    for (fd = 0; fd <= 2; fd++)
        free &= open("/dev/null", O_RDWR) == fd;
    for (fd = 0; fd <= 2; fd++)
        close(fd);
    return free;
}

/* None of the library's descriptors may be 0, 1 or 2: the daemon prints to these numbers, or opens other files under
 * them. The child cannot print, so its exit status is the only result. */
static void a_daemon_without_standard_streams_has_none_of_ours_in_their_place(void)
{
    pid_t child = fork_checked(), grandchild;
    int status, fd;

    if (child == 0) {
        io_reactor_t *reactor;
        io_event_t event;
        struct timeval none = { 0, 0 };

        for (fd = 0; fd <= 2; fd++)
            close(fd);
        reactor = io_reactor_create();
        if (reactor == NULL || !standard_numbers_are_free())
            _exit(1);
        grandchild = fork();
        if (grandchild == 0)
            /* Its first call makes everything anew. */
            _exit(io_reactor_wait(reactor, &event, 1, &none) == 0 && standard_numbers_are_free() ? 0 : 2);
        if (waitpid(grandchild, &status, 0) != grandchild || status != 0)
            _exit(3);
        io_reactor_destroy(reactor);
        _exit(0);
    }
    ends_well(child);
}

int main(int argc, char **argv)
{
    check_begin(argc, argv);
    CHECK(pthread_atfork(lock_at_fork, unlock_after_fork, unlock_after_fork) == 0);
    RUN(a_driver_becomes_a_daemon);
    RUN(a_daemon_without_standard_streams_has_none_of_ours_in_their_place);
    RUN(what_a_child_removes_goes_on_in_the_parent);
    RUN(no_wake_is_lost_to_a_child_that_destroys_its_copy);
    RUN(posts_and_forks_do_not_meet);
    RUN(a_lock_that_the_program_takes_at_a_fork_may_be_held_by_a_poster);
    RUN(both_processes_go_on_and_wake_themselves);
    RUN(the_handle_is_that_of_the_process);
    RUN(a_closed_sockets_number_may_be_a_files_in_a_child);
    RUN(a_process_without_descriptors_does_not_spin);
    RUN(starting_a_program_changes_nothing);
    return check_end();
}
