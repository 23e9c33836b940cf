/*
 * io_reactor.h - one wait for every event source of a game driver: players' sockets, listening ports, the console,
 * timers and messages from other threads.
 *
 * Two models behind one set of functions. On POSIX an event says that a socket is ready, and the caller reads, writes
 * and accepts. On Windows a read or write event says that the operation has completed, and brings the bytes; only
 * listening sockets, datagram sockets and standard input are reported when they are ready. docs/c-guide.md shows a
 * driver that does both.
 *
 * Threads: one thread at a time uses a reactor; a call that finds another thread inside the same reactor returns -1.
 * The exceptions are io_reactor_wakeup(), io_reactor_post(), io_reactor_get_console_type(), io_reactor_native_handle()
 * and the functions without a reactor: any thread may call those. Destroy a reactor in the thread that used it last, and
 * not in DllMain, a destructor of thread-local storage or a static destructor: it waits for its threads, which cannot
 * end there.
 *
 * Every function accepts NULL for a reactor: io_reactor_destroy() then does nothing, and the others fail. A function
 * returns -1 on failure unless it says otherwise, and io_reactor_last_error() then returns the reason, except of
 * io_reactor_wakeup(). That one is also the only one for signal handlers (POSIX), and leaves errno as it is.
 *
 * Generated from crates/dolmen-c/src by `cargo xtask header`: change it there.
 */

#ifndef IO_REACTOR_H
#define IO_REACTOR_H

#ifdef ASYNC_RUNTIME_H
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
typedef char io_reactor_is_for_programs_without_TIME_BITS_64[sizeof(struct timeval) == 2 * sizeof(long) ? 1 : -1];

/* The version of this header; see io_reactor_version() for the library's. */
#define IO_REACTOR_VERSION "0.1.0"
#define IO_REACTOR_VERSION_MAJOR 0
#define IO_REACTOR_VERSION_MINOR 1
#define IO_REACTOR_VERSION_PATCH 0

/** An object of the system's: a HANDLE on Windows, a descriptor elsewhere. */
#ifdef _WIN32
typedef void *io_reactor_handle_t;
#else
typedef int io_reactor_handle_t;
#endif

/**
 * A reactor. Opaque: use it through the functions.
 *
 * Unless a function says otherwise it may be called by any one thread at a time, normally the one that waits. A call
 * that finds another thread inside the same reactor returns -1 and does nothing.
 */
typedef struct io_reactor_s io_reactor_t;


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
 * An io_reactor_post() has arrived; `buffer` is its data.
 */
#define EVENT_POST 16

/**
 * A timer is due; bytes_transferred counts the further ticks that have passed without an event.
 */
#define EVENT_TIMER 32

/**
 * For io_reactor_wait_ex(): a listener of io_reactor_add_listener() has accepted a connection, whose socket is `fd`.
 */
#define EVENT_ACCEPT 64

/**
 * For io_reactor_wait_ex(): a packet that others have posted to the completion port; see io_reactor_native_handle().
 */
#define EVENT_COMPLETION 128

/**
 * For io_reactor_add_console_ex(): the library reads the bytes of a pipe or a file, and the events carry them.
 */
#define IO_REACTOR_CONSOLE_BUFFERED 1

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
 * Gets the result of io_reactor_resolve(). `addresses` are `count` pointers, each to a struct sockaddr_in or
 * sockaddr_in6 of the size in `lengths`, in the order of the system's preference, and `error` is NULL; or `count` is 0
 * and `error` says why. All of it is valid until the function returns.
 */
typedef void (*io_reactor_resolved_t)(void *context,
                                      const void *const *addresses,
                                      const int *lengths,
                                      int count,
                                      const char *error);

/**
 * What a reactor has done since it was created, and what it holds now.
 */
typedef struct {
  /**
   * Calls of io_reactor_wait().
   */
  uint64_t waits;
  /**
   * Calls into the operating system, including the waits, without the caller's own recv, send and accept.
   */
  uint64_t kernel_calls;
  /**
   * Events delivered.
   */
  uint64_t events;
  /**
   * Windows: bytes received.
   */
  uint64_t bytes_received;
  /**
   * Windows: bytes of io_reactor_post_write() that the system has taken.
   */
  uint64_t bytes_sent;
  /**
   * Sockets registered now.
   */
  uint64_t sockets;
  /**
   * Timers set now.
   */
  uint64_t timers;
  /**
   * Operations that the system holds now.
   */
  uint64_t operations_in_flight;
  /**
   * Windows: bytes of io_reactor_post_write() that the system has not taken yet. Those of a removed socket count
   * until its cancelled send has ended, which takes a wait or more.
   */
  uint64_t queued_bytes;
} io_reactor_stats_t;

/**
 * One event.
 */
typedef struct {
  /**
   * The context given at registration. The library never dereferences it.
   */
  void *context;
  /**
   * One or more of the EVENT_... flags.
   */
  int event_type;
  /**
   * How many bytes have been received or sent; 0 where the caller reads and writes. What an int cannot hold, of the
   * ticks of a timer, is INT_MAX.
   */
  int bytes_transferred;
  /**
   * The received bytes, or NULL. They stay unchanged until the next io_reactor_wait() on the same reactor. A zero
   * byte follows the bytes, unless the caller provided the buffer.
   */
  void *buffer;
} io_event_t;

/**
 * One event of io_reactor_wait_ex().
 */
typedef struct {
  /**
   * As io_reactor_wait() would have reported it.
   */
  io_event_t event;
  /**
   * The socket: the registered one; for EVENT_ACCEPT the accepted one, which the caller now owns; -1 (on Windows
   * INVALID_SOCKET) for an event that is not about a socket.
   */
  socket_fd_t fd;
  /**
   * For EVENT_COMPLETION the key of the packet, whose byte count is bytes_transferred and whose OVERLAPPED is
   * `buffer`; 0 for other events. The byte count is a DWORD, whose 32 bits are kept: `(DWORD)event.bytes_transferred`.
   */
  uintptr_t completion_key;
} io_event_ex_t;

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Creates a reactor. Several may exist at the same time, each used by one thread at a time. On Windows it starts
 * Winsock, so the caller may make sockets afterwards.
 *
 * Returns NULL when the system is out of handles or memory.
 */
io_reactor_t *io_reactor_create(void);

/**
 * Creates a reactor that takes up to `max_events` events from the system at a time (io_reactor_wait() returns no more
 * than that, whatever its own limit) and keeps up to `pool_size` receive buffers of 4 KiB for reuse (Windows). 0 means
 * the default, which is 1024 and 256.
 *
 * Returns NULL when a value is negative or the system is out of handles or memory.
 */
io_reactor_t *io_reactor_create_ex(int max_events,
                                   int pool_size);

/**
 * Destroys a reactor. NULL is fine.
 *
 * It first cancels the operations in flight and waits for them. Registered sockets stay open, as the caller owns them.
 * No other thread may be using the reactor, or use it later; that includes io_reactor_wakeup() and io_reactor_post().
 *
 * In a function of io_reactor_resolve(), and while another thread is inside the reactor, it has no effect:
 * io_reactor_last_error() says so, and the reactor is to be destroyed later.
 *
 * POSIX: after a fork() each of the two processes has its own reactor, with the same sockets registered, and may go on
 * with it, destroy it, or leave it, without an effect on the other process. Both report a shared socket, so one of
 * them removes it. At the fork no other thread may be inside the reactor, except in io_reactor_wakeup() and
 * io_reactor_post(). A post is delivered in the process that made it: the parent delivers one from before the fork.
 * The library's descriptors must stay open in a process that goes on. vfork() and posix_spawn() change nothing; a
 * child that was created without the C library's fork() must not use the reactor.
 */
void io_reactor_destroy(io_reactor_t *reactor);

/**
 * Registers a socket, whose events will carry `context`. `events`: EVENT_READ and EVENT_WRITE, as io_reactor_modify()
 * takes them. Other flags are ignored.
 *
 * A listening socket gives EVENT_READ while connections wait; the caller accepts them. For a connected socket on
 * POSIX, EVENT_READ and EVENT_WRITE say that a read or write will not block, and each wait repeats them until this is
 * no longer true; other descriptors work too, and files are always ready. On Windows, EVENT_READ here starts a first
 * receive, and the event brings the bytes; EVENT_WRITE means nothing before io_reactor_modify() asks for it. A
 * datagram socket (UDP) gives EVENT_READ while datagrams wait, on both systems; the caller receives them. A datagram
 * socket and a listening socket become non-blocking on Windows.
 *
 * The caller still owns the socket. Remove it before closing it. If a number was closed and not removed, and now
 * belongs to another socket, it may still be added: the old registration is dropped.
 *
 * A socket that io_reactor_connect() has connected may be added as well, once, whether it was removed before or not.
 *
 * Returns 0, or -1: NULL reactor, not a valid socket, registered already, or (Windows) nothing can be received from
 * it, or its last registration ended before all of its io_reactor_post_write() had been sent, see io_reactor_remove().
 */
int io_reactor_add(io_reactor_t *reactor,
                   socket_fd_t fd,
                   void *context,
                   int events);

/**
 * Connects a stream socket that is not connected, without blocking, and registers it with `context`. `addr` is the
 * peer's address and `addrlen` its size, as for connect(). Exactly one event follows: EVENT_WRITE when the connection
 * stands, or EVENT_ERROR when it cannot be made. io_reactor_remove() gives the attempt up, and no event follows.
 *
 * After EVENT_WRITE the socket is registered without any events. io_reactor_add() gives it a context and events, once,
 * as it does with a socket that is not registered: with EVENT_READ, input is reported from then on, on both systems.
 * Without that call, ask for events with io_reactor_modify() on POSIX, and for bytes with io_reactor_post_read() on
 * Windows.
 *
 * After EVENT_ERROR remove the socket and close it: a socket connects once. The reason is the socket's SO_ERROR on
 * POSIX, and bytes_transferred on Windows: a Winsock error code. A socket that has reached itself, by a port without a
 * listener that the system has chosen for the caller as well, counts as refused; its SO_ERROR is 0. There is no time
 * limit but the system's, which is minutes: set a timer.
 *
 * Before its event the socket can only be removed: io_reactor_add() returns -1, and so does io_reactor_modify() on
 * POSIX (on Windows it has no effect) and io_reactor_post_read() and io_reactor_post_write() on Windows.
 *
 * The socket becomes non-blocking on POSIX. On Windows it is bound to any address if it is not bound yet, and IPv4 and
 * IPv6 are the families that can be connected.
 *
 * Returns 0, or -1: NULL reactor, not a stream socket, registered or connected already, an address that is NULL, too
 * short or of another family, or the system refuses at once (POSIX: also because no one listens, there is no route, or
 * the backlog of a Unix socket is full). Then nothing is registered.
 */
int io_reactor_connect(io_reactor_t *reactor,
                       socket_fd_t fd,
                       const void *addr,
                       int addrlen,
                       void *context);

/**
 * Looks up the addresses of a host, with threads of the library: getaddrinfo() may take seconds. `host` is a name or a
 * numeric address, `port` a number, which the addresses have. `callback` is called once with the result, inside a later
 * io_reactor_wait() and in its thread, and while that wait has no events: no event of a socket follows that it removes.
 * It may call the library, except that io_reactor_wait() returns -1 in it, and io_reactor_destroy() has no effect. It
 * returns to its caller, as by no exception and no longjmp(). That wait then returns, with or without events. After
 * io_reactor_destroy() there is no call.
 *
 * Returns 0, or -1: NULL reactor, host or callback, a port outside 0 to 65535, not a valid name, or 1024 look-ups wait.
 */
int io_reactor_resolve(io_reactor_t *reactor,
                       const char *host,
                       int port,
                       io_reactor_resolved_t callback,
                       void *context);

/**
 * Changes which events are reported for a socket. 0 is allowed and means none; on POSIX not even the end of a socket
 * without an interest is reported.
 *
 * On Windows only EVENT_WRITE has a meaning, as io_reactor_post_read() asks for input. One EVENT_WRITE without bytes
 * follows as soon as the socket takes more, so that the caller can go on after a send() that would have blocked. Ask
 * again after each. A call without EVENT_WRITE withdraws the request. For unknown sockets, listening sockets and
 * datagram sockets the call has no effect.
 *
 * The number identifies the socket. A number that was closed without io_reactor_remove(), and now belongs to another
 * socket, may be taken for the old socket, with the old context.
 *
 * Returns 0, or -1: NULL reactor; on POSIX also for a socket that is not registered.
 */
int io_reactor_modify(io_reactor_t *reactor, socket_fd_t fd, int events);

/**
 * Forgets a socket. No later wait returns an event of this registration, whatever was in flight; events that an
 * earlier wait has put into the caller's array stay there. The socket stays open, and may be added again. On Windows
 * bytes that were received for it and not delivered are lost with it, and an io_reactor_post_write() in flight is
 * cancelled: an unknown part of it has been sent by then, and no later one has been sent, so the stream has a hole.
 * Close such a socket: io_reactor_add() refuses it. To go on with a socket, wait for the EVENT_WRITE of everything
 * posted before removing it.
 *
 * Returns 0 (also for a socket that is not registered), or -1: NULL reactor; on Windows also for INVALID_SOCKET.
 */
int io_reactor_remove(io_reactor_t *reactor, socket_fd_t fd);

/**
 * Windows: asks for the next receive on a connected socket; its EVENT_READ brings the bytes. With a buffer the bytes
 * are in it, up to `len` at a time (the rest, if any, comes with the EVENT_READ of the next io_reactor_post_read());
 * the buffer must stay valid until that event, or until the socket is removed. Without a buffer (NULL or 0 bytes) the
 * bytes are in one of the library's buffers. There is never more than one receive in flight: asking again does no
 * harm.
 *
 * POSIX: does nothing, as the caller reads.
 *
 * Returns 0, or -1: NULL reactor; on Windows also for a socket that is not registered or not connected, or whose end
 * was reported.
 */
int io_reactor_post_read(io_reactor_t *reactor, socket_fd_t fd, void *buffer, size_t len);

/**
 * Windows: sends a copy of `len` bytes, all of them, after everything posted before. One EVENT_WRITE with that number
 * of bytes follows when the system has taken them.
 *
 * POSIX: does nothing, as the caller writes.
 *
 * Returns 0, or -1: NULL reactor; on Windows also for a NULL buffer, for 0 bytes, for a socket that is not registered
 * or was reset or has failed, and when more than 1 GiB would be queued. On failure none of the bytes are sent. After
 * the EVENT_CLOSE of an orderly end the peer may still read, so this function still works.
 */
int io_reactor_post_write(io_reactor_t *reactor, socket_fd_t fd, void *buffer, size_t len);

/**
 * Registers standard input, whose events will carry `context`. The caller reads it.
 *
 * A terminal or console: EVENT_READ without a buffer while there is input. A hung-up terminal is reported once, with
 * EVENT_CLOSE or EVENT_ERROR. On Windows input means key presses: the library discards other records (mouse, focus,
 * size, key-up) that stand before a key press.
 *
 * A pipe or a file: EVENT_READ without a buffer, from each wait while there are bytes, and once at the end of the
 * input, which the caller finds by reading. The library consumes nothing. Once the end has been reported there are no
 * further events, whether the caller has read it or not. A device such as /dev/null or NUL is at its end. Where the
 * system does not report whether there are bytes (Windows: pipes of another kind than its own; POSIX: other devices),
 * a read may block, and each wait reports EVENT_READ, also at the end: call io_reactor_remove_console() when a read
 * returns 0 bytes.
 *
 * Windows: when a wait finds a pipe empty, a thread of the library waits for the pipe in a read of zero bytes. Until
 * that read returns, other calls on the same handle may block, unless the handle was opened with FILE_FLAG_OVERLAPPED:
 * read when there is an event, and not in between. io_reactor_remove_console() ends that read.
 *
 * A second call changes the context. Returns 0, or -1: NULL reactor, there is no usable standard input, it is
 * registered with other flags (which mean nothing for a terminal or console), or (Windows, a pipe or a file) with
 * another reactor.
 */
int io_reactor_add_console(io_reactor_t *reactor,
                           void *context);

/**
 * Registers standard input, as io_reactor_add_console() does, with `flags`: 0 or IO_REACTOR_CONSOLE_BUFFERED.
 *
 * Buffered, the library reads a pipe or a file: EVENT_READ with the bytes, up to 4096 at a time, then EVENT_CLOSE once
 * at the end of the input. On Windows a thread reads ahead, so the caller must not read standard input. A terminal or
 * console is never buffered.
 *
 * Returns 0, or -1: as io_reactor_add_console(), and for unknown flags.
 */
int io_reactor_add_console_ex(io_reactor_t *reactor,
                              void *context,
                              int flags);

/**
 * Forgets standard input: no later wait reports it, and io_reactor_add_console() may be called again. Bytes of a
 * buffered pipe or file that were read and not yet delivered are lost.
 *
 * Returns 0 (also if it is not registered), or -1: NULL reactor.
 */
int io_reactor_remove_console(io_reactor_t *reactor);

/**
 * Returns the kind of standard input that io_reactor_add_console() found. A socket counts as a pipe, and a device that
 * is not a terminal, such as /dev/null or NUL, as a file.
 *
 * Any thread. Returns CONSOLE_TYPE_NONE for a NULL reactor.
 */
console_type_t io_reactor_get_console_type(io_reactor_t *reactor);

/**
 * Ends the current wait, or else the next one. Any number of calls before that count as one. There is no event: a wait
 * without other events returns 0.
 *
 * Any thread. On POSIX also from a signal handler, so the call leaves io_reactor_last_error() as it is.
 *
 * Returns 0, or -1: NULL reactor.
 */
int io_reactor_wakeup(io_reactor_t *reactor);

/**
 * Sends a message to the reactor: an event with this context and EVENT_POST, and `data` as its buffer. Messages are
 * never merged or lost, and those of one thread arrive in order. The library does not dereference the two pointers.
 *
 * Any thread; not from a signal handler.
 *
 * Returns 0, or -1: NULL reactor, 65536 messages wait for delivery, or the system is out of memory for a wake-up. On
 * failure the message was not taken, and may be sent again.
 */
int io_reactor_post(io_reactor_t *reactor, void *context, void *data);

/**
 * Puts the reactor's statistics into `stats`. `size` is sizeof(io_reactor_stats_t) as the caller was compiled: a later
 * library may have more fields, and fills in only those within `size`.
 *
 * Returns 0, or -1: NULL reactor or stats.
 */
int io_reactor_stats(io_reactor_t *reactor,
                     io_reactor_stats_t *stats,
                     size_t size);

/**
 * Returns the reason why the last failed call in this thread returned -1, NULL or 0. Never NULL; stays valid until the
 * next failing call in the same thread. Any thread.
 */
const char *io_reactor_last_error(void);

/**
 * Returns the library's version, such as "0.1.0". Compare it with IO_REACTOR_VERSION, the version of the header.
 */
const char *io_reactor_version(void);

/**
 * Sets a timer: an event with this context and EVENT_TIMER follows after `delay_us` microseconds, and, if `period_us`
 * is not 0, every `period_us` microseconds after that. It is never early and does not drift. Ticks that no wait
 * collected in time are not repeated but counted, in bytes_transferred.
 *
 * Returns the timer's id, or 0: NULL reactor.
 */
uint64_t io_reactor_timer_add(io_reactor_t *reactor, void *context, uint64_t delay_us, uint64_t period_us);

/**
 * Cancels a timer; it causes no further event. Ids are not reused, so an old id does no harm; but an id of another
 * reactor may be an id of this one as well.
 *
 * Returns 0 (also for a timer that has ended), or -1: NULL reactor, or 0, which is not the id of a timer.
 */
int io_reactor_timer_cancel(io_reactor_t *reactor, uint64_t timer);

/**
 * Waits for events, for up to `timeout`, and puts up to `max_events` events into `events`. The wait asks all sources.
 * Events that did not fit are not lost: later waits report them, and sources take turns; on POSIX a socket that is no
 * longer ready by then is not reported. A timeout is rounded up to what the system can measure. NULL, or a negative
 * time, means no timeout; zero means not to wait.
 * `tv_usec` may be a million or more, or negative: the sum of both counts.
 *
 * POSIX: the wait blocks once. If that one call ends without an event, the wait returns 0. The cause may be a signal
 * handler that ran in this thread while it was blocked (with SA_RESTART or without), io_reactor_wakeup(), or a
 * spurious wake-up. So a driver whose handlers only set a flag checks its flags after each wait. A handler that runs
 * just before the wait blocks does not end it: for a signal that comes once, and not repeatedly like a heart beat's,
 * let the handler call io_reactor_wakeup(). The library's own threads block all signals. Windows: a wait without
 * events that io_reactor_wakeup() does not end lasts for the whole timeout.
 *
 * Returns the number of events. 0: the time is up, or one of the above. -1: NULL reactor or events, max_events below
 * 1, another thread is inside the reactor, a function of io_reactor_resolve() has called this one, or the system's wait
 * has failed before there was an event.
 */
int io_reactor_wait(io_reactor_t *reactor,
                    io_event_t *events,
                    int max_events,
                    struct timeval *timeout);

/**
 * Waits as io_reactor_wait() does, with events that also have the socket. It reports two things that io_reactor_wait()
 * has no place for: the connections of io_reactor_add_listener() with EVENT_ACCEPT, and on Windows the packets that
 * others post, with EVENT_COMPLETION, see io_reactor_native_handle().
 *
 * Returns what io_reactor_wait() returns.
 */
int io_reactor_wait_ex(io_reactor_t *reactor,
                       io_event_ex_t *events,
                       int max_events,
                       struct timeval *timeout);

/**
 * Changes which events are reported for a socket, as io_reactor_modify() does, and the context that they carry. Events
 * that an earlier wait has put into the caller's array keep the old context.
 *
 * Between io_reactor_connect() and its event, and after its EVENT_ERROR, it changes the context only on Windows, where
 * that event has the new one; on POSIX it returns -1 and changes nothing.
 *
 * Returns 0, or -1: NULL reactor, or a socket that is not registered; on POSIX also one that is not connected yet.
 */
int io_reactor_modify_ex(io_reactor_t *reactor,
                         socket_fd_t fd,
                         void *context,
                         int events);

/**
 * Registers a listening socket whose connections the library accepts: io_reactor_wait_ex() reports each with
 * EVENT_ACCEPT, this context, and the accepted socket as `fd`. That socket is the caller's, is non-blocking, and is not
 * inherited by programs that the caller starts; io_reactor_add() registers it. The listening socket becomes
 * non-blocking, and is removed with io_reactor_remove(). No connection is lost then: a wait accepts only what it
 * reports, and the others stay in the backlog.
 *
 * io_reactor_wait(), whose events have no place for a socket, reports EVENT_READ as for any listening socket, and the
 * caller accepts.
 *
 * When the process has no descriptor left the listener pauses for a quarter of a second, and tries again.
 *
 * Returns 0, or -1: NULL reactor, not a listening socket, or registered already.
 */
int io_reactor_add_listener(io_reactor_t *reactor,
                            socket_fd_t fd,
                            void *context);

/**
 * Finds out for how long the caller may block elsewhere, such as in poll(2) on io_reactor_native_handle(), before it
 * has to call io_reactor_wait(), if nothing makes that handle readable. The time is rounded up to microseconds, and is an
 * upper bound: the wait may find no event. Zero: there is something to do or to deliver now. Ask directly before
 * blocking, as every other call may change it.
 *
 * Returns 1, with the time in `timeout`; 0 if there is no limit, with `timeout` unchanged; or -1: NULL reactor or
 * timeout.
 */
int io_reactor_next_timeout(io_reactor_t *reactor,
                            struct timeval *timeout);

/**
 * Returns the object in which the reactor waits. The caller does not close it.
 *
 * POSIX: the epoll instance, for another event loop to poll: it is readable while the system has something for the next
 * wait. Timers (the library has some of its own), standard input that is a file, and events that a wait had no room for
 * do not make it readable: block for no longer than io_reactor_next_timeout() says. It may change in a child after
 * fork(). Nothing else may be registered in it.
 *
 * Windows: the completion port. Other code may post packets to it, or associate files of its own with it, under keys of
 * its own: small numbers, or addresses of its own variables. io_reactor_wait_ex() reports each with EVENT_COMPLETION;
 * io_reactor_wait() leaves them out. Only the reactor takes packets out of the port.
 *
 * Any thread. Returns the handle, or -1 (on Windows NULL): NULL reactor.
 */
io_reactor_handle_t io_reactor_native_handle(io_reactor_t *reactor);

#ifdef __cplusplus
}  // extern "C"
#endif /* __cplusplus */

#endif  /* IO_REACTOR_H */
