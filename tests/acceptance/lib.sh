# Shared by the acceptance runs: a scratch place, mounts that go away, and
# one way to say what was found. Source it; needs root.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
ufsmount=${UFSMOUNT:-$repo/target/release/ufsmount}
[ -x "$ufsmount" ] || (cd "$repo" && cargo build --quiet --release --bins)

scratch=$(mktemp -d "${TMPDIR:-/tmp}/ufs-acceptance.XXXXXX")
tidy() {
    local status=$? point
    # Deepest first: what was mounted inside goes before what holds it.
    awk -v under="$scratch/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r |
        while read -r point; do umount "$point" 2>/dev/null || umount -l "$point"; done
    rm -rf --one-file-system "$scratch"
    exit $status
}
trap tidy EXIT

say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# The whole tree as text: type, mode, owner, size of files, time, link target,
# extended attributes and content. Directory sizes and link counts differ
# between filesystems by nature.
manifest() {
    (
        cd "$1"
        find . -xdev \( -type d -printf '%y %#m %U:%G - %T@ %p\n' \
            -o -type f -printf '%y %#m %U:%G %s %T@ %p\n' \
            -o -printf '%y %#m %U:%G - %T@ %p -> %l\n' \) | LC_ALL=C sort -k6
        find . -xdev -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
        find . -xdev -print0 | LC_ALL=C sort -z |
            xargs -0 -r getfattr --absolute-names -h -d -m - -e hex 2>/dev/null |
            grep -v '^# file: \.$' || true
    )
}

same() {
    cmp -s "$1" "$2" || {
        diff "$1" "$2" | head -20 >&2
        fail "$3"
    }
    say "same: $3"
}
