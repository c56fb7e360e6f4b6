#![allow(clippy::unwrap_used)]

use clap::Parser;

use super::*;

fn plan(words: &[&[u8]]) -> Result<Plan, UsageError> {
    let words = words.iter().map(|word| OsStr::from_bytes(word));
    let args = std::iter::once(OsStr::new("ufsmount")).chain(words);
    Args::try_parse_from(args).unwrap().plan()
}

fn refusal(words: &[&[u8]]) -> String {
    plan(words).unwrap_err().to_string()
}

#[test]
fn two_paths_are_read_only_and_three_have_an_upper() {
    let two = plan(&[b"a:b", b"m"]).unwrap();
    assert_eq!(two.directories.lowers, [PathBuf::from("a"), "b".into()]);
    assert_eq!(two.directories.upper, None);
    let three = plan(&[b"a", b"u", b"m"]).unwrap();
    assert_eq!(three.directories.upper, Some("u".into()));
    assert_eq!(three.point, PathBuf::from("m"));
    assert!(!three.options.has(MountFlag::ReadOnly));
}

#[test]
fn options_in_the_kernels_form_mean_the_same() {
    let options: &[u8] = b"lowerdir=a:b,upperdir=u,workdir=w,noexec,userxattr";
    for words in [
        &[b"-o", options, b"m"][..],
        &[b"none", b"m", b"-o", options],
    ] {
        let plan = plan(words).unwrap();
        assert_eq!(plan.directories.lowers, [PathBuf::from("a"), "b".into()]);
        assert_eq!(plan.directories.work, Some("w".into()));
        assert_eq!(plan.directories.marks, Marks::User);
        assert!(plan.options.has(MountFlag::NoExec));
    }
}

#[test]
fn escapes_and_any_bytes_reach_the_paths() {
    let plan = plan(&[
        b"-o",
        b"lowerdir=a\\:b\\,c:\xff\\\\d,upperdir=u\\,v",
        b"m\\:",
    ])
    .unwrap();
    let lowers: Vec<_> = plan
        .directories
        .lowers
        .iter()
        .map(|p| p.as_os_str())
        .collect();
    assert_eq!(lowers, [OsStr::new("a:b,c"), OsStr::from_bytes(b"\xff\\d")]);
    assert_eq!(plan.directories.upper, Some("u,v".into()));
    assert_eq!(plan.point, PathBuf::from("m\\:"));
}

#[test]
fn ro_reads_the_upper_as_the_top_layer() {
    let plan = plan(&[b"l", b"u", b"m", b"-o", b"ro"]).unwrap();
    assert_eq!(plan.directories.lowers, [PathBuf::from("u"), "l".into()]);
    assert_eq!(plan.directories.upper, None);
}

#[test]
fn whatever_has_no_effect_is_refused_by_name() {
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"bogus"]).contains("\"bogus\" is not known"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"metacopy=on"]).contains("metacopy=on"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"volatile"]).contains("volatile"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"nodev=1"]).contains("takes no value"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"upperdir=v"]).contains("twice"));
    assert!(refusal(&[b"l", b"m", b"-o", b"workdir=w"]).contains("without an upper"));
    assert!(refusal(&[b"l::d", b"m"]).contains("empty entry"));
    assert!(refusal(&[b"l", b"u", b"m", b"x"]).contains("too many"));
    assert!(refusal(&[b"m"]).contains("needed"));
    assert!(refusal(&[]).contains("needed"));
}

#[test]
fn words_for_mount8_pass() {
    let options: &[u8] = b"defaults,rw,noauto,_netdev,x-systemd.automount,nofail";
    assert!(plan(&[b"l", b"u", b"m", b"-o", options]).is_ok());
}
