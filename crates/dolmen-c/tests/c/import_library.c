/*
 * A program without a C library, as `cargo xtask test-c` links it with an import library for MSVC: it creates a reactor
 * (or a runtime), sends a message through it, and destroys it. Its exit code is 0, or the number of the first failure.
 */
#ifdef HEADER_IO_REACTOR
#include "io_reactor.h"
#else
#include "async_runtime.h"
#endif

__declspec(dllimport) void __stdcall ExitProcess(unsigned int code);

static unsigned int try_all(void)
{
    static int key;
    io_event_t event;
    struct timeval second = { 20, 0 };

#ifdef HEADER_IO_REACTOR
    const char *version = io_reactor_version();
    const char *header = IO_REACTOR_VERSION;
    io_reactor_t *reactor = io_reactor_create();

    while (*version && *version == *header) {
        version++, header++;
    }
    if (*version != *header) {
        return 1;
    }
    if (!reactor) {
        return 2;
    }
    if (io_reactor_post(reactor, &key, &event) != 0) {
        return 3;
    }
    if (io_reactor_wait(reactor, &event, 1, &second) != 1 || event.context != &key || event.buffer != &event) {
        return 4;
    }
    io_reactor_destroy(reactor);
#else
    async_runtime_t *runtime = async_runtime_init();

    if (!runtime) {
        return 2;
    }
    if (async_runtime_post_completion(runtime, (uintptr_t)&key, 7) != 0) {
        return 3;
    }
    if (async_runtime_wait(runtime, &event, 1, &second) != 1 || event.context != &key || event.bytes_transferred != 7) {
        return 4;
    }
    if (!async_runtime_get_iocp(runtime)) {
        return 5;
    }
    async_runtime_deinit(runtime);
#endif
    return 0;
}

void start(void)
{
    ExitProcess(try_all());
}
