# Sourced by the scripts beside it, with `root` set to the workspace: which Wine, and in which prefix.

# A prefix of our own, so that neither the tests nor the set-up touch the one in the user's home.
export WINEPREFIX="$root/target/wine-prefix"
# The last thing the set-up writes. The number is the set-up's version: count it up to have prefixes made anew.
stamp="$WINEPREFIX/dolmen-setup-1"

export WINEARCH=win64
# Wine's own complaints would mix with the program's output. WINEDEBUG=err+all shows why a program does not start.
export WINEDEBUG="${WINEDEBUG--all}"
# No offers to download .NET or a browser engine, no menu entries on the desktop.
export WINEDLLOVERRIDES="mscoree,mshtml=;winemenubuilder.exe=d"

# Sets `wine`. Debian's wine64 package by itself puts no command in PATH.
find_wine() {
    for wine in wine wine64 /usr/lib/wine/wine64; do
        if command -v "$wine" >/dev/null 2>&1; then
            return 0
        fi
    done
    echo "error: Wine is needed to run a Windows program here, and was not found." >&2
    echo "       Debian, Ubuntu: apt-get install wine64 wine    (or, for all that is needed: cargo xtask install)" >&2
    exit 127
}
