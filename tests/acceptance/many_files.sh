#!/usr/bin/env bash
# A tree of 300,000 files (COUNT=...) is walked and stat'ed by a server that
# may open 256 descriptors.
. "$(dirname "$0")/lib.sh"

count=${COUNT:-300000}
mkdir "$scratch"/{lower,upper,mnt}
say "making $count files"
python3 - "$scratch/lower" "$count" <<'P'
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for d in range(count // 100):
    path = f"{root}/{d // 100}/{d % 100}"
    os.makedirs(path)
    for f in range(100):
        open(f"{path}/{f}", "w").close()
P
(ulimit -n 256; "$ufsmount" "$scratch/lower" "$scratch/upper" "$scratch/mnt")
say "walking"
start=$(date +%s.%N)
found=$(find "$scratch/mnt" -type f -size -1 -printf '%i\n' | wc -l)
say "$found files in $(echo "$(date +%s.%N) - $start" | bc) s"
[ "$found" = "$count" ] || fail "$found files of $count"
pid=$(pgrep -f "ufsmount --detached $scratch/lower")
say "server: $(grep -E 'VmRSS' /proc/"$pid"/status), $(ls /proc/"$pid"/fd | wc -l) descriptors, limit $(awk '/open files/ {print $4}' /proc/"$pid"/limits)"
say "rm -rf of a part"
rm -rf "$scratch/mnt/0"
[ ! -e "$scratch/mnt/0" ] || fail "still there"
umount "$scratch/mnt"
say "all well"
