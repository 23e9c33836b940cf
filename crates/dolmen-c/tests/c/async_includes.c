/* async_runtime.h together with the other headers of drivers. Compiled as C99 to C23 and as C++98 to C++23, in each of the
   orders below. */
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
#elif defined(ORDER_OTHER_HEADER_FIRST)
#include "io_reactor.h" /* refused */
#endif

#ifdef __cplusplus
extern "C" {
#endif
#include "async_runtime.h"
#include "async_runtime.h" /* twice */
#ifdef __cplusplus
}
#endif

#if defined(ORDER_WINDOWS_LAST) && defined(_WIN32)
#include <windows.h>
#elif defined(ORDER_OTHER_HEADER_LAST)
#include "io_reactor.h" /* refused */
#endif

#include <stddef.h>

/* The part of the contract that a compiler can check: an array of negative size is an error. The library asserts the same
   numbers. */
#define HOLDS(name, condition) typedef char name[(condition) ? 1 : -1]
#ifdef _WIN32
HOLDS(the_handle_is_second, offsetof(io_event_t, handle) == sizeof(void *));
#define KEY_AT (2 * sizeof(void *))
#else
#define KEY_AT sizeof(void *)
#endif
HOLDS(the_socket_is_first, offsetof(io_event_t, fd) == 0);
HOLDS(then_the_key, offsetof(io_event_t, completion_key) == KEY_AT);
HOLDS(then_the_type, offsetof(io_event_t, event_type) == KEY_AT + sizeof(void *));
HOLDS(then_the_context, offsetof(io_event_t, context) == KEY_AT + 2 * sizeof(void *));
HOLDS(then_the_count, offsetof(io_event_t, bytes_transferred) == KEY_AT + 3 * sizeof(void *));
HOLDS(then_the_buffer, offsetof(io_event_t, buffer) == KEY_AT + 4 * sizeof(void *));
HOLDS(and_nothing_else, sizeof(io_event_t) == KEY_AT + 5 * sizeof(void *));
HOLDS(the_key_is_wide, sizeof(((io_event_t *)0)->completion_key) == sizeof(uintptr_t));
HOLDS(the_count_is_wide, sizeof(((io_event_t *)0)->bytes_transferred) == sizeof(size_t));
HOLDS(flags, EVENT_READ == 0x01 && EVENT_WRITE == 0x02 && EVENT_ERROR == 0x04 && EVENT_CLOSE == 0x08);
HOLDS(kinds, CONSOLE_TYPE_NONE == 0 && CONSOLE_TYPE_REAL == 1 && CONSOLE_TYPE_PIPE == 2 && CONSOLE_TYPE_FILE == 3);

/* The functions, by their exact types. */
struct reference {
    async_runtime_t *(*init)(void);
    void (*deinit)(async_runtime_t *);
    int (*add)(async_runtime_t *, socket_fd_t, uint32_t, void *);
    int (*modify)(async_runtime_t *, socket_fd_t, uint32_t, void *);
    int (*remove)(async_runtime_t *, socket_fd_t);
    int (*wakeup)(async_runtime_t *);
    int (*wait)(async_runtime_t *, io_event_t *, int, struct timeval *);
    int (*post_completion)(async_runtime_t *, uintptr_t, uintptr_t);
    int (*post_read)(async_runtime_t *, socket_fd_t, void *, size_t);
    int (*post_write)(async_runtime_t *, socket_fd_t, void *, size_t);
    int (*add_console)(async_runtime_t *, void *);
    console_type_t (*get_console_type)(async_runtime_t *);
#ifdef _WIN32
    HANDLE (*get_console_event)(async_runtime_t *);
    void *(*get_console_ctx)(async_runtime_t *);
    HANDLE (*get_iocp)(async_runtime_t *);
#else
    int (*get_event_loop_handle)(async_runtime_t *);
#endif
};

int main(void)
{
    struct reference all = {
        async_runtime_init,        async_runtime_deinit,      async_runtime_add,
        async_runtime_modify,      async_runtime_remove,      async_runtime_wakeup,
        async_runtime_wait,        async_runtime_post_completion, async_runtime_post_read,
        async_runtime_post_write,  async_runtime_add_console, async_runtime_get_console_type,
#ifdef _WIN32
        async_runtime_get_console_event, async_runtime_get_console_ctx, async_runtime_get_iocp,
#else
        async_runtime_get_event_loop_handle,
#endif
    };
    async_runtime_t *runtime = all.init();
    int bad = runtime == NULL || all.wakeup(runtime) != 0;

    all.deinit(runtime);
    return bad;
}
