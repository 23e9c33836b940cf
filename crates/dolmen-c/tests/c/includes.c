/* The header together with the other headers of drivers. Compiled as C99, C11 and C++17, in each of the orders below. */
#if defined(ORDER_OWN_TYPE_FIRST)
#ifdef _WIN32
#include <winsock2.h>
typedef SOCKET socket_fd_t;
#else
typedef int socket_fd_t;
#endif
#elif defined(ORDER_MACRO_TYPE)
#ifdef _WIN32
#include <winsock2.h>
#define socket_fd_t SOCKET
#else
#define socket_fd_t int
#endif
#elif defined(ORDER_SUPPRESSED)
#ifdef _WIN32
#include <winsock2.h>
typedef SOCKET socket_fd_t;
#else
typedef int socket_fd_t;
#endif
#define IO_REACTOR_NO_SOCKET_FD_T
#elif defined(ORDER_WINSOCK_FIRST) && defined(_WIN32)
#include <winsock2.h>
#include <windows.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif
#include "io_reactor.h"
#include "io_reactor.h" /* twice */
#ifdef __cplusplus
}
#endif

#if defined(ORDER_WINDOWS_LAST) && defined(_WIN32)
#include <windows.h>
#endif

#include <stddef.h>

/* The part of the contract that a compiler can check: an array of negative size is an error. */
#define HOLDS(name, condition) typedef char name[(condition) ? 1 : -1]
HOLDS(context_is_first, offsetof(io_event_t, context) == 0);
HOLDS(then_the_type, offsetof(io_event_t, event_type) == sizeof(void *));
HOLDS(then_the_count, offsetof(io_event_t, bytes_transferred) == sizeof(void *) + sizeof(int));
HOLDS(then_the_buffer, offsetof(io_event_t, buffer) == sizeof(void *) + 2 * sizeof(int));
HOLDS(flags, EVENT_READ == 0x01 && EVENT_WRITE == 0x02 && EVENT_ERROR == 0x04 && EVENT_CLOSE == 0x08);
HOLDS(kinds, CONSOLE_TYPE_NONE == 0 && CONSOLE_TYPE_REAL == 1 && CONSOLE_TYPE_PIPE == 2 && CONSOLE_TYPE_FILE == 3);

/* The reference's thirteen functions, by their exact types. */
struct reference {
    io_reactor_t *(*create)(void);
    void (*destroy)(io_reactor_t *);
    int (*add)(io_reactor_t *, socket_fd_t, void *, int);
    int (*modify)(io_reactor_t *, socket_fd_t, int);
    int (*remove)(io_reactor_t *, socket_fd_t);
    int (*wait)(io_reactor_t *, io_event_t *, int, struct timeval *);
    int (*post_read)(io_reactor_t *, socket_fd_t, void *, size_t);
    int (*post_write)(io_reactor_t *, socket_fd_t, void *, size_t);
    int (*add_console)(io_reactor_t *, void *);
    console_type_t (*get_console_type)(io_reactor_t *);
    int (*wakeup)(io_reactor_t *);
};

int main(void)
{
    struct reference all = {
        io_reactor_create,    io_reactor_destroy,   io_reactor_add,         io_reactor_modify,
        io_reactor_remove,    io_reactor_wait,      io_reactor_post_read,   io_reactor_post_write,
        io_reactor_add_console, io_reactor_get_console_type, io_reactor_wakeup,
    };
    io_reactor_t *reactor = all.create();
    int bad = reactor == NULL || all.wakeup(reactor) != 0;

    all.destroy(reactor);
    return bad;
}
