/* Standard input: a terminal, a pipe, a file, nothing. The test runner gives Windows programs a console. */
#ifndef _WIN32
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#endif
#include "check.h"

#ifndef _WIN32
#include <termios.h>
#endif

static int a, b; /* contexts */

/* ---- what standard input is ---- */

#ifdef _WIN32
typedef HANDLE end_t; /* the other end of a pipe */

static void become_pipe(end_t *writer)
{
    HANDLE reader;

    CHECK(CreatePipe(&reader, writer, NULL, 0));
    CHECK(SetStdHandle(STD_INPUT_HANDLE, reader));
}

static void write_bytes(end_t writer, const char *bytes, size_t length)
{
    DWORD written;

    CHECK(WriteFile(writer, bytes, (DWORD)length, &written, NULL) && written == length);
}

static void close_end(end_t writer)
{
    CHECK(CloseHandle(writer));
}

static void become_file(const char *bytes, size_t length)
{
    char path[MAX_PATH], name[MAX_PATH];
    DWORD written;
    HANDLE file;

    CHECK(GetTempPathA(sizeof path, path) && GetTempFileNameA(path, "ior", 0, name));
    file = CreateFileA(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    CHECK(file != INVALID_HANDLE_VALUE);
    CHECK(WriteFile(file, bytes, (DWORD)length, &written, NULL) && written == length);
    CHECK(SetFilePointer(file, 0, NULL, FILE_BEGIN) == 0);
    CHECK(SetStdHandle(STD_INPUT_HANDLE, file));
}

static void become_null(void)
{
    CHECK(SetStdHandle(STD_INPUT_HANDLE, CreateFileA("NUL", GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL)));
}

static void become_nothing(void)
{
    CHECK(SetStdHandle(STD_INPUT_HANDLE, INVALID_HANDLE_VALUE));
}

/* What a driver does that reads its standard input itself. Returns 0 at the end. */
static int read_input(char *bytes, int room)
{
    DWORD count = 0;

    if (!ReadFile(GetStdHandle(STD_INPUT_HANDLE), bytes, (DWORD)room, &count, NULL))
        CHECK(GetLastError() == ERROR_BROKEN_PIPE && count == 0);
    return (int)count;
}

static HANDLE console;

static void become_console(void)
{
    console = CreateFileA("CONIN$", GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                          OPEN_EXISTING, 0, NULL);
    CHECK(console != INVALID_HANDLE_VALUE); /* run it as the test runner does, with a terminal */
    CHECK(SetStdHandle(STD_INPUT_HANDLE, console));
    CHECK(FlushConsoleInputBuffer(console));
}

static void put_record(WORD type, int down, WCHAR character)
{
    INPUT_RECORD record;
    DWORD written;

    memset(&record, 0, sizeof record);
    record.EventType = type;
    if (type == KEY_EVENT) {
        record.Event.KeyEvent.bKeyDown = down;
        record.Event.KeyEvent.wRepeatCount = 1;
        record.Event.KeyEvent.uChar.UnicodeChar = character;
    }
    CHECK(WriteConsoleInputW(console, &record, 1, &written) && written == 1);
}

static void type_key(char character)
{
    put_record(KEY_EVENT, 1, (WCHAR)character);
    put_record(KEY_EVENT, 0, (WCHAR)character);
}

static char read_key(void)
{
    INPUT_RECORD record;
    DWORD count;

    do
        CHECK(ReadConsoleInputW(console, &record, 1, &count) && count == 1);
    while (record.EventType != KEY_EVENT || !record.Event.KeyEvent.bKeyDown);
    return (char)record.Event.KeyEvent.uChar.UnicodeChar;
}
#else
typedef int end_t;

static void become_pipe(end_t *writer)
{
    int ends[2];

    CHECK(pipe(ends) == 0 && dup2(ends[0], 0) == 0);
    close(ends[0]);
    *writer = ends[1];
}

static void write_bytes(end_t writer, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(writer, bytes, length);

        CHECK(written > 0);
        bytes += written;
        length -= (size_t)written;
    }
}

static void close_end(end_t writer)
{
    CHECK(close(writer) == 0);
}

static void become_file(const char *bytes, size_t length)
{
    FILE *file = tmpfile();

    CHECK(file != NULL && fwrite(bytes, 1, length, file) == length && fflush(file) == 0);
    CHECK(dup2(fileno(file), 0) == 0 && lseek(0, 0, SEEK_SET) == 0);
    fclose(file);
}

static void become_null(void)
{
    int null = open("/dev/null", O_RDONLY);

    CHECK(null >= 0 && dup2(null, 0) == 0);
    if (null != 0)
        close(null);
}

static void become_nothing(void)
{
    CHECK(close(0) == 0);
}

/* What a driver does that reads its standard input itself. Returns 0 at the end. */
static int read_input(char *bytes, int room)
{
    int count = (int)read(0, bytes, (size_t)room);

    CHECK(count >= 0);
    return count;
}

static int master = -1;

static void become_console(void)
{
    struct termios raw;
    int slave;

    if (master >= 0)
        close(master);
    master = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(slave >= 0 && tcgetattr(slave, &raw) == 0);
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    CHECK(tcsetattr(slave, TCSANOW, &raw) == 0 && dup2(slave, 0) == 0);
    close(slave);
}

static void type_key(char character)
{
    CHECK(write(master, &character, 1) == 1);
}

static char read_key(void)
{
    char character;

    CHECK(read(0, &character, 1) == 1);
    return character;
}
#endif

static void write_end(end_t writer, const char *text)
{
    write_bytes(writer, text, strlen(text));
}

static void add_buffered(io_reactor_t *reactor)
{
    CHECK(io_reactor_add_console_ex(reactor, &a, IO_REACTOR_CONSOLE_BUFFERED) == 0);
}

/* Collects the bytes of a pipe or a file until its end, which has to be reported once. */
static void read_to_the_end(io_reactor_t *reactor, const char *expected)
{
    static char all[100000];
    size_t length = 0;

    for (;;) {
        io_event_t event = wait_one(reactor);
        CHECK(event.context == &a);
        if (event.event_type == EVENT_CLOSE)
            break;
        CHECK(event.event_type == EVENT_READ && event.buffer != NULL && event.bytes_transferred > 0);
        CHECK(length + (size_t)event.bytes_transferred < sizeof all);
        memcpy(all + length, event.buffer, (size_t)event.bytes_transferred);
        length += (size_t)event.bytes_transferred;
    }
    all[length] = '\0';
    CHECK(strcmp(all, expected) == 0);
    wait_silence(reactor);
}

/* ---- the cases ---- */

static void ConsoleReadable(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    int i;

    become_console();
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_NONE);
    CHECK(io_reactor_add_console(reactor, &b) == 0);
    CHECK(io_reactor_add_console(reactor, &a) == 0); /* another context */
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_REAL);
    for (i = 0; i < 3; i++) {
        type_key('x');
        event = wait_one(reactor);
        CHECK(event.context == &a && event.event_type == EVENT_READ && event.buffer == NULL);
        CHECK(wait_one(reactor).context == &a); /* until it is read */
        CHECK(read_key() == 'x');
        wait_silence(reactor);
    }
    io_reactor_destroy(reactor);
}

/* The caller may give it up and register it again, whatever its kind. */
static void a_removed_console_is_silent(void)
{
    io_reactor_t *reactor = io_reactor_create();

    become_console();
    CHECK(io_reactor_remove_console(NULL) == -1);
    CHECK(io_reactor_remove_console(reactor) == 0);
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    type_key('x');
    CHECK(wait_one(reactor).context == &a);
    CHECK(io_reactor_remove_console(reactor) == 0);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_NONE);
    wait_silence(reactor);
    CHECK(io_reactor_add_console(reactor, &b) == 0);
    CHECK(wait_one(reactor).context == &b);
    CHECK(read_key() == 'x');
    wait_silence(reactor);
    io_reactor_destroy(reactor);
}

#ifndef _WIN32
/* The bytes typed first, and then the end once: a hung-up terminal stays hung up, and each wait would report it. */
static void a_hung_up_terminal_is_reported_once(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;

    become_console();
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    type_key('x');
    CHECK(wait_one(reactor).event_type == EVENT_READ);
    CHECK(read_key() == 'x');
    close(master);
    master = -1;
    event = wait_one(reactor);
    CHECK(event.context == &a && (event.event_type & (EVENT_CLOSE | EVENT_ERROR)));
    wait_silence(reactor);
    io_reactor_destroy(reactor);
}
#endif

static void ConsoleNotReadable(void)
{
    io_reactor_t *reactor = io_reactor_create();

    become_console();
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    wait_silence(reactor);
#ifdef _WIN32
    {
        /* Hard case 26: records that are not key presses neither wake nor spin. */
        io_reactor_stats_t before, after;
        INPUT_RECORD record;
        DWORD count;

        CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
        put_record(FOCUS_EVENT, 0, 0);
        put_record(MOUSE_EVENT, 0, 0);
        put_record(WINDOW_BUFFER_SIZE_EVENT, 0, 0);
        put_record(MENU_EVENT, 0, 0);
        put_record(KEY_EVENT, 0, L'x');
        wait_silence(reactor);
        CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0);
        CHECK(after.kernel_calls - before.kernel_calls < 60);
        put_record(FOCUS_EVENT, 0, 0);
        type_key('y');
        CHECK(wait_one(reactor).context == &a);
        CHECK(PeekConsoleInputW(console, &record, 1, &count) && count == 1);
        CHECK(record.EventType == KEY_EVENT && record.Event.KeyEvent.bKeyDown);
        CHECK(read_key() == 'y');
    }
#endif
    io_reactor_destroy(reactor);
}

static void ConsoleWithOtherEvents(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t pair[2];
    io_event_t events[8];
    int i, count, seen = 0;

    become_console();
    make_pair(pair);
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == 0);
    wait_silence(reactor);
    type_key('z');
    send_all(pair[1], "x", 1);
    while (seen != 3) {
        count = wait_ms(reactor, events, 8, DEADLINE_MS);
        CHECK(count > 0);
        for (i = 0; i < count; i++)
            seen |= events[i].context == &a ? 1 : events[i].context == &b ? 2 : 4;
    }
    CHECK(read_key() == 'z');
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

static void a_pipe_brings_its_bytes_then_its_end(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    end_t writer;

    become_pipe(&writer);
    add_buffered(reactor);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_PIPE);
    wait_silence(reactor); /* hard case 31 */
    write_end(writer, "say hello\n");
    event = wait_one(reactor);
    CHECK(event.context == &a && event.event_type == EVENT_READ && event.bytes_transferred == 10);
    CHECK(strcmp((const char *)event.buffer, "say hello\n") == 0);
    wait_silence(reactor);
    /* Hard case 36: a last line without an end of line. */
    write_end(writer, "a\nb");
    close_end(writer);
    read_to_the_end(reactor, "a\nb");
    io_reactor_destroy(reactor);
}

/* The caller reads standard input: each wait reports it while there are bytes, and once at its end. */
static void hc50_a_pipe_is_reported_and_left_to_the_caller(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    char bytes[100];
    end_t writer;
    int round;

    become_pipe(&writer);
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_PIPE);
    CHECK(io_reactor_add_console_ex(reactor, &a, IO_REACTOR_CONSOLE_BUFFERED) == -1); /* not both */
    CHECK(io_reactor_add_console_ex(reactor, &a, 2) == -1);
    wait_silence(reactor);
    for (round = 0; round < 20; round++) {
        write_end(writer, "say hello\n");
        event = wait_one(reactor);
        CHECK(event.context == &a && event.event_type == EVENT_READ);
        CHECK(event.buffer == NULL && event.bytes_transferred == 0);
        CHECK(wait_one(reactor).context == &a); /* until it is read */
        CHECK(read_input(bytes, 4) == 4 && wait_one(reactor).context == &a);
        CHECK(read_input(bytes + 4, 96) == 6 && memcmp(bytes, "say hello\n", 10) == 0);
        wait_silence(reactor);
    }
    /* Hard case 36: a last line without an end of line. */
    write_end(writer, "a\nb");
    close_end(writer);
    CHECK(wait_one(reactor).event_type == EVENT_READ);
    CHECK(read_input(bytes, 100) == 3 && memcmp(bytes, "a\nb", 3) == 0);
    event = wait_one(reactor);
    CHECK(event.context == &a && event.event_type == EVENT_READ && event.buffer == NULL);
    wait_silence(reactor); /* once, whether it was read or not */
    CHECK(read_input(bytes, 100) == 0);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
}

/* Given up and registered again with bytes in it, and at its end. */
static void an_unread_pipe_is_reported_again(void)
{
    io_reactor_t *reactor = io_reactor_create();
    char bytes[10];
    end_t writer;

    become_pipe(&writer);
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    wait_silence(reactor);
    CHECK(io_reactor_remove_console(reactor) == 0);
    write_end(writer, "x");
    wait_silence(reactor);
    CHECK(io_reactor_add_console(reactor, &b) == 0);
    CHECK(wait_one(reactor).context == &b);
    CHECK(io_reactor_remove_console(reactor) == 0);
    CHECK(read_input(bytes, 10) == 1);
    close_end(writer);
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    CHECK(wait_one(reactor).context == &a);
    wait_silence(reactor);
    CHECK(io_reactor_remove_console(reactor) == 0);
    CHECK(io_reactor_add_console(reactor, &b) == 0);
    CHECK(wait_one(reactor).context == &b);
    CHECK(read_input(bytes, 10) == 0);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
}

/* ---- large inputs, byte by byte ---- */

static char big[1 << 20];

static void fill_big(void)
{
    size_t i;

    for (i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 31 + i / 257 * 7);
}

struct writing {
    end_t end;
    size_t length;
};

static THREAD_RESULT write_big(void *argument)
{
    struct writing *writing = argument;

    write_bytes(writing->end, big, writing->length);
    close_end(writing->end);
    return 0;
}

/* Lets `length` bytes arrive through waits with room for 16 events, and compares them when all events of a wait have been
   returned: it detects a buffer that two events share, or that was freed. */
static void large_input(int pipe, int buffered, size_t length)
{
    io_reactor_t *reactor = io_reactor_create();
    static char bytes[5000];
    struct writing writing;
    thread_t writer;
    size_t got = 0;
    int ended = 0;

    memset(&writing, 0, sizeof writing);
    writing.length = length;
    if (pipe) {
        become_pipe(&writing.end);
        writer = start_thread(write_big, &writing);
    } else {
        become_file(big, length);
    }
    CHECK(io_reactor_add_console_ex(reactor, &a, buffered ? IO_REACTOR_CONSOLE_BUFFERED : 0) == 0);
    while (!ended) {
        io_event_t events[16];
        int i, count = wait_ms(reactor, events, 16, DEADLINE_MS);

        CHECK(count > 0);
        for (i = 0; i < count; i++) {
            CHECK(events[i].context == &a && !ended);
            if (!buffered) {
                int read = read_input(bytes, (int)sizeof bytes);

                CHECK(events[i].event_type == EVENT_READ && events[i].buffer == NULL);
                CHECK(got + (size_t)read <= length && memcmp(bytes, big + got, (size_t)read) == 0);
                got += (size_t)read;
                ended = read == 0;
            } else if (events[i].event_type == EVENT_CLOSE) {
                ended = 1;
            } else {
                size_t some = (size_t)events[i].bytes_transferred;

                CHECK(events[i].event_type == EVENT_READ && some > 0 && got + some <= length);
                CHECK(memcmp(events[i].buffer, big + got, some) == 0);
                CHECK(((const char *)events[i].buffer)[some] == '\0');
                got += some;
            }
        }
    }
    CHECK(got == length);
    wait_silence(reactor);
    if (pipe)
        join_thread(writer);
    io_reactor_destroy(reactor);
}

static void hc48_large_inputs_arrive_whole(void)
{
    static const size_t lengths[] = { 0, 1, 4096, 8192, 40000, 1000000, sizeof big };
    size_t i, count = slow() ? 5 : sizeof lengths / sizeof *lengths;
    int way;

    fill_big();
    for (i = 0; i < count; i++)
        for (way = 0; way < 4; way++)
            large_input(way & 1, way & 2, lengths[i]);
}

#ifdef _WIN32
/* A parent may give its child the overlapped end of a pipe. */
static void an_overlapped_pipe_is_waited_for_as_well(void)
{
    int buffered;

    for (buffered = 0; buffered < 2; buffered++) {
        char name[100];
        io_reactor_t *reactor = io_reactor_create();
        io_event_t event;
        HANDLE reader, writer;
        OVERLAPPED operation;
        DWORD count = 0;
        char bytes[10];

        snprintf(name, sizeof name, "\\\\.\\pipe\\io_reactor_%lu_%d", GetCurrentProcessId(), buffered);
        reader = CreateNamedPipeA(name, PIPE_ACCESS_INBOUND | FILE_FLAG_OVERLAPPED, PIPE_TYPE_BYTE | PIPE_WAIT, 1,
                                  4096, 4096, 0, NULL);
        CHECK(reader != INVALID_HANDLE_VALUE);
        writer = CreateFileA(name, GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
        CHECK(writer != INVALID_HANDLE_VALUE);
        CHECK(SetStdHandle(STD_INPUT_HANDLE, reader));
        CHECK(io_reactor_add_console_ex(reactor, &a, buffered ? IO_REACTOR_CONSOLE_BUFFERED : 0) == 0);
        wait_silence(reactor);
        write_end(writer, "hello");
        event = wait_one(reactor);
        CHECK(event.context == &a && event.event_type == EVENT_READ);
        if (buffered) {
            CHECK(event.bytes_transferred == 5 && memcmp(event.buffer, "hello", 5) == 0);
        } else {
            memset(&operation, 0, sizeof operation);
            operation.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL);
            CHECK(ReadFile(reader, bytes, 10, NULL, &operation) || GetLastError() == ERROR_IO_PENDING);
            CHECK(GetOverlappedResult(reader, &operation, &count, TRUE) && count == 5);
            CHECK(memcmp(bytes, "hello", 5) == 0);
            CloseHandle(operation.hEvent);
        }
        wait_silence(reactor);
        if (buffered)
            close_end(writer);
        io_reactor_destroy(reactor); /* while its thread waits */
        if (!buffered)
            close_end(writer);
        CHECK(SetStdHandle(STD_INPUT_HANDLE, INVALID_HANDLE_VALUE) && CloseHandle(reader));
    }
}
#endif

#ifdef _WIN32
static HANDLE odd_pipe(DWORD mode, const char *what, HANDLE *writer)
{
    char name[100];
    HANDLE reader;

    snprintf(name, sizeof name, "\\\\.\\pipe\\io_reactor_%lu_%s", GetCurrentProcessId(), what);
    reader = CreateNamedPipeA(name, PIPE_ACCESS_INBOUND, mode, 1, 65536, 65536, 0, NULL);
    CHECK(reader != INVALID_HANDLE_VALUE);
    *writer = CreateFileA(name, GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(*writer != INVALID_HANDLE_VALUE && SetStdHandle(STD_INPUT_HANDLE, reader));
    return reader;
}

/* A pipe that does not let a read wait: empty is not its end, and the wait costs next to nothing. */
static void a_pipe_that_does_not_wait_is_waited_for(void)
{
    int buffered;

    for (buffered = 0; buffered < 2; buffered++) {
        io_reactor_t *reactor = io_reactor_create();
        HANDLE writer, reader = odd_pipe(PIPE_TYPE_BYTE | PIPE_NOWAIT, buffered ? "nowait_b" : "nowait", &writer);
        io_reactor_stats_t before, after;
        io_event_t event;
        char bytes[10];

        CHECK(io_reactor_add_console_ex(reactor, &a, buffered ? IO_REACTOR_CONSOLE_BUFFERED : 0) == 0);
        CHECK(io_reactor_stats(reactor, &before, sizeof before) == 0);
        wait_silence(reactor);
        CHECK(io_reactor_stats(reactor, &after, sizeof after) == 0);
        CHECK(after.kernel_calls - before.kernel_calls < 40);
        write_end(writer, "hello");
        event = wait_one(reactor);
        CHECK(event.context == &a && event.event_type == EVENT_READ);
        if (buffered)
            CHECK(event.bytes_transferred == 5 && memcmp(event.buffer, "hello", 5) == 0);
        else
            CHECK(read_input(bytes, 10) == 5);
        wait_silence(reactor);
        close_end(writer);
        CHECK(wait_one(reactor).event_type == (buffered ? EVENT_CLOSE : EVENT_READ));
        wait_silence(reactor);
        io_reactor_destroy(reactor);
        CHECK(SetStdHandle(STD_INPUT_HANDLE, INVALID_HANDLE_VALUE) && CloseHandle(reader));
    }
}

/* A message longer than a chunk returns a warning, which is not an end. */
static void messages_arrive_whole(void)
{
    io_reactor_t *reactor = io_reactor_create();
    HANDLE writer, reader = odd_pipe(PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE | PIPE_WAIT, "message", &writer);
    size_t got = 0;
    io_event_t event;

    fill_big();
    add_buffered(reactor);
    write_bytes(writer, big, 10000);
    write_bytes(writer, big + 10000, 5);
    while (got < 10005) {
        event = wait_one(reactor);
        CHECK(event.event_type == EVENT_READ && memcmp(event.buffer, big + got, (size_t)event.bytes_transferred) == 0);
        got += (size_t)event.bytes_transferred;
    }
    close_end(writer);
    CHECK(wait_one(reactor).event_type == EVENT_CLOSE);
    io_reactor_destroy(reactor);
    CHECK(SetStdHandle(STD_INPUT_HANDLE, INVALID_HANDLE_VALUE) && CloseHandle(reader));
}

/* While one reactor waits for it, a query by another might block. */
static void standard_input_is_one_reactors(void)
{
    io_reactor_t *one = io_reactor_create(), *other = io_reactor_create();
    end_t writer;

    become_pipe(&writer);
    CHECK(io_reactor_add_console(one, &a) == 0);
    wait_silence(one);
    CHECK(io_reactor_add_console(other, &b) == -1);
    CHECK(strstr(io_reactor_last_error(), "another reactor") != NULL);
    CHECK(io_reactor_remove_console(one) == 0);
    CHECK(io_reactor_add_console(other, &b) == 0);
    close_end(writer);
    CHECK(wait_one(other).context == &b);
    io_reactor_destroy(one);
    io_reactor_destroy(other);
}
#endif

/* ---- a child that reads its standard input itself ---- */

/* Repeats its input on its output, as a driver would do that reads after an event. */
static int child_main(void)
{
    io_reactor_t *reactor = io_reactor_create();
    static char bytes[3000];

    CHECK(io_reactor_add_console(reactor, &a) == 0);
    for (;;) {
        io_event_t event;
        int count, written = 0;

        CHECK(io_reactor_wait(reactor, &event, 1, NULL) == 1);
        CHECK(event.context == &a && event.event_type == EVENT_READ && event.buffer == NULL);
        count = read_input(bytes, (int)sizeof bytes);
        if (count == 0)
            break;
        while (written < count) {
#ifdef _WIN32
            DWORD some = 0;
            CHECK(WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), bytes + written, (DWORD)(count - written), &some, NULL));
            written += (int)some;
#else
            ssize_t some = write(1, bytes + written, (size_t)(count - written));
            CHECK(some > 0);
            written += (int)some;
#endif
        }
    }
    wait_silence(reactor);
    io_reactor_destroy(reactor);
    return 0;
}

struct child {
    end_t input, output;
#ifdef _WIN32
    HANDLE process;
#else
    pid_t process;
#endif
};

static void start_child(struct child *child)
{
#ifdef _WIN32
    SECURITY_ATTRIBUTES inherited;
    PROCESS_INFORMATION process;
    STARTUPINFOA startup;
    HANDLE input, output;
    char command[MAX_PATH + 20];

    memset(&inherited, 0, sizeof inherited);
    inherited.nLength = sizeof inherited;
    inherited.bInheritHandle = TRUE;
    CHECK(CreatePipe(&input, &child->input, &inherited, 0) && CreatePipe(&child->output, &output, &inherited, 0));
    CHECK(SetHandleInformation(child->input, HANDLE_FLAG_INHERIT, 0));
    CHECK(SetHandleInformation(child->output, HANDLE_FLAG_INHERIT, 0));
    memset(&startup, 0, sizeof startup);
    startup.cb = sizeof startup;
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = input;
    startup.hStdOutput = output;
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    command[0] = '"';
    CHECK(GetModuleFileNameA(NULL, command + 1, MAX_PATH) < MAX_PATH);
    strcat(command, "\" --child");
    CHECK(CreateProcessA(NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process));
    CloseHandle(process.hThread);
    CloseHandle(input);
    CloseHandle(output);
    child->process = process.hProcess;
#else
    int input[2], output[2];

    CHECK(pipe(input) == 0 && pipe(output) == 0);
    child->process = fork();
    CHECK(child->process >= 0);
    if (child->process == 0) {
        char flag[] = "--child", *arguments[3];

        arguments[0] = check_argv[0];
        arguments[1] = flag;
        arguments[2] = NULL;
        if (dup2(input[0], 0) != 0 || dup2(output[1], 1) != 1)
            _exit(9);
        close(input[1]);
        close(output[0]);
        execv(check_argv[0], arguments);
        _exit(9);
    }
    close(input[0]);
    close(output[1]);
    child->input = input[1];
    child->output = output[0];
#endif
}

static void expect_output(struct child *child, const char *bytes, size_t length)
{
    static char got[4096];

    while (length > 0) {
        size_t want = length < sizeof got ? length : sizeof got;
#ifdef _WIN32
        DWORD count = 0;
        CHECK(ReadFile(child->output, got, (DWORD)want, &count, NULL) && count > 0);
#else
        ssize_t count = read(child->output, got, want);
        CHECK(count > 0);
#endif
        CHECK(memcmp(got, bytes, (size_t)count) == 0);
        bytes += count;
        length -= (size_t)count;
    }
}

static void hc50_a_child_reads_its_piped_input_itself(void)
{
    static const char *lines[] = { "look\n", "say hello\n", "shutdown" };
    struct writing writing;
    struct child child;
    thread_t writer;
    size_t i;

    fill_big();
    start_child(&child);
    /* Each line when the one before has come back: the child waits in between. */
    for (i = 0; i < 3; i++) {
        write_end(child.input, lines[i]);
        expect_output(&child, lines[i], strlen(lines[i]));
    }
    writing.end = child.input;
    writing.length = slow() ? 40000 : 1000000;
    writer = start_thread(write_big, &writing);
    expect_output(&child, big, writing.length);
    join_thread(writer);
#ifdef _WIN32
    {
        DWORD code = 9;

        CHECK(WaitForSingleObject(child.process, DEADLINE_MS) == WAIT_OBJECT_0);
        CHECK(GetExitCodeProcess(child.process, &code) && code == 0);
        CloseHandle(child.process);
    }
#else
    {
        int status;

        CHECK(waitpid(child.process, &status, 0) == child.process && status == 0);
    }
#endif
    close_end(child.output);
}

static void a_pipe_is_left_alone_when_the_reactor_is_destroyed(void)
{
    io_reactor_t *reactor;
    end_t writer;
    int i;

    become_pipe(&writer);
    for (i = 0; i < 5; i++) {
        reactor = io_reactor_create();
        add_buffered(reactor);
        if (i % 2 == 1)
            wait_silence(reactor);
        io_reactor_destroy(reactor);
    }
    reactor = io_reactor_create();
    add_buffered(reactor);
    write_end(writer, "still here");
    close_end(writer);
    read_to_the_end(reactor, "still here");
    io_reactor_destroy(reactor);
}

static void a_file_brings_its_bytes_then_its_end(void)
{
    static char text[30001];
    io_reactor_t *reactor = io_reactor_create();
    int i;

    for (i = 0; i < 30000; i++)
        text[i] = (char)('a' + i % 23);
    become_file(text, 30000);
    add_buffered(reactor);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_FILE);
    read_to_the_end(reactor, text);
    io_reactor_destroy(reactor);
}

/* A file that is not read is always ready, and leaves room in a small array to the others by alternating. */
static void an_unread_file_starves_no_source(void)
{
    io_reactor_t *reactor = io_reactor_create();
    socket_fd_t pair[2];
    char bytes[16];
    int round, total = 0;

    become_file("x", 1);
    make_pair(pair);
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    CHECK(io_reactor_add(reactor, pair[0], &b, EVENT_READ) == 0);
    send_all(pair[1], "0123456789", 10);
    for (round = 0; total < 10; round++) {
        io_event_t event = wait_one(reactor);

        CHECK(round < 200);
        if (event.context == &a)
            continue;
        CHECK(event.context == &b && (event.event_type & EVENT_READ));
#ifdef _WIN32
        total += event.bytes_transferred;
        CHECK(io_reactor_post_read(reactor, pair[0], bytes, 1) == 0);
#else
        total += (int)recv(pair[0], bytes, 1, 0);
#endif
    }
    close_socket(pair[1]);
    for (round = 0;; round++) {
        io_event_t event = wait_one(reactor);

        CHECK(round < 50);
        if (event.context == &b && (event.event_type & (EVENT_CLOSE | EVENT_READ)))
            break;
    }
    io_reactor_destroy(reactor);
    close_socket(pair[0]);
}

/* Unbuffered as well: a caller that got endless reports would never do anything else. */
static void the_end_of_nothing_and_of_a_file_is_reported_once(void)
{
    io_reactor_t *reactor = io_reactor_create();
    io_event_t event;
    char byte;

    become_null();
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_FILE);
    event = wait_one(reactor);
    CHECK(event.context == &a && event.event_type == EVENT_READ && event.buffer == NULL);
    CHECK(read_input(&byte, 1) == 0);
    wait_silence(reactor);
    CHECK(io_reactor_remove_console(reactor) == 0);
    become_file("ab", 2);
    CHECK(io_reactor_add_console(reactor, &a) == 0);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_FILE);
    CHECK(wait_one(reactor).event_type == EVENT_READ && wait_one(reactor).event_type == EVENT_READ);
    CHECK(read_input(&byte, 1) == 1 && byte == 'a' && wait_one(reactor).event_type == EVENT_READ);
    CHECK(read_input(&byte, 1) == 1 && byte == 'b' && wait_one(reactor).event_type == EVENT_READ);
    wait_silence(reactor);
    CHECK(read_input(&byte, 1) == 0);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
}

static void the_null_device_is_at_its_end(void)
{
    io_reactor_t *reactor = io_reactor_create();

    become_null();
    add_buffered(reactor);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_FILE);
    read_to_the_end(reactor, "");
    io_reactor_destroy(reactor);
}

static void without_standard_input_there_is_no_console(void)
{
    io_reactor_t *reactor = io_reactor_create();

    become_nothing();
    CHECK(io_reactor_add_console(reactor, &a) == -1);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_NONE);
    CHECK(strstr(io_reactor_last_error(), "standard input") != NULL);
    wait_silence(reactor);
    io_reactor_destroy(reactor);
    become_null();
}

/* ---- what other threads ask ---- */

struct asking {
    io_reactor_t *reactor;
    io_reactor_handle_t handle;
    volatile int taken; /* how many messages the waiting thread has taken */
};

enum { QUESTIONS = 300 };

/* The waiting thread is inside the reactor when a message has been sent and it has not taken it yet, but for moments. */
static THREAD_RESULT ask(void *argument)
{
    struct asking *asking = (struct asking *)argument;
    int i;

    for (i = 1; i <= QUESTIONS; i++) {
        CHECK(io_reactor_post(asking->reactor, &b, NULL) == 0);
        do {
            CHECK(io_reactor_get_console_type(asking->reactor) == CONSOLE_TYPE_PIPE);
            CHECK(io_reactor_native_handle(asking->reactor) == asking->handle);
        } while (asking->taken < i);
    }
    return 0;
}

static void any_thread_asks_for_the_kind_and_the_handle(void)
{
    struct asking asking;
    thread_t thread;
    end_t writer;
    int i;

    become_pipe(&writer);
    asking.reactor = io_reactor_create();
    CHECK(io_reactor_add_console(asking.reactor, &a) == 0);
    asking.handle = io_reactor_native_handle(asking.reactor);
    asking.taken = 0;
    thread = start_thread(ask, &asking);
    for (i = 1; i <= QUESTIONS; i++) {
        CHECK(wait_one(asking.reactor).event_type == EVENT_POST);
        asking.taken = i;
    }
    join_thread(thread);
    io_reactor_destroy(asking.reactor);
    close_end(writer);
}

/* ---- async_runtime.h, whose program reads standard input itself ---- */

/* Its header and io_reactor.h cannot meet; a runtime is a reactor. */
#ifdef __cplusplus
extern "C" {
#endif
int async_runtime_add_console(io_reactor_t *runtime, void *context);
console_type_t async_runtime_get_console_type(io_reactor_t *runtime);
#ifdef __cplusplus
}
#endif

static void become_socket(socket_fd_t pair[2])
{
    make_pair(pair);
#ifdef _WIN32
    CHECK(SetStdHandle(STD_INPUT_HANDLE, (HANDLE)pair[0]));
#else
    CHECK(dup2(pair[0], 0) == 0);
#endif
}

static void expect_kind(io_reactor_t *runtime, console_type_t kind)
{
    CHECK(async_runtime_add_console(runtime, &b) == 0);
    CHECK(async_runtime_get_console_type(runtime) == kind);
    /* It was not registered, and no wait reports it. */
    CHECK(io_reactor_get_console_type(runtime) == CONSOLE_TYPE_NONE);
    wait_silence(runtime);
}

/* A driver's thread reads standard input of any other kind than none, and its end is the end of the game. */
static void to_a_program_that_reads_it_the_null_device_is_no_console(void)
{
    io_reactor_t *runtime = io_reactor_create();
    socket_fd_t pair[2];
    end_t writer;

    CHECK(async_runtime_get_console_type(runtime) == CONSOLE_TYPE_NONE);
    become_pipe(&writer);
    expect_kind(runtime, CONSOLE_TYPE_PIPE);
    become_null();
    expect_kind(runtime, CONSOLE_TYPE_NONE);
    become_file("x", 1);
    expect_kind(runtime, CONSOLE_TYPE_FILE);
    become_nothing();
    expect_kind(runtime, CONSOLE_TYPE_NONE);
    become_null(); /* so that nothing else becomes descriptor 0 */
    become_console();
    expect_kind(runtime, CONSOLE_TYPE_REAL);
    become_socket(pair);
#ifdef _WIN32
    expect_kind(runtime, CONSOLE_TYPE_PIPE); /* to GetFileType() */
#else
    expect_kind(runtime, CONSOLE_TYPE_NONE);
#endif
    become_null();
    expect_kind(runtime, CONSOLE_TYPE_NONE);
    /* The other header has its own kinds. */
    CHECK(io_reactor_add_console(runtime, &a) == 0);
    CHECK(io_reactor_get_console_type(runtime) == CONSOLE_TYPE_FILE);
    CHECK(async_runtime_get_console_type(runtime) == CONSOLE_TYPE_NONE);
    io_reactor_destroy(runtime);
    close_end(writer);
    close_socket(pair[0]);
    close_socket(pair[1]);
}

int main(int argc, char **argv)
{
    check_begin(argc, argv);
    if (argc > 1 && strcmp(argv[1], "--child") == 0)
        return child_main();
    RUN(hc50_a_pipe_is_reported_and_left_to_the_caller);
    RUN(an_unread_pipe_is_reported_again);
    RUN(hc48_large_inputs_arrive_whole);
    RUN(hc50_a_child_reads_its_piped_input_itself);
#ifdef _WIN32
    RUN(an_overlapped_pipe_is_waited_for_as_well);
    RUN(a_pipe_that_does_not_wait_is_waited_for);
    RUN(messages_arrive_whole);
    RUN(standard_input_is_one_reactors);
#endif
    RUN(an_unread_file_starves_no_source);
    RUN(the_end_of_nothing_and_of_a_file_is_reported_once);
    RUN(a_pipe_brings_its_bytes_then_its_end);
    RUN(a_pipe_is_left_alone_when_the_reactor_is_destroyed);
    RUN(a_file_brings_its_bytes_then_its_end);
    RUN(the_null_device_is_at_its_end);
    RUN(without_standard_input_there_is_no_console);
    RUN(any_thread_asks_for_the_kind_and_the_handle);
    RUN(to_a_program_that_reads_it_the_null_device_is_no_console);
    RUN(ConsoleReadable);
    RUN(ConsoleNotReadable);
    RUN(a_removed_console_is_silent);
#ifndef _WIN32
    RUN(a_hung_up_terminal_is_reported_once);
#endif
    RUN(ConsoleWithOtherEvents);
    return check_end();
}
