#!/usr/bin/env bash
# An ordinary user builds an image with buildah over our mount program: a root
# filesystem, then five layers of changes, each made beside a volume that is an
# overlay of its own. Root builds the same with the kernel's overlayfs. Both
# images must be the same, and each layer must hold the same names.
#
# Needs root (to become somebody else), buildah, uidmap, fuse3, debootstrap.
# ROOTFS=<directory> reuses an unpacked root filesystem; PROGRAM=<path> runs
# another mount program, for example /usr/bin/fuse-overlayfs (1.10 fails: chown
# of a pipe in a lower layer is an error there, and hard links are lost);
# MOUNTOPT=<options> gives the mount program options of ours.
[ "${UFS_NAMESPACE:-}" ] || UFS_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
. "$(dirname "$0")/lib.sh"

program=${PROGRAM:-$ufsmount}
rootfs=${ROOTFS:-}
if [ -z "$rootfs" ]; then
    say "debootstrap"
    rootfs=$scratch/rootfs
    debootstrap --variant=minbase bookworm "$rootfs" >"$scratch/debootstrap.log" 2>&1 ||
        fail "debootstrap: $(tail -1 "$scratch/debootstrap.log")"
fi

# A user, seen in this mount namespace only, with a range of ids of its own.
name=ufs-acceptance uid=47110
for file in passwd group subuid subgid; do
    cp "/etc/$file" "$scratch/$file"
    mount --bind "$scratch/$file" "/etc/$file"
done
echo "$name:x:$uid:$uid::$scratch/user:/bin/sh" >>"$scratch/passwd"
echo "$name:x:$uid:" >>"$scratch/group"
echo "$name:$((1 << 28)):65536" | tee -a "$scratch/subuid" >>"$scratch/subgid"

# /dev/fuse as it is on desktops: for everyone.
mkdir "$scratch/dev"
mount -t tmpfs none "$scratch/dev"
mknod -m 666 "$scratch/dev/fuse" c 10 229
mount --bind "$scratch/dev/fuse" /dev/fuse

# What goes into the images, readable by everyone.
mkdir "$scratch"/{in,user,root,out}
chmod 755 "$scratch" "$scratch/in"
tar -C "$rootfs" --numeric-owner --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* \
    -cf "$scratch/in/rootfs.tar" .
install -m 755 "$program" "$scratch/in/program"
mkdir -p "$scratch/package/DEBIAN" "$scratch/package/opt/sample/bin"
printf '%s\n' 'Package: sample' 'Version: 1.0' 'Architecture: all' \
    'Maintainer: nobody <nobody@localhost>' 'Description: a package with a script' \
    >"$scratch/package/DEBIAN/control"
printf '#!/bin/sh\nln -s ../sample/bin/run /opt/sample/installed\n' >"$scratch/package/DEBIAN/postinst"
chmod 755 "$scratch/package/DEBIAN/postinst"
echo 'echo sample' >"$scratch/package/opt/sample/bin/run"
chmod 4755 "$scratch/package/opt/sample/bin/run"
dpkg-deb --root-owner-group --build "$scratch/package" "$scratch/in/sample.deb" >/dev/null

# The mount program, and every line that it was called with.
cat >"$scratch/in/mount-program" <<P
#!/bin/sh
echo "\$*" >>$scratch/user/calls
exec $scratch/in/program "\$@"
P
chmod 755 "$scratch/in/mount-program"

# The recipe: the same words for both. \$* are options for buildah.
cat >"$scratch/in/recipe" <<'R'
set -eu
cd "$HOME"
in=$1
shift
layer() { # NAME FROM: commands on standard input
    c=$(buildah "${options[@]}" from --pull-never "$2")
    # The engine mounts the volume with `private`, through the same program.
    buildah "${options[@]}" run --isolation chroot --volume "$HOME/volume:/mnt:O" "$c" \
        sh -eu -c "test \"\$(cat /mnt/file)\" = below; echo changed >/mnt/file; $(cat)"
    test "$(cat volume/file)" = below
    buildah "${options[@]}" commit --quiet --rm "$c" "$1" >/dev/null
    echo "   $1"
}
options=("$@")
mkdir volume
echo below >volume/file
c=$(buildah "${options[@]}" from scratch)
buildah "${options[@]}" add --quiet "$c" "$in/rootfs.tar" / >/dev/null
buildah "${options[@]}" copy --quiet "$c" "$in/sample.deb" /root/sample.deb >/dev/null
buildah "${options[@]}" commit --quiet --rm "$c" base >/dev/null
echo "   base"
layer create base <<'L'
mkdir -p /srv/new/deep/er
echo hello >/srv/new/deep/er/file
ln -s file /srv/new/deep/er/symlink
ln /srv/new/deep/er/file /srv/new/hard
mkfifo /srv/new/fifo
echo more >>/etc/motd
chmod 2711 /srv/new/deep
mkdir /srv/data
for n in $(seq 200); do echo "$n" >"/srv/data/$n"; done
L
layer delete create <<'L'
rm -rf /usr/share/doc /usr/share/man/man1 /srv/new/deep/er/symlink
rm /etc/motd
mkdir /usr/share/doc
echo new >/usr/share/doc/only
L
layer rename delete <<'L'
mv /usr/share/locale /usr/share/languages
mv /srv/new /srv/newer
mv /srv/newer/deep /srv/deep
mv /etc/skel /srv/skel
mkdir /srv/new
echo other >/srv/new/file
L
layer chown rename <<'L'
chown -R 1000:2000 /srv /usr/share/languages
chmod -R go-rwx /srv/data
L
layer package chown <<'L'
dpkg -i /root/sample.deb >/dev/null
rm /root/sample.deb
test "$(sh /opt/sample/bin/run)" = sample
L
for image in base create delete rename chown package; do
    buildah "${options[@]}" push --quiet --format oci "$image" "oci:$HOME/oci-$image:$image"
done
R

chown -R "$uid:$uid" "$scratch/user"
as_user() {
    setpriv --reuid "$uid" --regid "$uid" --clear-groups env -i PATH="$PATH" \
        HOME="$scratch/user" XDG_RUNTIME_DIR="$scratch/user/run" TMPDIR="$scratch/user/tmp" "$@"
}
as_user mkdir "$scratch/user/run" "$scratch/user/tmp"

say "as user $uid, over $program"
as_user bash "$scratch/in/recipe" "$scratch/in" \
    --root "$scratch/user/storage" --runroot "$scratch/user/run/storage" \
    --storage-driver overlay --storage-opt "overlay.mount_program=$scratch/in/mount-program" \
    ${MOUNTOPT:+--storage-opt "overlay.mountopt=$MOUNTOPT"} ||
    {
        sed "s,$scratch/user/storage/overlay/,,g" "$scratch/user/calls" | tail -3 >&2
        fail "buildah over $program"
    }
say "options that were passed: $(sed 's/^-o //; s/ .*//' "$scratch/user/calls" | tr , '\n' |
    sed 's/=.*//; /^$/d' | sort | uniq -c | tr -s ' \n' ' ')"
say "whiteouts in its layers: $(find "$scratch/user/storage" -name '.wh.*' | wc -l) by name," \
    "$(find "$scratch/user/storage" -type c | wc -l) devices"
say "as root, over the kernel's overlayfs"
env HOME="$scratch/root" bash "$scratch/in/recipe" "$scratch/in" \
    --root "$scratch/root/storage" --runroot "$scratch/root/run" --storage-driver overlay

began=$(stat -c %Y "$scratch/in/rootfs.tar")
image() { python3 "$repo/tests/acceptance/image.py" "$1" "$2" "$began"; }
different=0
for image in base create delete rename chown package; do
    for what in layer tree; do
        image "$what" "$scratch/user/oci-$image" >"$scratch/out/ours"
        image "$what" "$scratch/root/oci-$image" >"$scratch/out/kernels"
        [ -s "$scratch/out/ours" ] || fail "$image: $what is empty"
        # Goes on: a difference is best understood beside the others.
        if (same "$scratch/out/kernels" "$scratch/out/ours" \
            "$image: $what, $(wc -l <"$scratch/out/ours") lines"); then continue; fi
        different=$((different + 1))
    done
done
# Nothing that only our mounts should see is in an image.
for blob in "$scratch"/user/oci-*/blobs/sha256/*; do
    if zcat "$blob" 2>/dev/null | grep -qaE 'overlay\.(opaque|redirect|origin)'; then
        fail "marks in an image: $blob"
    fi
done
# Nobody is left who serves a mount.
! pgrep -u "$uid" -f "$scratch/in/program" >/dev/null || fail "a server is left"
[ "$different" = 0 ] || fail "$different of 12 comparisons"
say "all well"
