#!/bin/sh
# Runs a Windows program: cargo's runner for x86_64-pc-windows-gnu, named in .cargo/config.toml.
#
# Every test binary and every `cargo run` passes here, so the usual case is two tests and an exec. The exec keeps the
# process id, the standard streams and the exit status the program's own: a signal to this script reaches Wine.
# DOLMEN_WINE=10 chooses another Wine than the system's; see env.sh.
set -eu

# On Windows itself no Wine is needed.
if [ "${OS:-}" = Windows_NT ]; then
    exec "$@"
fi

here=$(dirname "$0")
root=$(cd "$here/../.." && pwd -P)
. "$here/env.sh"

find_wine
[ -f "$stamp" ] || sh "$here/setup.sh"
exec_of_wine "$wine" "$@"
