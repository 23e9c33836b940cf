// The cases that the reference driver names for its own reactor, in C++ and with a driver's order of includes: its own
// socket_comm.h, which has its own socket_fd_t, comes first.
#ifdef _WIN32
#include <winsock2.h>
typedef SOCKET socket_fd_t;
#else
typedef int socket_fd_t;
#endif

extern "C" {
#include "io_reactor.h"
}
#include "check.h"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

class Reactor {
public:
    Reactor() : reactor(io_reactor_create()) { CHECK(reactor != nullptr); }
    ~Reactor() { io_reactor_destroy(reactor); }
    Reactor(const Reactor &) = delete;
    Reactor &operator=(const Reactor &) = delete;
    operator io_reactor_t *() const { return reactor; }

private:
    io_reactor_t *reactor;
};

void *context(std::uintptr_t number)
{
    return reinterpret_cast<void *>(number);
}

void CompletionWithDataInBuffer()
{
    Reactor reactor;
    socket_fd_t pair[2];
    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], context(0xBEEF), EVENT_READ) == 0);
    CHECK(send(pair[1], "test", 4, 0) == 4);
    io_event_t events[10];
    struct timeval timeout = {1, 0};
    CHECK(io_reactor_wait(reactor, events, 10, &timeout) == 1);
    CHECK(events[0].context == context(0xBEEF));
    CHECK(events[0].event_type == EVENT_READ);
#ifdef _WIN32
    CHECK(events[0].bytes_transferred == 4);
    CHECK(std::strcmp("test", static_cast<char *>(events[0].buffer)) == 0);
#else
    char bytes[8];
    CHECK(events[0].bytes_transferred == 0 && events[0].buffer == nullptr);
    CHECK(recv(pair[0], bytes, sizeof bytes, 0) == 4 && std::memcmp(bytes, "test", 4) == 0);
#endif
    CHECK(io_reactor_remove(reactor, pair[0]) == 0);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

void GracefulClose()
{
    Reactor reactor;
    socket_fd_t pair[2];
    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], context(1), EVENT_READ) == 0);
    CHECK(send(pair[1], "bye", 3, 0) == 3);
    close_socket(pair[1]);
    char bytes[8];
    io_event_t event = wait_one(reactor);
    CHECK(take_bytes(reactor, pair[0], &event, bytes, 8) == 3);
    event = wait_one(reactor);
    CHECK(event.context == context(1));
#ifdef _WIN32
    CHECK(event.event_type == EVENT_CLOSE && event.bytes_transferred == 0);
    wait_silence(reactor);
#else
    CHECK(event.event_type & (EVENT_READ | EVENT_CLOSE));
    CHECK(recv(pair[0], bytes, sizeof bytes, 0) == 0);
#endif
    CHECK(io_reactor_remove(reactor, pair[0]) == 0);
    close_socket(pair[0]);
}

void CancelledOperations()
{
    Reactor reactor;
    socket_fd_t pair[2];
    // Removed with a receive in flight: silence.
    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], context(1), EVENT_READ) == 0);
    wait_silence(reactor);
    CHECK(io_reactor_remove(reactor, pair[0]) == 0);
    wait_silence(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
#ifdef _WIN32
    // Cancelled by the caller without the library's knowledge, and closed in that state: an event, not a hang.
    for (int closed = 0; closed < 2; closed++) {
        make_pair(pair);
        CHECK(io_reactor_add(reactor, pair[0], context(2), EVENT_READ) == 0);
        wait_silence(reactor);
        if (closed)
            close_socket(pair[0]);
        else
            CHECK(CancelIoEx(reinterpret_cast<HANDLE>(pair[0]), nullptr));
        io_event_t event = wait_one(reactor);
        CHECK(event.context == context(2) && event.event_type == EVENT_CLOSE);
        CHECK(io_reactor_remove(reactor, pair[0]) == 0);
        if (!closed)
            close_socket(pair[0]);
        close_socket(pair[1]);
    }
#endif
}

void MultipleReadsOnSameSocket()
{
    Reactor reactor;
    socket_fd_t pair[2];
    make_pair(pair);
    CHECK(io_reactor_add(reactor, pair[0], context(1), EVENT_READ) == 0);
    for (int round = 0; round < 100; round++) {
        char text[16], bytes[16];
        const int length = std::snprintf(text, sizeof text, "message %d", round);
        send_all(pair[1], text, static_cast<size_t>(length));
        io_event_t event = wait_one(reactor);
        CHECK(event.context == context(1));
        CHECK(take_bytes(reactor, pair[0], &event, bytes, sizeof bytes) == length);
        CHECK(std::memcmp(text, bytes, static_cast<size_t>(length)) == 0);
    }
    close_socket(pair[0]);
    close_socket(pair[1]);
}

socket_fd_t accept_event(const io_event_t &event, socket_fd_t listener)
{
    CHECK(event.event_type == EVENT_READ && event.buffer == nullptr);
    const socket_fd_t accepted = accept(listener, nullptr, nullptr);
    CHECK(accepted != INVALID_SOCKET);
    return accepted;
}

void BasicListenAccept()
{
    Reactor reactor;
    sockaddr_in address;
    const socket_fd_t listener = make_listener(&address);
    CHECK(io_reactor_add(reactor, listener, context(7), EVENT_READ) == 0);
    wait_silence(reactor);
    for (int round = 0; round < 3; round++) {
        const socket_fd_t client = connect_to(&address);
        const io_event_t event = wait_one(reactor);
        CHECK(event.context == context(7));
        const socket_fd_t accepted = accept_event(event, listener);
        // hc08: data that arrives at the accepted socket is not an event of the listener.
        CHECK(io_reactor_add(reactor, accepted, context(8), EVENT_READ) == 0);
        send_all(client, "x", 1);
        CHECK(wait_one(reactor).context == context(8));
        CHECK(io_reactor_remove(reactor, accepted) == 0);
        close_socket(accepted);
        close_socket(client);
        wait_silence(reactor);
    }
    CHECK(io_reactor_remove(reactor, listener) == 0);
    close_socket(connect_to(&address));
    wait_silence(reactor);
    // And again: it was removed, not closed.
    CHECK(io_reactor_add(reactor, listener, context(9), EVENT_READ) == 0);
    CHECK(wait_one(reactor).context == context(9));
    close_socket(listener);
}

void MultipleListeningPorts()
{
    Reactor reactor;
    sockaddr_in addresses[5];
    socket_fd_t listeners[5];
    for (std::uintptr_t i = 0; i < 5; i++) {
        listeners[i] = make_listener(&addresses[i]);
        CHECK(io_reactor_add(reactor, listeners[i], context(i), EVENT_READ) == 0);
    }
    for (std::uintptr_t i = 5; i-- > 0;) {
        const socket_fd_t client = connect_to(&addresses[i]);
        const io_event_t event = wait_one(reactor);
        CHECK(event.context == context(i));
        close_socket(accept_event(event, listeners[i]));
        close_socket(client);
    }
    wait_silence(reactor);
    for (const socket_fd_t listener : listeners)
        close_socket(listener);
}

void MultipleSimultaneousConnections()
{
    Reactor reactor;
    sockaddr_in address;
    const socket_fd_t listener = make_listener(&address);
    CHECK(io_reactor_add(reactor, listener, context(1), EVENT_READ) == 0);
    std::vector<socket_fd_t> clients, accepted;
    for (int i = 0; i < 10; i++)
        clients.push_back(connect_to(&address));
    // One accept for each event: connections that still wait are reported again.
    while (accepted.size() < clients.size())
        accepted.push_back(accept_event(wait_one(reactor), listener));
    wait_silence(reactor);
    for (const socket_fd_t fd : clients)
        close_socket(fd);
    for (const socket_fd_t fd : accepted)
        close_socket(fd);
    close_socket(listener);
}

} // namespace

int main(int argc, char **argv)
{
    check_begin(argc, argv);
    RUN(CompletionWithDataInBuffer);
    RUN(GracefulClose);
    RUN(CancelledOperations);
    RUN(MultipleReadsOnSameSocket);
    RUN(BasicListenAccept);
    RUN(MultipleListeningPorts);
    RUN(MultipleSimultaneousConnections);
    return check_end();
}
