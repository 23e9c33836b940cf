#!/bin/sh
# Runs a Windows program: cargo's runner for x86_64-pc-windows-gnu, named in .cargo/config.toml.
#
# Every test binary and every `cargo run` passes here, so the usual case is two tests and an exec. The exec keeps the
# process id, the standard streams and the exit status the program's own: what signals this script signals Wine.
# DOLMEN_WINE=10 chooses another Wine than the system's; see env.sh.
set -eu

# On Windows itself there is nothing to put in between.
if [ "${OS:-}" = Windows_NT ]; then
    exec "$@"
fi

here=$(dirname "$0")
root=$(cd "$here/../.." && pwd -P)
. "$here/env.sh"

find_wine
[ -f "$stamp" ] || sh "$here/setup.sh"
exec_of_wine "$wine" "$@"
