#!/bin/sh
# Waits until the Windows programs in our prefix have ended and Wine's own processes with them. After ten seconds it
# lists the remaining programs. They may belong to another run in this checkout, so it does no more, except with `--kill`:
# then it ends everything in the prefix, and fails if that hit a program.
set -eu

here=$(dirname "$0")
root=$(cd "$here/../.." && pwd -P)
. "$here/env.sh"
exec >&2 </dev/null

[ -d "$WINEPREFIX" ] || exit 0
if timeout 10 sh "$here/exec.sh" wineserver -w; then
    exit 0
fi
# Wine's own programs live in \windows\. The others' names are Windows paths, or Unix paths that end in .exe.
left=
for pid in $(ps -eo pid=,args= | grep -viE '^ *[0-9]+ C:\\windows\\' | awk 'tolower($2) ~ /\.exe$/ { print $1 }'); do
    if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qxF "WINEPREFIX=$WINEPREFIX"; then
        left="$left $pid"
        ps -o pid=,args= -p "$pid" || :
    fi
done
if [ -n "$left" ]; then
    echo "wine: the Windows programs above still run in $WINEPREFIX"
fi
if [ "${1:-}" != --kill ]; then
    echo "wine: to end what runs there: DOLMEN_WINE=$DOLMEN_WINE sh xtask/wine/settle.sh --kill"
    exit 0
fi
echo "wine: ending what runs there"
sh "$here/exec.sh" wineserver -k || :
[ -z "$left" ]
