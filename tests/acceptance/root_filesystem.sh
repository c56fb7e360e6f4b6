#!/usr/bin/env bash
# A real root filesystem, split over three lowers, is worked in through the
# mount: packages installed, repositories cloned, a crate built, trees removed.
# Then: lowers unchanged, a remount shows the same, the kernel's overlayfs
# shows the same over our upper, and we over the kernel's.
#
# Needs root and debootstrap; ROOTFS=<directory> reuses an unpacked one.
. "$(dirname "$0")/lib.sh"

rootfs=${ROOTFS:-}
if [ -z "$rootfs" ]; then
    say "debootstrap"
    rootfs=$scratch/rootfs
    debootstrap --variant=minbase bookworm "$rootfs" >"$scratch/debootstrap.log" 2>&1 ||
        fail "debootstrap: $(tail -1 "$scratch/debootstrap.log")"
fi

mkdir "$scratch"/{usr,var,rest,upper,mnt,kernel}
cp -a "$rootfs/." "$scratch/rest/"
mkdir "$scratch/usr/usr" "$scratch/var/var"
for part in usr var; do
    chmod --reference="$scratch/rest/$part" "$scratch/$part/$part"
    touch --reference="$scratch/rest/$part" "$scratch/$part/$part"
    find "$scratch/rest/$part" -mindepth 1 -maxdepth 1 -exec mv -t "$scratch/$part/$part" {} +
done
for lower in usr var rest; do manifest "$scratch/$lower" >"$scratch/$lower.before"; done

mnt=$scratch/mnt
lowers=$scratch/usr:$scratch/var:$scratch/rest
mount_ours() { "$ufsmount" "$lowers" "$scratch/upper" "$mnt"; }

mount_ours
# Inside, names are resolved as here.
cp -aL /etc/resolv.conf "$mnt/etc/resolv.conf"
mount --bind /dev "$mnt/dev"
mount -t proc proc "$mnt/proc"

say "apt-get install git"
chroot "$mnt" sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq git' \
    >"$scratch/apt.log" 2>&1 || fail "apt-get: $(tail -3 "$scratch/apt.log")"
chroot "$mnt" git --version

say "git clone"
git clone --quiet --bare "$repo" "$mnt/root/origin.git"
chroot "$mnt" git -c safe.directory='*' clone --quiet /root/origin.git /root/clone
chroot "$mnt" git -c safe.directory='*' -C /root/clone status --short | head -3

say "cargo build"
cargo new --quiet --vcs none "$mnt/root/sample"
cargo build --quiet --manifest-path "$mnt/root/sample/Cargo.toml"
"$mnt/root/sample/target/debug/sample"

say "rm -rf of lower trees"
rm -rf "$mnt/usr/share/doc" "$mnt/usr/share/man" "$mnt/var/lib/apt/lists"
[ ! -e "$mnt/usr/share/doc" ] || fail "a removed tree is still there"
mkdir -p "$mnt/usr/share/doc/new"
[ "$(ls "$mnt/usr/share/doc")" = new ] || fail "removed content came back"

umount "$mnt/proc" "$mnt/dev"
manifest "$mnt" >"$scratch/live"
umount "$mnt"
while pgrep -f "ufsmount --detached $lowers" >/dev/null; do sleep 0.1; done

for lower in usr var rest; do
    manifest "$scratch/$lower" >"$scratch/$lower.after"
    same "$scratch/$lower.before" "$scratch/$lower.after" "lower $lower before and after"
done

mount_ours
manifest "$mnt" >"$scratch/remounted"
umount "$mnt"
while pgrep -f "ufsmount --detached $lowers" >/dev/null; do sleep 0.1; done
same "$scratch/live" "$scratch/remounted" "the mount and the remount"

say "the kernel over our upper, then we over the kernel's"
rm -rf "$scratch/upper.work"
mkdir "$scratch/upper.work"
mount -t overlay ours -o "lowerdir=$lowers,upperdir=$scratch/upper,workdir=$scratch/upper.work" "$scratch/kernel"
manifest "$scratch/kernel" >"$scratch/by-kernel"
same "$scratch/live" "$scratch/by-kernel" "our upper shown by us and by the kernel"
rm -rf "$scratch/kernel/usr/share/locale" "$scratch/kernel/root/clone"
mkdir -p "$scratch/kernel/usr/share/locale/xx"
echo changed >>"$scratch/kernel/etc/passwd"
chmod 700 "$scratch/kernel/usr/bin/perl"
manifest "$scratch/kernel" >"$scratch/kernel.changed"
umount "$scratch/kernel"
mount_ours
manifest "$mnt" >"$scratch/ours.changed"
umount "$mnt"
same "$scratch/kernel.changed" "$scratch/ours.changed" "the kernel's upper shown by the kernel and by us"
say "all well"
