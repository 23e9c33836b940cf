/* bcryptprimitives.dll for a Wine that has none.
 *
 * Rust's standard library seeds its hash maps through ProcessPrng, imported from this DLL. Wine before 9.0 does not
 * ship it, so every Rust program ends with status 53 before `main`. advapi32's SystemFunction036 (RtlGenRandom) is
 * the same promise under an older name: fill the buffer with random bytes. The setup script builds and installs this
 * only where the prefix lacks the file.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
    /* The older function counts in 32 bits. */
    while (length > 0) {
        ULONG part = length > 0x40000000 ? 0x40000000 : (ULONG)length;
        if (!SystemFunction036(buffer, part))
            return FALSE;
        buffer += part;
        length -= part;
    }
    return TRUE;
}
