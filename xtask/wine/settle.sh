#!/bin/sh
# Waits until the Windows programs in our prefix have ended and Wine's own processes with them. `settle.sh --kill`
# ends what is left after ten seconds; without it, the script says what is left and fails.
set -eu

here=$(dirname "$0")
root=$(cd "$here/../.." && pwd -P)
. "$here/env.sh"
exec >&2 </dev/null

[ -d "$WINEPREFIX" ] || exit 0
if timeout 10 wineserver -w; then
    exit 0
fi
echo "wine: Windows programs that did not end by themselves:"
# Wine shows a program under its Windows path or its Unix path, and either ends in .exe; its own live in \windows\.
ps -eo pid=,args= | grep -iE '^ *[0-9]+ [^ ]*\.exe' | grep -viE '^ *[0-9]+ C:\\windows\\' || echo "(none by name)"
if [ "${1:-}" = --kill ]; then
    echo "wine: ending them"
    wineserver -k
else
    echo "wine: to end them: sh xtask/wine/settle.sh --kill"
    exit 1
fi
