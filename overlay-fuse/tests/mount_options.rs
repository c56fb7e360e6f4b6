//! Every option that has an effect has it, and shows in `/proc/mounts` where
//! the kernel shows such things.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use common::{Mounted, Scene, can_mount, eventually, in_own_namespace, said, skipped, ufsmount};

/// Type and options of what is mounted.
fn shown(mounted: &Mounted) -> (String, Vec<String>) {
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let point = mounted.point.to_str().unwrap();
    let line = table.lines().find(|line| line.contains(point)).unwrap();
    let fields: Vec<&str> = line.split(' ').collect();
    let options = fields[3].split(',').map(str::to_owned).collect();
    (fields[2].to_owned(), options)
}

fn mount(scene: &Scene, options: &str) -> Mounted {
    let options = format!("lowerdir=l,upperdir=u,{options}");
    scene.mount(["-o", &options, "m"])
}

#[test]
fn flags_are_shown_in_the_table_of_mounts_and_their_contraries_take_them_away() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    for (set, clear) in [
        ("ro", "rw"),
        ("nosuid", "suid"),
        ("nodev", "dev"),
        ("noexec", "exec"),
        ("sync", "async"),
        ("noatime", "atime"),
        ("nodiratime", "diratime"),
        ("nosymfollow", "symfollow"),
        ("max_read=8192", "rw"),
    ] {
        let (kind, options) = shown(&mount(&scene, set));
        assert_eq!(kind, "fuse.ufsmount");
        assert!(options.iter().any(|word| word == set), "{set}: {options:?}");
        let both = match set.contains('=') {
            true => clear.to_owned(),
            false => format!("{set},{clear}"),
        };
        let (_, options) = shown(&mount(&scene, &both));
        assert!(
            !options.iter().any(|word| word == set),
            "{both}: {options:?}"
        );
    }
}

#[test]
fn what_is_so_in_any_case_changes_nothing() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    let plain = shown(&mount(&scene, "rw"));
    let words = "default_permissions,relatime,norelatime,nostrictatime,nolazytime,noiversion,\
        nomand,silent,loud,nonempty,index=off,nfs_export=off,verity=off,uuid=null,uuid=auto,\
        override_creds,threaded=1,writeback=0,fast_ino=0,fsync=auto,defaults,auto,noauto,user,\
        nouser,users,owner,group,nofail,_netdev,_rnetdev,helper=a,uhelper=b,comment=a word,x-systemd.automount,X-mount.mkdir=0755";
    assert_eq!(shown(&mount(&scene, words)), plain);
    fs::write(scene.at("m/there"), "").unwrap();
    assert_eq!(shown(&mount(&scene, "nonempty")), plain);
}

#[test]
fn noexec_nosymfollow_and_nodev_are_the_kernels() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new();
    symlink("file", scene.at("u/link")).unwrap();
    fs::copy("/bin/true", scene.at("u/true")).unwrap();
    let mounted = mount(&scene, "noexec,nosymfollow");
    let denied = Command::new(mounted.at("true")).status().unwrap_err();
    assert_eq!(denied.raw_os_error(), Some(libc::EACCES));
    let denied = fs::read(mounted.at("link")).unwrap_err();
    assert_eq!(denied.raw_os_error(), Some(libc::ELOOP));
    assert_eq!(
        fs::read_link(mounted.at("link")).unwrap().to_str(),
        Some("file")
    );
    drop(mounted);
    let mounted = mount(&scene, "rw");
    assert!(Command::new(mounted.at("true")).status().unwrap().success());
    assert_eq!(fs::read(mounted.at("link")).unwrap(), b"lower\n");
}

/// What reading a file and listing a directory of the upper does to their
/// access times, by our mount and by the kernel's: `kept` or `changed`.
fn access_times(options: &str) -> (String, String) {
    let look = "touch -h -a -d 2001-01-01 u/f u/d; cat m/f >/dev/null; ls m/d >/dev/null; umount m; \
        for name in f d; do case $(stat -c %x u/$name) in 2001*) echo $name kept;; \
        *) echo $name changed;; esac; done";
    let run = |mount: &str| {
        let scene = Scene::new();
        fs::write(scene.at("u/f"), "x").unwrap();
        fs::create_dir(scene.at("u/d")).unwrap();
        fs::create_dir(scene.at("w")).unwrap();
        let script = format!("{mount} -o lowerdir=l,upperdir=u,workdir=w{options} m; {look}");
        let output = in_own_namespace(&scene, &script);
        assert!(output.status.success(), "{mount}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    (run("\"$0\""), run("mount -t overlay overlay"))
}

#[test]
fn noatime_and_nodiratime_leave_access_times_alone_as_on_the_kernels_overlayfs() {
    if !can_mount() {
        return;
    }
    for (options, expected) in [
        ("", "f changed\nd changed\n"),
        (",nodiratime", "f changed\nd kept\n"),
        (",noatime", "f kept\nd kept\n"),
    ] {
        let (ours, kernels) = access_times(options);
        assert_eq!(ours, kernels, "{options}");
        assert_eq!(ours, expected, "{options}");
    }
}

/// How often the server was asked for `request`, by its log.
fn requests(options: &str, request: &str, act: impl FnOnce(&Mounted)) -> usize {
    let scene = Scene::new();
    fs::write(scene.at("l/large"), vec![1; 64 * 1024]).unwrap();
    let options = format!("lowerdir=l,upperdir=u,{options}");
    let mut server = ufsmount()
        .current_dir(scene.root())
        .args(["--debug", "--log", "log", "-o", &options, "m"])
        .spawn()
        .unwrap();
    let mounted = Mounted {
        point: scene.at("m").canonicalize().unwrap(),
    };
    eventually("live", || mounted.at("large").exists());
    act(&mounted);
    drop(mounted);
    assert!(server.wait().unwrap().success());
    let log = fs::read_to_string(scene.at("log")).unwrap();
    let word = format!("request=\"{request}\"");
    log.lines().filter(|line| line.contains(&word)).count()
}

#[test]
fn max_read_limits_each_request() {
    if !can_mount() {
        return;
    }
    let read = |mounted: &Mounted| {
        assert_eq!(fs::read(mounted.at("large")).unwrap(), vec![1; 64 * 1024]);
    };
    assert_eq!(requests("max_read=4096", "read", read), 16);
    assert!(requests("rw", "read", read) < 16);
}

#[test]
fn contents_that_pass_the_server_by_are_no_requests() {
    if !can_mount() {
        return;
    }
    let work = |mounted: &Mounted| {
        let mut file = File::create(mounted.at("new")).unwrap();
        for _ in 0..64 {
            file.write_all(&[7; 64 * 1024]).unwrap();
        }
        drop(file);
        assert_eq!(fs::read(mounted.at("new")).unwrap(), vec![7; 4 << 20]);
    };
    for request in ["write", "read"] {
        assert_eq!(requests("io=passthrough", request, work), 0, "{request}");
    }
    // What has been written is cached, and so not read.
    assert!(requests("io=cached", "write", work) >= 4);
}

#[test]
fn with_sync_every_write_is_followed_by_a_sync() {
    if !can_mount() {
        return;
    }
    let write = |mounted: &Mounted| fs::write(mounted.at("new"), "x").unwrap();
    for io in ["passthrough", "cached"] {
        assert_eq!(requests(&format!("sync,io={io}"), "fsync", write), 1);
        assert_eq!(requests(&format!("async,io={io}"), "fsync", write), 0);
    }
}

/// On a shared mount, as most of a machine is, and on a private one.
#[test]
fn a_mount_propagates_as_it_is_told_or_as_the_one_it_lies_on() {
    if !can_mount() {
        return;
    }
    for (options, on_shared, on_private) in [
        ("rw", "shared", ""),
        ("private", "", ""),
        ("rprivate", "", ""),
        ("shared", "shared", "shared"),
        ("rshared", "shared", "shared"),
        ("slave", "master", ""),
        ("rslave", "master", ""),
        ("unbindable", "unbindable", "unbindable"),
        ("shared,runbindable", "unbindable", "unbindable"),
    ] {
        for (below, expected) in [("shared", on_shared), ("private", on_private)] {
            let scene = Scene::new();
            // A slave needs somebody to hear from.
            let script = format!(
                "mkdir s t; mount -t tmpfs none s; mount --make-{below} s; mkdir s/m; \
                 mount --bind s t; \"$0\" -o lowerdir=l,{options} s/m; \
                 grep \" $PWD/s/m \" /proc/self/mountinfo | cut -d' ' -f7; umount s/m"
            );
            let output = in_own_namespace(&scene, &script);
            assert!(output.status.success(), "{options}: {}", said(&output));
            let tag = String::from_utf8(output.stdout).unwrap();
            let tag = tag.trim_end().trim_end_matches('-');
            let tag = tag.split(':').next().unwrap();
            assert_eq!(tag, expected, "{options} on {below}");
        }
    }
}

#[test]
fn a_live_mount_is_made_read_only_without_its_server() {
    if !can_mount() {
        return;
    }
    let script = "\"$0\" l u m; mount -i -o remount,ro m; ! touch m/new 2>/dev/null; \
        mount -i -o remount,rw,noexec m; touch m/new; grep ' fuse.ufsmount rw,noexec' /proc/mounts; \
        umount m";
    let scene = Scene::new();
    let output = in_own_namespace(&scene, script);
    assert!(output.status.success(), "{}", said(&output));
    assert!(scene.at("u/new").exists());
}

#[test]
fn ordinary_users_get_their_options_through_fusermount3() {
    if !can_mount() || !common::has_fusermount() {
        return;
    }
    if Command::new("setpriv")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        skipped("setpriv is not here");
        return;
    }
    let scene = Scene::new();
    for name in ["l", "l/d", "l/file", "l/d/inner", "u", "m", ""] {
        std::os::unix::fs::chown(scene.at(name), Some(common::USER), Some(common::USER)).unwrap();
    }
    let as_user = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; \
        mknod -m 666 /dev/fuse c 10 229; \
        exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -ec";
    let good = format!(
        "{as_user} '\"$0\" -o noexec,sync,noatime,private,max_read=8192,fsname=a\\\\,b l u m; \
         grep \"^a,b .* fuse.ufsmount rw,sync,nosuid,nodev,noexec,noatime,.*max_read=8192\" /proc/mounts; \
         fusermount3 -u m' \"$0\""
    );
    let output = in_own_namespace(&scene, &good);
    assert!(output.status.success(), "{}", said(&output));
    for (option, part) in [
        ("suid", "write nosuid"),
        ("dev", "write nodev"),
        ("nosymfollow", "does not know the option nosymfollow"),
        ("shared", "option shared is not permitted"),
        ("unbindable", "option unbindable is not permitted"),
    ] {
        let script = format!("{as_user} 'exec \"$0\" -o {option} l u m' \"$0\"");
        let sentence = common::refused(&in_own_namespace(&scene, &script));
        assert!(sentence.contains(part), "{sentence}");
    }
}
