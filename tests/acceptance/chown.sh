#!/usr/bin/env bash
# chown -R of a lower tree of 1 GiB (FILES=4000 files of KIB=256) with
# metacopy=on copies next to no data; the kernel reads what it leaves.
. "$(dirname "$0")/lib.sh"

files=${FILES:-4000} kib=${KIB:-256}
mkdir "$scratch"/{lower,mnt}
say "making $files files of $kib KiB of random data"
python3 - "$scratch/lower" "$files" "$kib" <<'P'
import os, sys
root, files, kib = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for f in range(files):
    path = f"{root}/{f // 100}"
    os.makedirs(path, exist_ok=True)
    with open(f"{path}/{f}", "wb") as out:
        out.write(os.urandom(kib * 1024))
P
sync -f "$scratch"
blocks() { find "$1" -type f -printf '%b\n' | awk '{ sum += $1 } END { print sum * 512 }'; }
elapsed() { echo "$(date +%s.%N) - $1" | bc; }
layers() {
    rm -rf "$scratch"/{upper,work}
    mkdir "$scratch"/{upper,work}
    words="lowerdir=$scratch/lower,upperdir=$scratch/upper,workdir=$scratch/work"
}
# Leaves the seconds in $took.
timed_chown() {
    sync -f "$scratch"
    local start
    start=$(date +%s.%N)
    chown -R 1234:4321 "$scratch/mnt"
    took=$(elapsed "$start")
}
server() { pgrep -f "ufsmount --detached.*$scratch" | head -1; }
written() { awk '/^write_bytes/ { print $2 }' "/proc/$1/io"; }

say "the kernel's overlayfs, metacopy=on"
layers
mount -t overlay overlay -o "$words,metacopy=on,redirect_dir=on" "$scratch/mnt"
timed_chown
kernel=$took
umount "$scratch/mnt"
kernel_blocks=$(blocks "$scratch/upper")

say "ufsmount, without metacopy"
layers
"$ufsmount" -o "$words" "$scratch/mnt"
timed_chown
whole=$took
umount "$scratch/mnt"
whole_blocks=$(blocks "$scratch/upper")

say "ufsmount, metacopy=on"
layers
"$ufsmount" -o "$words,metacopy=on" "$scratch/mnt"
pid=$(server)
before=$(written "$pid")
timed_chown
after=$(written "$pid")
manifest "$scratch/mnt" >"$scratch/ours"
umount "$scratch/mnt"
sync -f "$scratch"

# As many empty files with the same attributes.
rm -rf "$scratch/empty"
mkdir "$scratch/empty"
(cd "$scratch/upper" && find . -type d -exec mkdir -p "$scratch/empty/{}" \;)
python3 - "$scratch/upper" "$scratch/empty" <<'P'
import os, sys
upper, empty = sys.argv[1:]
for here, _, names in os.walk(upper):
    for name in names:
        path = os.path.join(here, name)
        twin = os.path.join(empty, os.path.relpath(path, upper))
        open(twin, "w").close()
        os.chown(twin, os.stat(path).st_uid, os.stat(path).st_gid)
        for key in os.listxattr(path):
            os.setxattr(twin, key, os.getxattr(path, key))
P
sync -f "$scratch"
ours_blocks=$(blocks "$scratch/upper") empty_blocks=$(blocks "$scratch/empty")
copied=$((ours_blocks - empty_blocks))
say "blocks of files: $ours_blocks bytes, of empty ones with the same attributes $empty_blocks: $copied bytes of data"
say "without metacopy $whole_blocks bytes, the kernel with metacopy $kernel_blocks"
say "write_bytes of the server: $((after - before))"
say "time: $took s; without metacopy $whole s; the kernel $kernel s"
say "ratios: without metacopy / with $(echo "scale=1; $whole / $took" | bc), with / kernel $(echo "scale=1; $took / $kernel" | bc)"
[ "$copied" -lt $((1 << 20)) ] || fail "$copied bytes of data were copied"
[ "$(find "$scratch/upper" -type f | wc -l)" = "$files" ] || fail "not all files are there"

mount -t overlay overlay -o "$words,metacopy=on,redirect_dir=on" "$scratch/mnt"
manifest "$scratch/mnt" >"$scratch/theirs"
umount "$scratch/mnt"
same "$scratch/ours" "$scratch/theirs" "the kernel shows the tree that we showed"
grep -q ' 1234:4321 ' "$scratch/theirs" || fail "no owner was changed"
! grep -E '^[df] ' "$scratch/theirs" | grep -qv ' 1234:4321 ' || fail "an owner was not changed"
say "all well"
