#!/usr/bin/env bash
# pjdfstest on the kernel's overlayfs and on ours: what passes there passes here.
. "$(dirname "$0")/lib.sh"

id tests >/dev/null 2>&1 || useradd -M -U tests
cat >"$scratch/pjdfstest.toml" <<'C'
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["tests", "tests"]]
C
run() {
    chmod 755 "$scratch" "$1"
    pjdfstest -c "$scratch/pjdfstest.toml" -p "$1" >"$2" 2>&1 || true
    grep -E '^[a-z_0-9]+::.* ok$' "$2" | awk '{print $1}' | LC_ALL=C sort >"$2.ok"
    grep -E '^Summary' "$2"
}
for who in kernel ours; do mkdir -p "$scratch/$who"/{lower,upper,work,mnt}; done
mount -t overlay o -o "lowerdir=$scratch/kernel/lower,upperdir=$scratch/kernel/upper,workdir=$scratch/kernel/work" "$scratch/kernel/mnt"
run "$scratch/kernel/mnt" "$scratch/kernel.out"
"$ufsmount" "$scratch/ours/lower" "$scratch/ours/upper" "$scratch/ours/mnt"
run "$scratch/ours/mnt" "$scratch/ours.out"
missing=$(comm -23 "$scratch/kernel.out.ok" "$scratch/ours.out.ok")
if [ -n "$missing" ]; then
    printf '%s\n' "$missing"
    for t in $missing; do grep -A3 -F "$t " "$scratch/ours.out" | head -4; done
    fail "$(printf '%s\n' "$missing" | wc -l) tests pass on the kernel's overlayfs and not here"
fi
say "all $(wc -l <"$scratch/kernel.out.ok") tests that pass on the kernel's overlayfs pass here"
