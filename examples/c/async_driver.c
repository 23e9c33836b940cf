/*
 * async_driver [-b MILLISECONDS] PORT...: driver_skeleton.c by the functions of async_runtime.h. Listening ports (0: any),
 * players, a worker thread, a thread that reads the console, and a heart beat; one wait for all of them.
 *
 *   cc -std=c99 -pthread -o async_driver async_driver.c $(pkg-config --cflags --libs io_reactor)
 *
 * A player types lines; each goes to all players, except "sum N" (the worker adds up 1 to N), "beats" and "quit". A line of
 * the operator goes to all players; "shutdown" or the end of the input ends the driver, and so does SIGTERM or Ctrl-C.
 */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* sigaction() and setitimer() in C99 mode */
#endif
#include "async_runtime.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <ws2tcpip.h>

#include <windows.h>
#define close_socket closesocket
#define THREAD_RESULT DWORD WINAPI
typedef HANDLE thread_t;
typedef CRITICAL_SECTION mutex_t;
typedef CONDITION_VARIABLE condition_t;
#define lock EnterCriticalSection
#define unlock LeaveCriticalSection
#define wait_for(condition, mutex) SleepConditionVariableCS(condition, mutex, INFINITE)
#define notify WakeAllConditionVariable
#else
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#define close_socket close
#define INVALID_SOCKET (-1)
#define THREAD_RESULT void *
typedef pthread_t thread_t;
typedef pthread_mutex_t mutex_t;
typedef pthread_cond_t condition_t;
#define lock pthread_mutex_lock
#define unlock pthread_mutex_unlock
#define wait_for pthread_cond_wait
#define notify pthread_cond_broadcast
#endif

enum { MAX_PORTS = 16, MAX_USERS = 1000, MAX_LINE = 1024, MAX_OUTPUT = 65536, MAX_EVENTS = 64 };
enum { LARGEST_SUM = 100000000, LONGEST_BEAT_MS = 3600000 };

/* The keys of completions. A context is an address, and never one of these. */
enum { WORKER_KEY = 1, CONSOLE_KEY = 2, CONSOLE_END_KEY = 3 };

struct port {
    socket_fd_t fd;
    int paused;
};

struct user {
    socket_fd_t fd;
    unsigned long number; /* never used again, so that a late result does not reach another player */
    char line[MAX_LINE];
    int line_length;
    char *output;         /* POSIX: bytes that the socket did not take */
    size_t output_length; /* how many; Windows: posted, and not yet confirmed by EVENT_WRITE */
    int working, leaving;
};

struct job {
    struct job *next;
    unsigned long user;
    long last;
    uint64_t sum;
};

static async_runtime_t *runtime;
static console_type_t console_type;
static struct port ports[MAX_PORTS];
static struct user *users[MAX_USERS];
static unsigned long user_count, beats;
static int port_count;

/* Set by handlers and by the thread of the heart beat, each followed by a wake-up. */
#ifdef _WIN32
typedef volatile LONG flag_t;
#define set_flag(flag) InterlockedExchange(&(flag), 1)
#define take_flag(flag) InterlockedExchange(&(flag), 0)
#else
typedef volatile sig_atomic_t flag_t;
#define set_flag(flag) ((flag) = 1)
#define take_flag(flag) ((flag) != 0 && ((flag) = 0, 1))
#endif
static flag_t beat_is_due, end_is_asked;

/* Shared with the worker and the console's thread, under the mutex. */
static mutex_t mutex;
static condition_t changed;
static struct job *jobs, **jobs_end = &jobs;
static int stopping;
static char console_line[MAX_LINE]; /* the thread reads the next one when this one has been taken */
static int console_line_waits;

static void remove_user(struct user *user)
{
    int i;

    for (i = 0; i < MAX_USERS; i++)
        if (users[i] == user)
            users[i] = NULL;
    async_runtime_remove(runtime, user->fd); /* from here on no event has this user as its context */
    close_socket(user->fd);
    free(user->output);
    free(user);
}

/* Output. On Windows the runtime keeps it and sends it; on POSIX bytes that the socket does not take wait for EVENT_WRITE. */
static void tell(struct user *user, const char *text, size_t length)
{
    if (user->leaving || length == 0)
        return;
#ifdef _WIN32
    if (user->output_length + length > MAX_OUTPUT /* does not read, see below */
        || async_runtime_post_write(runtime, user->fd, (void *)text, length) != 0)
        user->leaving = 1;
    else
        user->output_length += length;
#else
    if (user->output_length == 0) {
        ssize_t sent = send(user->fd, text, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            user->leaving = 1;
            return;
        }
        if (sent > 0) {
            text += sent;
            length -= (size_t)sent;
        }
    }
    if (length > 0) {
        char *output = NULL;
        if (user->output_length + length <= MAX_OUTPUT)
            output = realloc(user->output, user->output_length + length);
        if (output == NULL) { /* does not read: better to disconnect than to leave holes in the text */
            user->leaving = 1;
            return;
        }
        user->output = output;
        memcpy(output + user->output_length, text, length);
        user->output_length += length;
        async_runtime_modify(runtime, user->fd, EVENT_READ | EVENT_WRITE, user);
    }
#endif
}

#ifndef _WIN32
static void flush_user(struct user *user)
{
    ssize_t sent = send(user->fd, user->output, user->output_length, MSG_NOSIGNAL);

    if (sent < 0) {
        user->leaving = errno != EAGAIN && errno != EWOULDBLOCK;
        return;
    }
    user->output_length -= (size_t)sent;
    memmove(user->output, user->output + sent, user->output_length);
    if (user->output_length == 0)
        async_runtime_modify(runtime, user->fd, EVENT_READ, user);
}
#endif

/* To one user, or to all (NULL). */
static void say(struct user *user, const char *format, ...)
{
    char text[MAX_LINE + 64];
    va_list arguments;
    int i, length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (user != NULL)
        tell(user, text, (size_t)length);
    else
        for (i = 0; i < MAX_USERS; i++)
            if (users[i] != NULL)
                tell(users[i], text, (size_t)length);
}

/* The worker: takes jobs, and posts each with its result. */
static THREAD_RESULT work(void *unused)
{
    (void)unused;
    for (;;) {
        struct job *job;
        long number;

        lock(&mutex);
        while (jobs == NULL && !stopping)
            wait_for(&changed, &mutex);
        job = jobs;
        if (job != NULL && (jobs = job->next) == NULL)
            jobs_end = &jobs;
        unlock(&mutex);
        if (job == NULL)
            return 0;
        for (number = 1; number <= job->last; number++)
            job->sum += (uint64_t)number;
        if (async_runtime_post_completion(runtime, WORKER_KEY, (uintptr_t)job) != 0) {
            fprintf(stderr, "a result is lost: %s\n", async_runtime_last_error());
            free(job);
        }
    }
}

static void ask_worker(struct user *user, const char *text)
{
    char *end;
    long last = strtol(text, &end, 10);
    struct job *job;

    if (end == text || *end != '\0' || last < 1 || last > LARGEST_SUM) {
        say(user, "sum: a number from 1 to %d\r\n", LARGEST_SUM);
        return;
    }
    job = user->working ? NULL : calloc(1, sizeof *job);
    if (job == NULL) {
        say(user, "sum: one at a time\r\n");
        return;
    }
    user->working = 1;
    job->user = user->number;
    job->last = last;
    lock(&mutex);
    *jobs_end = job;
    jobs_end = &job->next;
    notify(&changed);
    unlock(&mutex);
}

static void job_done(struct job *job)
{
    int i;

    for (i = 0; i < MAX_USERS; i++) {
        if (users[i] != NULL && users[i]->number == job->user) {
            users[i]->working = 0;
            say(users[i], "the sum of 1 to %ld is %llu\r\n", job->last, (unsigned long long)job->sum);
        }
    }
    free(job);
}

/* Hands a line, or the end, to the loop, and waits until it is taken. Returns 0 if there is no loop any more. */
static int post_console(uintptr_t key)
{
    int go_on;

    lock(&mutex);
    /* Under the mutex, so that the runtime still exists. */
    console_line_waits = !stopping && async_runtime_post_completion(runtime, key, 0) == 0;
    go_on = console_line_waits;
    while (console_line_waits && !stopping)
        wait_for(&changed, &mutex);
    go_on = go_on && !stopping;
    unlock(&mutex);
    return go_on;
}

static int read_console(char *bytes, int size)
{
#ifdef _WIN32 /* of a console: a line that has been edited */
    DWORD count = 0;
    if (!ReadFile(GetStdHandle(STD_INPUT_HANDLE), bytes, (DWORD)size, &count, NULL))
        return 0;
    /* Ctrl-Z: the read of a console brings nothing, or (Wine) the character. */
    return console_type == CONSOLE_TYPE_REAL && count > 0 && bytes[0] == 26 ? 0 : (int)count;
#else
    struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
    ssize_t count;
    do { /* another program may have made it non-blocking */
        poll(&input, 1, -1);
        count = read(STDIN_FILENO, bytes, (size_t)size);
    } while (count < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)count;
#endif
}

/*
 * The console's thread: reads standard input of whatever kind, and posts its lines. It is never joined. No system ends a
 * read of every kind of input, so it is left in its read when the driver ends; it has nothing of the runtime by then.
 */
static THREAD_RESULT read_lines(void *unused)
{
    char bytes[256];
    int i, count, length = 0;

    (void)unused;
    while ((count = read_console(bytes, sizeof bytes)) > 0) {
        for (i = 0; i < count; i++) {
            if (bytes[i] != '\n') {
                if ((unsigned char)bytes[i] >= ' ' && length < MAX_LINE - 1)
                    console_line[length++] = bytes[i];
                continue;
            }
            console_line[length] = '\0';
            length = 0;
            if (!post_console(CONSOLE_KEY))
                return 0;
        }
    }
    post_console(CONSOLE_END_KEY); /* Ctrl-D, Ctrl-Z, or the end of a pipe or a file */
    return 0;
}

static void console_line_posted(void)
{
    if (strcmp(console_line, "shutdown") == 0)
        set_flag(end_is_asked);
    else if (console_line[0] != '\0')
        say(NULL, "the operator: %s\r\n", console_line);
    lock(&mutex);
    console_line_waits = 0;
    notify(&changed);
    unlock(&mutex);
}

static void user_line(struct user *user)
{
    const char *line = user->line;

    user->line[user->line_length] = '\0';
    user->line_length = 0;
    if (strncmp(line, "sum ", 4) == 0)
        ask_worker(user, line + 4);
    else if (strcmp(line, "beats") == 0)
        say(user, "%lu heart beats\r\n", beats);
    else if (strcmp(line, "quit") == 0)
        user->leaving = 1;
    else if (*line != '\0')
        say(NULL, "player %lu: %s\r\n", user->number, line);
}

static void user_input(struct user *user, const char *bytes, size_t count)
{
    size_t i;

    for (i = 0; i < count && !user->leaving; i++) {
        if (bytes[i] == '\n')
            user_line(user);
        else if ((unsigned char)bytes[i] >= ' ' && bytes[i] != 127 && user->line_length < MAX_LINE - 1)
            user->line[user->line_length++] = bytes[i];
    }
}

static void new_user(struct port *port, const io_event_t *event)
{
    struct user *user;
    int i;
#ifdef _WIN32 /* the event has the connection; without descriptors the library pauses the port */
    socket_fd_t fd = event->fd;
#else
    socket_fd_t fd = accept(event->fd, NULL, NULL);

    if (fd == INVALID_SOCKET) {
        /* A port that stays registered would end each wait, and keep the driver busy; the heart beat adds it again. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            async_runtime_remove(runtime, port->fd);
            port->paused = 1;
        }
        return;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
#endif
    (void)port;
    for (i = 0; i < MAX_USERS && users[i] != NULL; i++)
        ;
    user = i < MAX_USERS ? calloc(1, sizeof *user) : NULL;
    if (user == NULL) {
        close_socket(fd);
        return;
    }
    users[i] = user;
    user->fd = fd;
    user->number = ++user_count;
    if (async_runtime_add(runtime, fd, EVENT_READ, user) != 0) {
        fprintf(stderr, "%s\n", async_runtime_last_error());
        remove_user(user);
        return;
    }
    say(user, "Welcome, player %lu.\r\n", user->number);
}

static void user_event(struct user *user, const io_event_t *event)
{
    if (event->event_type & EVENT_READ) {
#ifdef _WIN32
        user_input(user, event->buffer, event->bytes_transferred);
        if (async_runtime_post_read(runtime, user->fd, NULL, 0) != 0)
            user->leaving = 1;
#else
        char bytes[4096];
        ssize_t count = recv(user->fd, bytes, sizeof bytes, 0);
        if (count > 0)
            user_input(user, bytes, (size_t)count);
        else if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            user->leaving = 1;
#endif
    }
#ifdef _WIN32
    if (event->event_type & EVENT_WRITE)
        user->output_length -= event->bytes_transferred;
#else
    if ((event->event_type & EVENT_WRITE) && user->output_length > 0)
        flush_user(user);
#endif
    if (event->event_type & (EVENT_CLOSE | EVENT_ERROR))
        user->leaving = 1;
}

/* Is the context one of my ports, else is the key one that I know, else the context is a user. */
static void handle(const io_event_t *event)
{
    int i;

    for (i = 0; i < port_count && event->context != &ports[i]; i++)
        ;
    if (i < port_count)
        new_user(&ports[i], event);
    else if (event->completion_key == WORKER_KEY)
        job_done((struct job *)event->bytes_transferred);
    else if (event->completion_key == CONSOLE_KEY)
        console_line_posted();
    else if (event->completion_key == CONSOLE_END_KEY)
        set_flag(end_is_asked);
    else
        user_event(event->context, event);
}

static void heart_beat(void)
{
    int i;

    beats++; /* call_heart_beat() */
    for (i = 0; i < port_count; i++)
        if (ports[i].paused)
            ports[i].paused = async_runtime_add(runtime, ports[i].fd, EVENT_READ, &ports[i]) != 0;
}

#ifdef _WIN32
static HANDLE beats_end;

/* Rings at fixed times, so that a late beat does not delay the later ones. */
static THREAD_RESULT ring(void *period)
{
    ULONGLONG next = GetTickCount64(), now;

    do {
        set_flag(beat_is_due);
        async_runtime_wakeup(runtime);
        next += *(long *)period;
        now = GetTickCount64();
    } while (WaitForSingleObject(beats_end, next > now ? (DWORD)(next - now) : 0) == WAIT_TIMEOUT);
    return 0;
}

static BOOL WINAPI on_ctrl_c(DWORD event)
{
    if (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
        return FALSE;
    set_flag(end_is_asked);
    async_runtime_wakeup(runtime);
    return TRUE;
}
#else
/* A handler that only sets its flag can run just before the wait blocks; the wake-up ends that wait as well. */
static void on_signal(int signal)
{
    int error = errno;

    if (signal == SIGALRM)
        set_flag(beat_is_due);
    else
        set_flag(end_is_asked);
    async_runtime_wakeup(runtime);
    errno = error;
}

static void set_heart_beat(long period_ms)
{
    struct itimerval timer;

    timer.it_interval.tv_sec = period_ms / 1000;
    timer.it_interval.tv_usec = period_ms % 1000 * 1000;
    timer.it_value = timer.it_interval;
    setitimer(ITIMER_REAL, &timer, NULL);
}
#endif

static thread_t start_thread(THREAD_RESULT (*body)(void *), void *argument)
{
    thread_t thread;
#ifdef _WIN32
    thread = CreateThread(NULL, 0, body, argument, 0, NULL);
    if (thread == NULL) {
#else
    sigset_t all, before;
    int failed;

    /* Signals are for the thread that waits: a handler elsewhere does not end the wait by itself. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    failed = pthread_create(&thread, NULL, body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
#endif
        fprintf(stderr, "async_driver: cannot start a thread\n");
        exit(1);
    }
    return thread;
}

static void join_thread(thread_t thread)
{
#ifdef _WIN32
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
#else
    pthread_join(thread, NULL);
#endif
}

/* A number from `least` to `most`, or the end with a message. */
static long number_of(const char *what, const char *text, long least, long most)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || number < least || number > most) {
        fprintf(stderr, "async_driver: not a %s: \"%s\" (%ld to %ld)\n", what, text, least, most);
        exit(2);
    }
    return number;
}

static void open_port(long number)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    struct port *port = &ports[port_count++];

    port->fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)number);
    if (port->fd == INVALID_SOCKET || bind(port->fd, (struct sockaddr *)&address, sizeof address) != 0
        || listen(port->fd, 128) != 0 || getsockname(port->fd, (struct sockaddr *)&address, &length) != 0) {
#ifdef _WIN32
        fprintf(stderr, "async_driver: cannot listen on port %ld: error %d\n", number, WSAGetLastError());
#else
        fprintf(stderr, "async_driver: cannot listen on port %ld: %s\n", number, strerror(errno));
#endif
        exit(2);
    }
#ifndef _WIN32 /* another process may accept a waiting connection first */
    fcntl(port->fd, F_SETFL, fcntl(port->fd, F_GETFL) | O_NONBLOCK);
#endif
    if (async_runtime_add(runtime, port->fd, EVENT_READ, port) != 0) {
        fprintf(stderr, "async_driver: %s\n", async_runtime_last_error());
        exit(1);
    }
    printf("listening on %d\n", ntohs(address.sin_port));
}

/* One wait, and what it has found. Returns the number of events. */
static int turn(struct timeval *timeout)
{
    io_event_t events[MAX_EVENTS];
    int i, count = async_runtime_wait(runtime, events, MAX_EVENTS, timeout);

    if (count < 0) {
        fprintf(stderr, "async_driver: %s\n", async_runtime_last_error());
        set_flag(end_is_asked);
    }
    for (i = 0; i < count; i++)
        handle(&events[i]);
    if (take_flag(beat_is_due))
        heart_beat();
    /* Not in the loop above: later events of the same batch may have them as context. */
    for (i = 0; i < MAX_USERS; i++)
        if (users[i] != NULL && users[i]->leaving)
            remove_user(users[i]);
    return count;
}

/* Everything in the opposite order: no thread may use the runtime when it is destroyed. */
static void shut_down(thread_t worker)
{
    struct timeval at_once = { 0, 0 };
    int i;

    say(NULL, "Shutting down.\r\n");
    for (i = 0; i < MAX_USERS; i++)
        if (users[i] != NULL)
            remove_user(users[i]);
    for (i = 0; i < port_count; i++) {
        async_runtime_remove(runtime, ports[i].fd);
        close_socket(ports[i].fd);
    }
    lock(&mutex);
    stopping = 1;
    notify(&changed);
    unlock(&mutex);
    join_thread(worker);
    while (turn(&at_once) > 0) /* frees the jobs that the worker has posted meanwhile */
        ;
    async_runtime_deinit(runtime);
}

int main(int argc, char **argv)
{
    static long period_ms = 2000;
    int i, first = 1;
    thread_t worker;
#ifdef _WIN32
    thread_t ringer;
#else
    struct sigaction action;
#endif

    if (argc > 1 && strcmp(argv[1], "-b") == 0)
        first = 3;
    if (argc < first + 1 || argc > first + MAX_PORTS) {
        fprintf(stderr, "usage: async_driver [-b MILLISECONDS] PORT... (1 to %d of them)\n", MAX_PORTS);
        return 2;
    }
    if (first == 3)
        period_ms = number_of("heart beat", argv[2], 1, LONGEST_BEAT_MS);
    runtime = async_runtime_init(); /* on Windows also starts Winsock */
    if (runtime == NULL) {
        fprintf(stderr, "async_driver: %s\n", async_runtime_last_error());
        return 1;
    }
    /* The library finds out the kind of standard input, and leaves it alone. Of /dev/null or NUL, for a driver in the
       background, the kind is none: its end is not the operator's. Before the ports: if standard input is closed, the first
       one would get its number. */
    if (async_runtime_add_console(runtime, NULL) == 0)
        console_type = async_runtime_get_console_type(runtime);
    else
        fprintf(stderr, "no console: %s\n", async_runtime_last_error());
    for (i = first; i < argc; i++)
        open_port(number_of("port", argv[i], 0, 65535));
#ifdef _WIN32
    InitializeCriticalSection(&mutex);
    InitializeConditionVariable(&changed);
    SetConsoleCtrlHandler(on_ctrl_c, TRUE);
#else
    pthread_mutex_init(&mutex, NULL);
    pthread_cond_init(&changed, NULL);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
#endif
    worker = start_thread(work, NULL);
    if (console_type != CONSOLE_TYPE_NONE)
        start_thread(read_lines, NULL);
#ifdef _WIN32
    beats_end = CreateEventA(NULL, TRUE, FALSE, NULL);
    ringer = start_thread(ring, &period_ms);
#else
    set_heart_beat(period_ms);
#endif
    printf("ready\n");
    fflush(stdout);

    /* No timeout: the heart beat ends the wait, and input does not wait for it. */
    while (!take_flag(end_is_asked))
        turn(NULL);

#ifdef _WIN32
    SetConsoleCtrlHandler(on_ctrl_c, FALSE);
    SetEvent(beats_end);
    join_thread(ringer);
#else
    set_heart_beat(0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
#endif
    shut_down(worker);
    printf("bye after %lu heart beats\n", beats);
    return 0;
}
