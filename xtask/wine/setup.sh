#!/bin/sh
# Makes the Wine prefix that runner.sh uses, unless it exists. It is safe to run two at the same time and to kill one.
#
# All output goes to stderr: stdout belongs to the program that is waiting to be run.
set -eu

here=$(dirname "$0")
root=$(cd "$here/../.." && pwd -P)
. "$here/env.sh"
exec >&2 </dev/null

find_wine
for tool in x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64 flock:util-linux; do
    if ! command -v "${tool%%:*}" >/dev/null 2>&1; then
        echo "error: ${tool%%:*} is needed to set up Wine, and was not found."
        echo "       Debian, Ubuntu: apt-get install ${tool##*:}    (or, for everything: cargo xtask install)"
        exit 127
    fi
done

mkdir -p "$root/target"
# The kernel drops this lock when its last holder dies, so a killed set-up blocks nobody. Wine's background processes
# would be holders too: each command below that starts them closes descriptor 9.
exec 9>"$WINEPREFIX.lock"
if ! flock -n 9; then
    echo "wine: another process is setting up $WINEPREFIX; waiting for it"
    flock 9
fi
[ ! -f "$stamp" ] || exit 0

echo "wine: setting up a prefix in $WINEPREFIX (once, about 20 s)"
log="$WINEPREFIX.log"
fail() {
    echo "error: $1. The log, $log, ends with:"
    tail -n 15 "$log"
    exit 1
}

# There is no stamp, so an existing prefix is incomplete: from a killed set-up, or from an older version of it.
if [ -e "$WINEPREFIX" ]; then
    sh "$here/exec.sh" wineserver -k 9>&- 2>/dev/null || :
    rm -rf "$WINEPREFIX"
fi
: >"$log"
# In the foreground, so that an interrupt at the terminal reaches it too.
timeout --foreground 180 sh "$here/exec.sh" wine wineboot --init 9>&- >>"$log" 2>&1 || fail "wineboot failed"
# wineboot returns before the registry is on disk.
timeout --foreground 60 sh "$here/exec.sh" wineserver -w 9>&- >>"$log" 2>&1 || fail "wineserver did not finish"

shim="$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll"
if [ ! -e "$shim" ]; then
    echo "wine: adding bcryptprimitives.dll, which this Wine lacks and Rust's std imports"
    x86_64-w64-mingw32-gcc -O1 -Wall -shared -static-libgcc "$here/bcryptprimitives.c" -ladvapi32 -o "$shim.part" \
        >>"$log" 2>&1 || fail "the shim did not compile"
    mv "$shim.part" "$shim"
fi

: >"$stamp"
echo "wine: ready"
