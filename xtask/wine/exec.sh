#!/bin/sh
# Runs `wine` or `wineserver` of the chosen Wine in our prefix, which need not be set up: sh exec.sh wineserver -k
set -eu

here=$(dirname "$0")
root=$(cd "$here/../.." && pwd -P)
. "$here/env.sh"

find_wine
case $1 in
wine) program=$wine ;;
wineserver) program=$wineserver ;;
esac
shift
exec_of_wine "$program" "$@"
