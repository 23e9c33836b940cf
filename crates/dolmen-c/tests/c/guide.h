/* What the samples of docs/c-guide.md take from the driver around them. They are compiled, with warnings, and not run. */
#include "check.h"

#ifndef _WIN32
#include <poll.h>
#endif

struct user;

#ifdef CHECK_ASYNC_RUNTIME
enum { WORKER_KEY = 1, CONSOLE_KEY = 2 };

extern async_runtime_t *runtime;
extern int port;

void new_user(const io_event_t *event);
void worker_result(uintptr_t data);
void console_line(uintptr_t data);
void user_event(struct user *user, const io_event_t *event);
struct user *make_user(socket_fd_t fd);
void free_user(struct user *user);
char *keep_line(const char *bytes, size_t count);
#else
struct link {
    io_reactor_t *reactor;
    socket_fd_t fd;
    int connected;
    void (*handle)(struct link *link, const io_event_t *event);
};

extern io_reactor_t *reactor;

int begin_heart_beat(void *runtime, void *context);
int turn_of_the_outer_loop(io_event_t *events, int max_events);
#endif
