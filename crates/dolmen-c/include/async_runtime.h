/*
 * async_runtime.h - the reactor of io_reactor.h for drivers that were written for async_runtime.h: events with the
 * socket and a completion key, completions from any thread, and on Windows accepted sockets. The same library serves
 * both headers; a file includes one of them. docs/c-guide.md has a chapter for such drivers.
 *
 * On POSIX an event says that a socket is ready, and the caller reads, writes and accepts. On Windows an event of a
 * connected socket says that a read or a write has completed, and brings the bytes; that of a listening socket brings a
 * connection. Queues, workers and the console's worker stay the program's own.
 *
 * Threads: one thread at a time uses a runtime; a call that finds another thread inside the same runtime returns -1.
 * Any thread may call async_runtime_wakeup(), async_runtime_post_completion(), all async_runtime_get_...() and the
 * functions without a runtime. Destroy a runtime in the thread that used it last, and not in DllMain, a destructor of
 * thread-local storage or a static destructor.
 *
 * Every function accepts NULL for a runtime: async_runtime_deinit() then does nothing, and the others fail. A function
 * returns -1 on failure unless it says otherwise, and async_runtime_last_error() then returns the reason, except of
 * async_runtime_wakeup(). That one is also the only one for signal handlers (POSIX), and leaves errno as it is.
 *
 * Generated from crates/dolmen-c/src by `cargo xtask header`: change it there.
 */

#ifndef ASYNC_RUNTIME_H
#define ASYNC_RUNTIME_H

#ifdef IO_REACTOR_H
#error "io_reactor.h and async_runtime.h both have an io_event_t: include one of the two in a file"
#endif

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
/* winsock2.h has to come before windows.h. */
#include <winsock2.h>
#else
#include <sys/time.h>
#endif

/*
 * A program that has its own socket_fd_t (SOCKET on Windows, int elsewhere) may define it before or after this header:
 * C11 and C++ accept the same typedef twice, and so does GCC for C99 if this one comes second. Define
 * IO_REACTOR_NO_SOCKET_FD_T before this header, and socket_fd_t as well, if the program's own is a macro, if GCC
 * compiles C99 and this one comes first, or for another compiler with pedantic C99.
 */
#if !defined(IO_REACTOR_NO_SOCKET_FD_T) && !defined(socket_fd_t)
#if defined(__GNUC__) && !defined(__cplusplus)
__extension__
#endif
#ifdef _WIN32
typedef SOCKET socket_fd_t;
#else
typedef int socket_fd_t;
#endif
#endif

/*
 * For 32 bits some C libraries have two forms of struct timeval, and to this library a timeout in the wider one would be
 * another time, often none. If this line is an error, compile without _TIME_BITS=64 (-U_TIME_BITS, or -D_TIME_BITS=32).
 */
typedef char async_runtime_is_for_programs_without_TIME_BITS_64[sizeof(struct timeval) == 2 * sizeof(long) ? 1 : -1];

/**
 * A runtime. Opaque: use it through the functions.
 *
 * Unless a function says otherwise it may be called by any one thread at a time, normally the one that waits. A call
 * that finds another thread inside the same runtime returns -1 and does nothing.
 */
typedef struct async_runtime_s async_runtime_t;


/**
 * There is something to read, or to accept; if `buffer` is not NULL the library has read it already.
 */
#define EVENT_READ 1

/**
 * There is room to write, or bytes_transferred bytes of a posted write have been sent.
 */
#define EVENT_WRITE 2

/**
 * The socket has failed.
 */
#define EVENT_ERROR 4

/**
 * The peer has closed the connection, or it was reset; for the console: the end of the input.
 */
#define EVENT_CLOSE 8

/**
 * The kind of standard input.
 */
typedef enum {
  /**
   * None that is usable, or standard input was not added.
   */
  CONSOLE_TYPE_NONE = 0,
  /**
   * A terminal, or a Windows console.
   */
  CONSOLE_TYPE_REAL = 1,
  /**
   * A pipe, or what counts as one.
   */
  CONSOLE_TYPE_PIPE = 2,
  /**
   * A file, or what counts as one.
   */
  CONSOLE_TYPE_FILE = 3
} console_type_t;

/**
 * One event.
 */
typedef struct {
  /**
   * The socket. POSIX: the registered one, and -1 for a completion. Windows: the registered one, but the accepted one
   * for a listening socket, which the caller now owns; for a completion its data.
   */
  socket_fd_t fd;
#if defined(_WIN32)
  /**
   * Always NULL.
   */
  HANDLE handle;
#endif
  /**
   * The key of a completion. For other events 0 on POSIX, and the context on Windows.
   */
  uintptr_t completion_key;
  /**
   * One or more of the EVENT_... flags. EVENT_READ for a completion.
   */
  uint32_t event_type;
  /**
   * The context given at registration, which the library never dereferences. For a completion NULL on POSIX, and the
   * key on Windows.
   */
  void *context;
  /**
   * How many bytes have been received or sent; 0 where the caller reads and writes. The data of a completion.
   */
  size_t bytes_transferred;
  /**
   * The received bytes, or NULL. They stay unchanged until the next async_runtime_wait() on the same runtime. A zero
   * byte follows the bytes, unless the caller provided the buffer. For a packet that others have posted: its
   * OVERLAPPED.
   */
  void *buffer;
} io_event_t;

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Creates a runtime. Several may exist at the same time, each used by one thread at a time. On Windows it starts
 * Winsock, so the caller may make sockets afterwards.
 *
 * Returns NULL when the system is out of handles or memory.
 */
async_runtime_t *async_runtime_init(void);

/**
 * Destroys a runtime. NULL is fine.
 *
 * It first cancels the operations in flight and waits for them. Registered sockets stay open, as the caller owns them.
 * No other thread may be using the runtime, or use it later; that includes async_runtime_wakeup() and
 * async_runtime_post_completion(). Completions that were not delivered are lost. While another thread is inside the
 * runtime it has no effect: async_runtime_last_error() says so, and the runtime is to be destroyed later.
 *
 * POSIX: after a fork() each of the two processes has its own runtime, with the same sockets registered, and may go on
 * with it, destroy it, or leave it, without an effect on the other process. Both report a shared socket, so one of
 * them removes it. At the fork no other thread may be inside the runtime, except in async_runtime_wakeup() and
 * async_runtime_post_completion(). A completion is delivered in the process that posted it.
 */
void async_runtime_deinit(async_runtime_t *runtime);

/**
 * Registers a socket, whose events will carry `context`. `events`: EVENT_READ and EVENT_WRITE. Other flags are ignored.
 *
 * POSIX: EVENT_READ and EVENT_WRITE say that a read, an accept or a write will not block, and each wait repeats them
 * until this is no longer true. The caller reads, accepts and writes.
 *
 * Windows: EVENT_READ starts a first receive on a connected socket, and the event brings the bytes; EVENT_WRITE means
 * nothing before async_runtime_modify() asks for it. A listening socket becomes non-blocking, and the library accepts:
 * each EVENT_READ with its context brings the accepted socket as `fd`, which is the caller's, non-blocking, and not
 * inherited by programs that the caller starts. No connection is accepted before the wait that reports it. A datagram
 * socket (UDP) becomes non-blocking, and gives EVENT_READ while datagrams wait; the caller receives them.
 *
 * The caller still owns the socket. Remove it before closing it. If a number was closed and not removed, and now
 * belongs to another socket, it may still be added: the old registration is dropped.
 *
 * Returns 0, or -1: NULL runtime, not a valid socket, registered already, or (Windows) nothing can be received from it,
 * or its last registration ended before all of its posted writes had been sent.
 */
int async_runtime_add(async_runtime_t *runtime,
                      socket_fd_t fd,
                      uint32_t events,
                      void *context);

/**
 * Changes which events are reported for a socket, and the context that they carry. 0 is allowed and means none; on
 * POSIX not even the end of a socket without an interest is reported. Events that an earlier wait has put into the
 * caller's array keep the old context.
 *
 * On Windows only EVENT_WRITE has a meaning, as async_runtime_post_read() asks for input. One EVENT_WRITE without bytes
 * follows as soon as the socket takes more, so that the caller can go on after a send() that would have blocked. Ask
 * again after each. A call without EVENT_WRITE withdraws the request.
 *
 * Returns 0, or -1: NULL runtime, or a socket that is not registered.
 */
int async_runtime_modify(async_runtime_t *runtime,
                         socket_fd_t fd,
                         uint32_t events,
                         void *context);

/**
 * Forgets a socket. No later wait returns an event of this registration, whatever was in flight; events that an
 * earlier wait has put into the caller's array stay there. The socket stays open, and may be added again. On Windows
 * bytes that were received for it and not delivered are lost with it, and an async_runtime_post_write() in flight is
 * cancelled, which leaves a hole in the stream: close such a socket.
 *
 * Returns 0, or -1: NULL runtime, or a socket that is not registered.
 */
int async_runtime_remove(async_runtime_t *runtime, socket_fd_t fd);

/**
 * Ends the current wait, or else the next one. Any number of calls before that count as one. There is no event: a wait
 * without other events returns 0.
 *
 * Any thread. On POSIX also from a signal handler, so the call leaves async_runtime_last_error() as it is.
 *
 * Returns 0, or -1: NULL runtime.
 */
int async_runtime_wakeup(async_runtime_t *runtime);

/**
 * Waits for events, for up to `timeout`, and puts up to `max_events` events into `events`, but no more than 1024. The
 * wait asks all sources. Events that did not fit are not lost: later waits report them, and sources take turns; on POSIX
 * a socket that is no longer ready by then is not reported. A timeout is rounded up to what the system can measure. NULL,
 * or a negative time, means no timeout; zero means not to wait. `tv_usec` may be a million or more, or negative: the sum
 * of both counts.
 *
 * POSIX: the wait blocks once. If that one call ends without an event, the wait returns 0. The cause may be a signal
 * handler that ran in this thread while it was blocked (with SA_RESTART or without), async_runtime_wakeup(), a write to
 * async_runtime_get_event_loop_handle(), or a spurious wake-up. A handler that runs just before the wait blocks does not
 * end it: for a signal that comes once let the handler call async_runtime_wakeup(). Windows: a wait without events that
 * async_runtime_wakeup() does not end lasts for the whole timeout.
 *
 * Returns the number of events. 0: the time is up, or one of the above. -1: NULL runtime or events, max_events below 1,
 * another thread is inside the runtime, a function of io_reactor_resolve() calls this, or the system's wait has failed
 * before there was an event.
 */
int async_runtime_wait(async_runtime_t *runtime,
                       io_event_t *events,
                       int max_events,
                       struct timeval *timeout);

/**
 * Sends a completion to the runtime: an event of the type EVENT_READ with this key as `completion_key`, and `data` as
 * bytes_transferred. `fd` is -1 and `context` NULL on POSIX; on Windows `fd` is the data and `context` the key as well.
 * Completions are never merged or lost, and those of one thread arrive in order.
 *
 * Any thread; not from a signal handler.
 *
 * Returns 0, or -1: NULL runtime, 1048576 completions wait for delivery, or the system is out of memory for a wake-up.
 * On failure the completion was not taken, and may be sent again.
 */
int async_runtime_post_completion(async_runtime_t *runtime,
                                  uintptr_t completion_key,
                                  uintptr_t data);

/**
 * Windows: asks for the next receive on a connected socket; its EVENT_READ brings the bytes. With a buffer the bytes
 * are in it, up to `len` at a time (the rest, if any, comes with the EVENT_READ of the next async_runtime_post_read());
 * the buffer must stay valid until that event, or until the socket is removed. Without a buffer (NULL or 0 bytes) the
 * bytes are in one of the library's buffers. There is never more than one receive in flight: asking again does no
 * harm.
 *
 * POSIX: does nothing, as the caller reads.
 *
 * Returns 0, or -1: NULL runtime; on Windows also for a socket that is not registered or not connected, or whose end
 * was reported.
 */
int async_runtime_post_read(async_runtime_t *runtime,
                            socket_fd_t fd,
                            void *buffer,
                            size_t len);

/**
 * Windows: sends a copy of `len` bytes, all of them, after everything posted before. One EVENT_WRITE with that number
 * of bytes follows when the system has taken them.
 *
 * POSIX: does nothing, as the caller writes.
 *
 * Returns 0, or -1: NULL runtime; on Windows also for a NULL buffer, for 0 bytes, for a socket that is not registered
 * or was reset or has failed, and when more than 1 GiB would be queued. On failure none of the bytes are sent.
 */
int async_runtime_post_write(async_runtime_t *runtime, socket_fd_t fd, void *buffer, size_t len);

/**
 * Finds out the kind of standard input, and keeps `context`. The caller reads standard input itself: the library
 * neither reads nor watches it, and no wait reports it. If there is none that an operator could use, the kind is
 * CONSOLE_TYPE_NONE, see async_runtime_get_console_type(), and nothing should read it.
 *
 * Returns 0, or -1: NULL runtime.
 */
int async_runtime_add_console(async_runtime_t *runtime, void *context);

/**
 * Returns the kind of standard input that async_runtime_add_console() found: CONSOLE_TYPE_REAL for a terminal or a
 * Windows console, CONSOLE_TYPE_PIPE for a pipe (on Windows also for a socket), CONSOLE_TYPE_FILE for a file, and
 * CONSOLE_TYPE_NONE for anything else, such as /dev/null, NUL or a closed one, and before that call.
 *
 * Any thread. Returns CONSOLE_TYPE_NONE for a NULL runtime.
 */
console_type_t async_runtime_get_console_type(async_runtime_t *runtime);

#if defined(_WIN32)
/**
 * Windows: returns NULL. The library does not wait for standard input here, so it has no event for it. Any thread.
 */
HANDLE async_runtime_get_console_event(async_runtime_t *runtime);
#endif

#if defined(_WIN32)
/**
 * Windows: returns the context of async_runtime_add_console(), or NULL without such a call. Any thread.
 */
void *async_runtime_get_console_ctx(async_runtime_t *runtime);
#endif

#if defined(_WIN32)
/**
 * Windows: returns the completion port in which the runtime waits. The caller does not close it. Other code may post
 * packets to it, or associate files of its own with it, under keys of its own: small numbers, or addresses of its own
 * variables. Each arrives as a completion with that key, all 32 bits of its byte count as the data, and the OVERLAPPED
 * as `buffer`. Only the runtime takes packets out of the port.
 *
 * Any thread. Returns NULL for a NULL runtime.
 */
HANDLE async_runtime_get_iocp(async_runtime_t *runtime);
#endif

#if !defined(_WIN32)
/**
 * POSIX: returns a descriptor for other threads and libraries: eight bytes, as a number that is not 0, written to it
 * end the current wait, or else the next one, as async_runtime_wakeup() does. Several writes before a wait end one. Any
 * number will do: a write that would fill the counter fails with EAGAIN, and the ones before it end the wait. The
 * caller neither reads nor closes it. In a forked process it is the parent's until the first wait there; until then
 * async_runtime_wakeup() ends waits of the child.
 *
 * Any thread. Returns -1 for a NULL runtime.
 */
int async_runtime_get_event_loop_handle(async_runtime_t *runtime);
#endif

/**
 * Returns the reason why the last failed call in this thread returned -1 or NULL. Never NULL; stays valid until the
 * next failing call in the same thread. Any thread.
 */
const char *async_runtime_last_error(void);

#ifdef __cplusplus
}  // extern "C"
#endif /* __cplusplus */

#endif  /* ASYNC_RUNTIME_H */
