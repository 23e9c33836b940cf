/*
 * io_reactor.h - one wait for everything a game driver has to notice: players' sockets, listening ports, the console,
 * timers and messages from other threads.
 *
 * Two models behind one set of functions. On POSIX an event says that a socket is ready, and the caller reads, writes and
 * accepts itself. On Windows a read or write event says that the operation is done, and brings the bytes; only listening
 * sockets, sockets of datagrams and standard input are reported when they are ready. docs/c-guide.md shows a driver that
 * does both.
 *
 * Threads: a reactor is used by one thread at a time; a call that finds another one inside the same reactor returns -1.
 * The exceptions are io_reactor_wakeup(), io_reactor_post() and the functions without a reactor: those are for any thread.
 * Destroy a reactor in the thread that used it last, and not in DllMain, a destructor of thread-local storage or a static
 * destructor: it waits for its threads, which cannot end there.
 *
 * Every function takes NULL for a reactor, and returns what it returns on failure, which is -1 unless it says otherwise.
 * After that, io_reactor_last_error() says why.
 *
 * Made from crates/dolmen-c/src by `cargo xtask header`: change it there.
 */

#ifndef IO_REACTOR_H
#define IO_REACTOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
/* winsock2.h has to come before windows.h, or after nothing at all. */
#include <winsock2.h>
#else
#include <sys/time.h>
#endif

/*
 * A program that has its own socket_fd_t (SOCKET on Windows, int elsewhere) may define it before or after this header:
 * C11 and C++ take the same typedef twice, and so does GCC for C99 if this one comes second. For other compilers with
 * pedantic C99, if this one comes first there, or if it is a macro, define IO_REACTOR_NO_SOCKET_FD_T before this header,
 * and socket_fd_t as well.
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

/* The version of this header; see io_reactor_version() for the library's. */
#define IO_REACTOR_VERSION "0.1.0"
#define IO_REACTOR_VERSION_MAJOR 0
#define IO_REACTOR_VERSION_MINOR 1
#define IO_REACTOR_VERSION_PATCH 0

/**
 * A reactor. Opaque: use it through the functions.
 *
 * Unless a function says otherwise it may be called by any one thread at a time, normally the one that waits. A call
 * that finds another thread inside the same reactor returns -1 and does nothing.
 */
typedef struct io_reactor_s io_reactor_t;


/**
 * There is something to read, or to accept; where `buffer` is not NULL it was read already.
 */
#define EVENT_READ 1

/**
 * There is room to write, or bytes_transferred bytes of an io_reactor_post_write() have been sent.
 */
#define EVENT_WRITE 2

/**
 * The socket has failed.
 */
#define EVENT_ERROR 4

/**
 * The other end has closed the connection, or it was reset; for the console: the end of the input.
 */
#define EVENT_CLOSE 8

/**
 * An io_reactor_post() has arrived; `buffer` is its data.
 */
#define EVENT_POST 16

/**
 * A timer is due; bytes_transferred counts the further ticks that have gone by unnoticed.
 */
#define EVENT_TIMER 32

/**
 * For io_reactor_add_console_ex(): bytes of a pipe or a file are read by the library and come with the events.
 */
#define IO_REACTOR_CONSOLE_BUFFERED 1

/**
 * What standard input turned out to be.
 */
typedef enum {
  /**
   * None that can be used, or io_reactor_add_console() was not called.
   */
  CONSOLE_TYPE_NONE = 0,
  /**
   * A terminal, or a Windows console.
   */
  CONSOLE_TYPE_REAL = 1,
  /**
   * A pipe (or, on POSIX, a socket).
   */
  CONSOLE_TYPE_PIPE = 2,
  /**
   * A file, or a device that is no terminal, such as /dev/null or NUL.
   */
  CONSOLE_TYPE_FILE = 3
} console_type_t;

/**
 * One thing that has happened.
 */
typedef struct {
  /**
   * What was given at registration. The library never looks at what it points to.
   */
  void *context;
  /**
   * One or more of the EVENT_... flags.
   */
  int event_type;
  /**
   * How many bytes have been received or sent; 0 where the caller reads and writes himself.
   */
  int bytes_transferred;
  /**
   * The received bytes, or NULL. Stays as it is until the next io_reactor_wait() on the same reactor. A zero byte
   * follows the bytes, unless the buffer is the caller's own.
   */
  void *buffer;
} io_event_t;

/**
 * What a reactor has done since it was created, and what it holds now.
 */
typedef struct {
  /**
   * Calls of io_reactor_wait().
   */
  uint64_t waits;
  /**
   * Calls into the operating system, the waits included. The caller's own recv, send and accept are not in it.
   */
  uint64_t kernel_calls;
  /**
   * Events handed out.
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
   * Windows: bytes of io_reactor_post_write() that the system has not taken yet. Those of a removed socket count until
   * its cancelled send has ended, which takes a wait or more.
   */
  uint64_t queued_bytes;
} io_reactor_stats_t;

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Creates a reactor. Several may live side by side, each used by one thread at a time. On Windows it starts Winsock, for
 * sockets that the caller makes after it.
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
 * Whatever is in flight is cancelled and taken back first. Registered sockets stay open: they are the caller's. No other
 * thread may be using the reactor, or use it later; that includes io_reactor_wakeup() and io_reactor_post().
 *
 * POSIX: after a fork() each of the two processes has a reactor of its own, with the same sockets registered, and may go
 * on with it, destroy it, or leave it; nothing of that is noticed by the other one. Both report a shared socket, so one of
 * them removes it. At the fork no other thread may be inside the reactor, except in io_reactor_wakeup() and
 * io_reactor_post(). A post is delivered in the process that has made it: one from before the fork comes in the parent.
 * The library's descriptors must stay open in a process that goes on. vfork() and posix_spawn() change
 * nothing; a child that is made without the C library's fork() must leave the reactor alone.
 */
void io_reactor_destroy(io_reactor_t *reactor);

/**
 * Registers a socket, whose events will carry `context`. `events`: EVENT_READ and EVENT_WRITE, as io_reactor_modify()
 * takes them. Other flags are ignored.
 *
 * A listening socket gives EVENT_READ while connections wait; the caller accepts them. For a connected socket on POSIX,
 * EVENT_READ and EVENT_WRITE say that a read or write will not block, and are repeated by each wait until that is no
 * longer so; other descriptors will do too, and files are always ready. On Windows, EVENT_READ here starts a first
 * receive, and the event brings the bytes; EVENT_WRITE means nothing before io_reactor_modify() asks for it. A socket of
 * datagrams (UDP) gives EVENT_READ while there are some, on both systems; the caller receives them. It and a listening
 * socket become non-blocking on Windows.
 *
 * The socket stays the caller's. Remove it before closing it. A number that was closed and not removed, and is another
 * socket's by now, may be added all the same: the old registration is dropped.
 *
 * Returns 0, or -1: NULL reactor, no valid socket, registered already, or (Windows) nothing can be received from it, or its
 * last registration ended before all of its io_reactor_post_write() had gone out, see io_reactor_remove().
 */
int io_reactor_add(io_reactor_t *reactor,
                   socket_fd_t fd,
                   void *context,
                   int events);

/**
 * Changes what is reported of a socket. 0 is allowed and means nothing; on POSIX not even the end of a socket without an
 * interest is reported.
 *
 * On Windows only EVENT_WRITE has a meaning, as reading is asked for by io_reactor_post_read(): one EVENT_WRITE without
 * bytes comes as soon as the socket takes more, which is how to go on after a send() that would have blocked. Ask again
 * after each. Without EVENT_WRITE such a request is withdrawn. For unknown sockets, listening ones and those of datagrams
 * nothing happens.
 *
 * It goes by the number. One that was closed without io_reactor_remove(), and is another socket's by now, may be taken for
 * the old one, with the old context.
 *
 * Returns 0, or -1: NULL reactor; on POSIX also for a socket that is not registered.
 */
int io_reactor_modify(io_reactor_t *reactor,
                      socket_fd_t fd,
                      int events);

/**
 * Forgets a socket. No later wait returns an event of this registration, whatever was in flight; events that an earlier
 * wait has put into the caller's array stay there. The socket stays open, and may be added again. On Windows bytes that
 * were received for it and not delivered are lost with it, and an io_reactor_post_write() that is in flight is cancelled:
 * an unknown part of it has been sent by then, and what was posted after it has not, so the stream has a hole. Close such
 * a socket: io_reactor_add() refuses it. To go on with a socket, wait for the EVENT_WRITE of all that was posted before
 * removing it.
 *
 * Returns 0 (also for a socket that is not registered), or -1: NULL reactor; on Windows also for INVALID_SOCKET.
 */
int io_reactor_remove(io_reactor_t *reactor,
                      socket_fd_t fd);

/**
 * Waits until something happens, for up to `timeout`, and puts up to `max_events` events into `events`. All sources are
 * asked, and what did not fit comes first the next time (on POSIX, if it is still so by then). A timeout is rounded up to
 * what the system can measure. NULL, or a negative time, means no timeout; zero means not to wait. `tv_usec` may be a
 * million or more, or negative: the sum of both counts.
 *
 * POSIX: the wait blocks once. Whatever ends that without an event returns 0: a signal handler that runs in this thread
 * while it is blocked (with SA_RESTART or without), io_reactor_wakeup(), or a wake-up for nothing. So a driver whose
 * handlers only set a flag looks at its flags after each wait. A handler that runs just before the wait blocks does not
 * end it: with a signal that comes once, and not again and again like a heart beat's, let the handler call
 * io_reactor_wakeup(). The library's own threads block all signals. Windows: a wait that io_reactor_wakeup() does not end
 * lasts for the whole timeout.
 *
 * Returns how many events that is. 0: the time is up, or one of the above. -1: NULL reactor or events, max_events below 1,
 * another thread is inside the reactor, or the system's wait has failed before there was an event.
 */
int io_reactor_wait(io_reactor_t *reactor,
                    io_event_t *events,
                    int max_events,
                    struct timeval *timeout);

/**
 * Windows: asks for the next receive on a connected socket; the bytes come with its EVENT_READ. With a buffer they are
 * in it, up to `len` at a time (and more of them, if there are any, with the next io_reactor_post_read()); it must stay
 * valid until then, or until the socket is removed. Without (NULL or 0 bytes) they are in a buffer of the library's.
 * There is never more than one receive in flight: asking again does no harm.
 *
 * POSIX: does nothing, as the caller reads.
 *
 * Returns 0, or -1: NULL reactor; on Windows also for a socket that is not registered or not a connected one, or whose end
 * was reported.
 */
int io_reactor_post_read(io_reactor_t *reactor,
                         socket_fd_t fd,
                         void *buffer,
                         size_t len);

/**
 * Windows: sends a copy of `len` bytes, all of them, after whatever was posted before. One EVENT_WRITE with that number
 * of bytes follows when the system has taken them.
 *
 * POSIX: does nothing, as the caller writes.
 *
 * Returns 0, or -1: NULL reactor; on Windows also for a NULL buffer, for 0 bytes, for a socket that is not registered or
 * was reset or has failed, and when more than 1 GiB would be queued. Then nothing of it is sent. After the EVENT_CLOSE of an
 * orderly end the other side may still read, so this goes on working.
 */
int io_reactor_post_write(io_reactor_t *reactor,
                          socket_fd_t fd,
                          void *buffer,
                          size_t len);

/**
 * Registers standard input, whose events will carry `context`. The caller reads it.
 *
 * A terminal or console: EVENT_READ without a buffer while there is input. One that is hung up is reported once, with
 * EVENT_CLOSE or EVENT_ERROR. On Windows input means key presses: other records (mouse, focus, size, keys going up) are
 * thrown away where they stand before one.
 *
 * A pipe or a file: EVENT_READ without a buffer, from each wait while there are bytes, and once at the end of the input,
 * which the caller finds by reading. Nothing is consumed. Once the end has been reported there are no further events,
 * whether it was read or not. A device such as /dev/null or NUL is at its end. Where the system does not tell whether
 * there are bytes (Windows: pipes of another kind than its own; POSIX: other devices), a read may block, and each wait
 * reports EVENT_READ, also at the end: call io_reactor_remove_console() when a read returns 0 bytes.
 *
 * Windows: while a wait finds a pipe empty, a thread of the library waits for it in a read of zero bytes. Until that is
 * over, other calls on the same handle may block, unless it was opened with FILE_FLAG_OVERLAPPED: read when there is an
 * event, and not in between. io_reactor_remove_console() ends it.
 *
 * A second call changes the context. Returns 0, or -1: NULL reactor, there is no usable standard input, it is registered
 * with other flags (which mean nothing for a terminal or console), or (Windows, a pipe or a file) with another reactor.
 */
int io_reactor_add_console(io_reactor_t *reactor,
                           void *context);

/**
 * Registers standard input, as io_reactor_add_console() does, with `flags`: 0 or IO_REACTOR_CONSOLE_BUFFERED.
 *
 * Buffered, a pipe or a file is read by the library: EVENT_READ with the bytes, up to 4096 at a time, then EVENT_CLOSE
 * once at the end of the input. On Windows a thread reads ahead, so the caller leaves standard input alone. A terminal or
 * console is never buffered.
 *
 * Returns 0, or -1: as io_reactor_add_console(), and for unknown flags.
 */
int io_reactor_add_console_ex(io_reactor_t *reactor,
                              void *context,
                              int flags);

/**
 * Forgets standard input: no later wait reports it, and io_reactor_add_console() may be called again. What was read of a
 * buffered pipe or file and not delivered yet is lost.
 *
 * Returns 0 (also if it is not registered), or -1: NULL reactor.
 */
int io_reactor_remove_console(io_reactor_t *reactor);

/**
 * What standard input turned out to be when io_reactor_add_console() was called.
 */
console_type_t io_reactor_get_console_type(io_reactor_t *reactor);

/**
 * Ends the wait that is under way, or else the next one. Any number of calls before that count as one. There is no
 * event: a wait that had nothing else returns 0.
 *
 * Any thread. On POSIX also from a signal handler.
 *
 * Returns 0, or -1: NULL reactor.
 */
int io_reactor_wakeup(io_reactor_t *reactor);

/**
 * Sends a message to the reactor: an event with this context and EVENT_POST, and `data` as its buffer. Messages are
 * never merged or lost, and those of one thread arrive in order. The library does not look at what the two point to.
 *
 * Any thread; not from a signal handler.
 *
 * Returns 0, or -1: NULL reactor, 65536 messages wait to be collected, or the system is out of memory for a wake-up. Then
 * the message was not taken, and may be sent again.
 */
int io_reactor_post(io_reactor_t *reactor,
                    void *context,
                    void *data);

/**
 * Sets a timer: after `delay_us` microseconds, and with a `period_us` other than 0 every so many microseconds after
 * that, an event comes with this context and EVENT_TIMER. It is never early and does not drift. Ticks for which nobody
 * waited in time are not repeated but counted, in bytes_transferred.
 *
 * Returns the timer's id, or 0: NULL reactor.
 */
uint64_t io_reactor_timer_add(io_reactor_t *reactor,
                              void *context,
                              uint64_t delay_us,
                              uint64_t period_us);

/**
 * Cancels a timer; no event of it comes any more. Ids are not reused, so an old one does no harm; but an id of another
 * reactor may be this one's as well.
 *
 * Returns 0 (also for a timer that is gone), or -1: NULL reactor, or 0, which is no timer's id.
 */
int io_reactor_timer_cancel(io_reactor_t *reactor,
                            uint64_t timer);

/**
 * Puts what the reactor has done and holds into `stats`. `size` is sizeof(io_reactor_stats_t) as the caller was
 * compiled: a later library may know more, and fills in no more than that.
 *
 * Returns 0, or -1: NULL reactor or stats.
 */
int io_reactor_stats(io_reactor_t *reactor, io_reactor_stats_t *stats, size_t size);

/**
 * Why the last call in this thread that returned -1, NULL or 0 for "no" did so. Never NULL; stays valid until the next
 * failing call in the same thread. Any thread.
 */
const char *io_reactor_last_error(void);

/**
 * The library's version, such as "0.1.0". Compare with IO_REACTOR_VERSION, which is the header's.
 */
const char *io_reactor_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif /* __cplusplus */

#endif  /* IO_REACTOR_H */
