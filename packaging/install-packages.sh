#!/bin/sh
# Installs those packages of packages.txt that are missing, and says which if it cannot.
# The daemons among them are for the tests to start: none is left running or enabled.
set -eu
cd "$(dirname "$0")/.."

wanted=$(sed 's/#.*//' packages.txt)
say() { printf 'weir: %s\n' "$*" >&2; }

if ! command -v dpkg-query >/dev/null; then
    for tool in cmake ninja pkg-config cc clang-tidy valgrind redis-server; do
        command -v "$tool" >/dev/null && continue
        say "this is not a Debian; please install what your system calls:" $wanted
        break
    done
    exit 0
fi

have=$(dpkg-query -W -f='${db:Status-Status}:${Package}\n' $wanted 2>/dev/null |
    sed -n 's/^installed://p' | tr '\n' ' ')
missing=
for package in $wanted; do
    case " $have " in *" $package "*) ;; *) missing="$missing $package" ;; esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    [ -t 0 ] || as_root="sudo -n"
fi
if ! command -v apt-get >/dev/null || ! $as_root true 2>/dev/null; then
    say "packages are missing and cannot be installed from here; as root, please:"
    say "    apt-get update && apt-get install -y --no-install-recommends$missing"
    exit 1
fi

# A policy that is there already is its owner's and stays; ours lasts as long as the installation.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}
say "installing:$missing"
apt update || say "apt-get update failed; going on with the lists that are there"
if ! apt install -y --no-install-recommends $missing; then
    say "the installation failed (see above); needed are:$missing"
    exit 1
fi

for daemon in redis-server nginx stunnel4; do
    case " $missing " in *" $daemon "*) ;; *) continue ;; esac
    $as_root service "$daemon" stop >/dev/null 2>&1 || true
    $as_root update-rc.d "$daemon" disable >/dev/null 2>&1 || true
done
