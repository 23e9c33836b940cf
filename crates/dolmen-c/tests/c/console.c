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

static void write_end(end_t writer, const char *text)
{
    DWORD written;

    CHECK(WriteFile(writer, text, (DWORD)strlen(text), &written, NULL) && written == strlen(text));
}

static void close_end(end_t writer)
{
    CHECK(CloseHandle(writer));
}

static void become_file(const char *text)
{
    char path[MAX_PATH], name[MAX_PATH];
    DWORD written;
    HANDLE file;

    CHECK(GetTempPathA(sizeof path, path) && GetTempFileNameA(path, "ior", 0, name));
    file = CreateFileA(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    CHECK(file != INVALID_HANDLE_VALUE);
    CHECK(WriteFile(file, text, (DWORD)strlen(text), &written, NULL));
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

static void write_end(end_t writer, const char *text)
{
    CHECK(write(writer, text, strlen(text)) == (ssize_t)strlen(text));
}

static void close_end(end_t writer)
{
    CHECK(close(writer) == 0);
}

static void become_file(const char *text)
{
    FILE *file = tmpfile();

    CHECK(file != NULL && fputs(text, file) >= 0 && fflush(file) == 0);
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

static void add_buffered(io_reactor_t *reactor)
{
    CHECK(io_reactor_add_console_ex(reactor, &a, IO_REACTOR_CONSOLE_BUFFERED) == 0);
}

/* Collects a pipe's or a file's bytes until its end, which has to come once. */
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

/* It may be given up and taken again, whatever it is. */
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
/* What was typed first, and then the end once: it stays that way, and would be told of by each wait. */
static void a_terminal_that_is_hung_up_says_so_once(void)
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
        /* Hard case 26: what is no key press neither wakes nor spins. */
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

static void a_pipe_is_left_alone_when_the_reactor_goes(void)
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
    become_file(text);
    add_buffered(reactor);
    CHECK(io_reactor_get_console_type(reactor) == CONSOLE_TYPE_FILE);
    read_to_the_end(reactor, text);
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

int main(int argc, char **argv)
{
    check_begin(argc, argv);
    RUN(a_pipe_brings_its_bytes_then_its_end);
    RUN(a_pipe_is_left_alone_when_the_reactor_goes);
    RUN(a_file_brings_its_bytes_then_its_end);
    RUN(the_null_device_is_at_its_end);
    RUN(without_standard_input_there_is_no_console);
    RUN(ConsoleReadable);
    RUN(ConsoleNotReadable);
    RUN(a_removed_console_is_silent);
#ifndef _WIN32
    RUN(a_terminal_that_is_hung_up_says_so_once);
#endif
    RUN(ConsoleWithOtherEvents);
    return check_end();
}
