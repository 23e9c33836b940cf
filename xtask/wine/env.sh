# Sourced by the scripts beside it, with `root` set to the workspace: which Wine, and in which prefix.
#
# DOLMEN_WINE chooses: `system`, which is the default, or `10`, the Wine of the next Debian release. `cargo xtask
# install` keeps that one in the user's cache. It needs a newer C library than the system has, so its folder is mounted
# over /usr, in a mount namespace that ends with the program.

case "${DOLMEN_WINE:=system}" in
system)
    # A prefix of our own, so that neither the tests nor the set-up touch the one in the user's home.
    export WINEPREFIX="$root/target/wine-prefix"
    ;;
10)
    export WINEPREFIX="$root/target/wine-10-prefix"
    tree="${XDG_CACHE_HOME:-$HOME/.cache}/dolmen/wine-10"
    # Its C library knows none of the locales that the system has compiled.
    export LC_ALL=C.UTF-8
    # Without this folder, one of its libraries writes a complaint to the terminal.
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$WINEPREFIX}"
    # The loader, which starts further programs, and the server.
    export WINELOADER=/usr/lib/wine/wine64 WINESERVER=/usr/lib/wine/wineserver64
    ;;
*)
    echo "error: DOLMEN_WINE is \`system\` or \`10\`, not \`$DOLMEN_WINE\`" >&2
    exit 127
    ;;
esac
export DOLMEN_WINE
# The last file that the set-up writes. The number is the set-up's version: increase it to have prefixes made again.
stamp="$WINEPREFIX/dolmen-setup-1"

export WINEARCH=win64
# Wine's own complaints would mix with the program's output. WINEDEBUG=err+all shows why a program does not start.
export WINEDEBUG="${WINEDEBUG--all}"
# No offers to download .NET or a browser engine, no menu entries on the desktop.
export WINEDLLOVERRIDES="mscoree,mshtml=;winemenubuilder.exe=d"

# Sets `wine` and `wineserver`.
find_wine() {
    if [ "$DOLMEN_WINE" = 10 ]; then
        wine=$WINELOADER wineserver=$WINESERVER
        [ ! -x "$tree$wine" ] || return 0
        echo "error: there is no Wine 10 in $tree" >&2
        echo "       To download it, type: cargo xtask install" >&2
        exit 127
    fi
    wineserver=wineserver
    # Debian's wine64 package by itself puts no command in PATH.
    for wine in wine wine64 /usr/lib/wine/wine64; do
        if command -v "$wine" >/dev/null 2>&1; then
            return 0
        fi
    done
    echo "error: Wine is needed to run a Windows program here, and was not found." >&2
    echo "       Debian, Ubuntu: apt-get install wine64 wine    (or, for all that is needed: cargo xtask install)" >&2
    exit 127
}

# Replaces the shell by a program of the chosen Wine. The process id stays the same.
exec_of_wine() {
    if [ "$DOLMEN_WINE" = system ]; then
        exec "$@"
    fi
    # shellcheck disable=SC2016
    exec unshare --mount sh -c 'mount --bind "$0" /usr && exec "$@"' "$tree/usr" "$@"
}
