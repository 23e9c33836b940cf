/* heart_beat.c for async_runtime.h. */
#define CHECK_ASYNC_RUNTIME
#include "heart_beat.c"
