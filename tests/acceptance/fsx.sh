#!/usr/bin/env bash
# fsx on lower files, four at once: OPERATIONS=100000 each.
. "$(dirname "$0")/lib.sh"

operations=${OPERATIONS:-100000}
mkdir "$scratch"/{lower,upper,mnt,artifacts}
for i in 1 2 3 4; do head -c 262144 /dev/urandom >"$scratch/lower/f$i"; done
"$ufsmount" "$scratch/lower" "$scratch/upper" "$scratch/mnt"
pids=()
for i in 1 2 3 4; do
    fsx -q -N "$operations" -S "$i" -P "$scratch/artifacts" "$scratch/mnt/f$i" >"$scratch/fsx.$i" 2>&1 &
    pids+=($!)
done
failed=0
for i in 1 2 3 4; do
    wait "${pids[i - 1]}" || { failed=1; tail -5 "$scratch/fsx.$i"; }
done
[ $failed = 0 ] || fail "fsx found a mismatch"
say "4 x $operations operations, no mismatch"
