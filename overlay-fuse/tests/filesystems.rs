//! Layers on filesystems of other kinds than the upper one: inode numbers are
//! the kernel's, whoever mounts, and stay.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::process::Command;

use common::{Scene, can_mount, in_own_namespace, said, skipped};

/// Makes `$kind` from the directory `from` at `to`, below `under`.
const FILESYSTEM: &str = r#"
make() { # KIND FROM TO
    mkdir "$3"
    case $1 in
    squashfs) mksquashfs "$2" "$3.img" -quiet -no-progress -no-xattrs >/dev/null ;;
    btrfs) truncate -s 300M "$3.img"; mkfs.btrfs -q "$3.img" ;;
    xfs) truncate -s 320M "$3.img"; mkfs.xfs -q "$3.img" ;;
    ext4) truncate -s 32M "$3.img"; mkfs.ext4 -q "$3.img" ;;
    esac
    mount -o loop "$3.img" "$3"
    [ "$1" = squashfs ] || cp -a "$2/." "$3"
}
"#;

/// Mounts in turn, changes something at each, and writes the numbers down.
const TURNS: &str = r#"
mkdir -p from/d one two u w out
echo 1 >from/f; echo 2 >from/d/x; echo 3 >from/d/y; ln from/d/y from/d/z; ln -s f from/s
make $KIND from one/l
make $SECOND from two/l
rm -rf u w; mkdir u w
words=lowerdir=one/l:two/l,upperdir=u,workdir=w,$OPTIONS
kernel() { mount -t overlay overlay -o "$words" m; }
ours() { "$0" -o "$words" m; }
numbers() { (cd m; find . -mindepth 1 -printf '%p %i\n' | sort) >out/$1; }
turn() { # WHO NUMBER CHANGE
    $1; numbers $2a; (cd m; eval "$3"); numbers $2b; umount m
}
turn kernel 1 'chmod 600 f; chmod 711 d'
turn ours 2 'chmod 600 d/x; echo >new'
turn ours 3 'mv f g; chmod -h 777 s 2>/dev/null || touch -h s'
turn kernel 4 'mv d e'
turn ours 5 'mv e d; mv g f'
turn kernel 6 'rm new'
for turn in out/*; do
    # Names change, and one comes and goes.
    sed 's, \./g , ./f ,; s,^\./g ,./f ,; s,^\./e,./d,' "$turn" | grep -v '^\./new ' | sort >"$turn.s"
    cmp -s out/1a.s "$turn.s" || { echo "$turn:"; diff out/1a.s "$turn.s"; exit 1; } >&2
done
"#;

fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}

fn numbers_are_the_kernels(kind: &str, second: &str, options: &str) {
    let scene = Scene::new();
    let script = format!(
        "KIND={kind} SECOND={second} OPTIONS={options}\ncd {}\n{FILESYSTEM}{TURNS}",
        scene.root().display()
    );
    let output = in_own_namespace(&scene, &script);
    let what = format!("{kind} over {second} with {options}");
    assert!(output.status.success(), "{what}: {}", said(&output));
}

#[test]
fn numbers_over_filesystems_of_small_numbers_are_the_kernels() {
    if !can_mount() {
        return;
    }
    for options in [
        "xino=auto,redirect_dir=on",
        "xino=on,redirect_dir=on,index=on",
    ] {
        numbers_are_the_kernels("ext4", "ext4", options);
    }
}

#[test]
fn numbers_over_btrfs_are_the_kernels() {
    if !can_mount() || !has("mkfs.btrfs") {
        return;
    }
    numbers_are_the_kernels("btrfs", "ext4", "xino=on,redirect_dir=on");
    numbers_are_the_kernels("btrfs", "ext4", "xino=on,redirect_dir=on,index=on");
}

#[test]
fn numbers_over_squashfs_are_the_kernels() {
    if !can_mount() || !has("mksquashfs") {
        return;
    }
    numbers_are_the_kernels("squashfs", "ext4", "xino=on,redirect_dir=on,index=on");
    // Two without an identity: handles cannot tell them apart.
    numbers_are_the_kernels("ext4", "squashfs", "xino=on,redirect_dir=on,metacopy=on");
}

#[test]
fn numbers_over_xfs_are_the_kernels() {
    if !can_mount() || !has("mkfs.xfs") {
        return;
    }
    numbers_are_the_kernels("xfs", "ext4", "xino=on,redirect_dir=on");
}
