#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use clap::Parser;
use overlay_core::stack::directories::{LayerFormat, Marks};

use super::options::{GROUPS, Meaning};
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
fn the_layers_format_is_one_of_four() {
    let with = |words: &[u8]| plan(&[b"l", b"m", b"-o", words]);
    assert_eq!(
        plan(&[b"l", b"m"]).unwrap().directories.format,
        LayerFormat::Auto
    );
    let containers = with(b"layer_format=containers").unwrap();
    assert_eq!(containers.directories.format, LayerFormat::Containers);
    let aufs = with(b"layer_format=aufs").unwrap();
    let usual = LayerFormat::Aufs(Default::default());
    assert_eq!(aufs.directories.format, usual);
    let refused = with(b"layer_format=unionfs").unwrap_err().to_string();
    assert!(
        refused.contains("layer_format=unionfs is unknown"),
        "{refused}"
    );
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
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"verity=on"]).contains("verity=on"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"volatile=1"]).contains("takes no value"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"fsync"]).contains("no value"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"fsync=never"]).contains("auto, strict"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"nodev=1"]).contains("takes no value"));
    assert!(refusal(&[b"l", b"u", b"m", b"-o", b"upperdir=v"]).contains("twice"));
    assert!(refusal(&[b"l", b"m", b"-o", b"workdir=w"]).contains("without an upper"));
    assert!(refusal(&[b"l:", b"m"]).contains("empty entry"));
    assert!(refusal(&[b"l", b"u", b"m", b"x"]).contains("too many"));
    assert!(refusal(&[b"m"]).contains("needed"));
    assert!(refusal(&[]).contains("needed"));
}

#[test]
fn words_for_mount8_pass() {
    let options: &[u8] = b"defaults,rw,noauto,_netdev,x-systemd.automount,nofail";
    assert!(plan(&[b"l", b"u", b"m", b"-o", options]).is_ok());
}

#[test]
fn each_option_stands_once_in_the_table() {
    let mut names: Vec<_> = GROUPS
        .iter()
        .flat_map(|group| group.options)
        .map(|option| option.name)
        .collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn help_keeps_to_eighty_columns_and_names_every_option_that_works() {
    let help = help();
    for line in help.lines() {
        assert!(line.len() <= 80, "{line}");
    }
    for name in [
        "lowerdir=DIR[:DIR...]",
        "redirect_dir=on|",
        "exec, noexec",
        "x-*",
    ] {
        assert!(help.contains(name), "{name} not in {help}");
    }
    assert!(!help.contains("allow_root"), "refused, and not offered");
}

#[test]
fn the_last_word_on_durability_counts() {
    for (words, meant) in [
        (&b"ro"[..], Durability::Auto),
        (b"volatile", Durability::Volatile),
        (b"fsync=volatile,fsync=strict", Durability::Strict),
        (b"fsync=strict,volatile", Durability::Volatile),
        (b"fsync=0", Durability::Unmarked),
        (b"fsync=0,fsync=1", Durability::Auto),
    ] {
        let plan = plan(&[b"l", b"u", b"m", b"-o", words]).unwrap();
        assert_eq!(plan.durability, meant);
    }
}

#[test]
fn every_refusal_names_the_option_and_says_what_to_do() {
    let all = GROUPS.iter().flat_map(|group| group.options);
    let refused: Vec<_> = all
        .filter(|option| matches!(option.meaning, Meaning::Refused(_)))
        .collect();
    assert!(!refused.is_empty());
    for option in refused {
        for word in [option.name.to_owned(), format!("{}=1", option.name)] {
            let said = refusal(&[b"l", b"u", b"m", b"-o", word.as_bytes()]);
            assert!(said.contains(&format!("{word:?}")), "{said}");
            let told = ["leave it out", "use ", "mount -i"];
            assert!(told.iter().any(|what| said.contains(what)), "{said}");
        }
    }
}

#[test]
fn values_are_numbers_where_they_have_to_be() {
    for value in ["0", "-1", "many", "4k", "99999999999"] {
        let word = format!("max_read={value}");
        let said = refusal(&[b"l", b"u", b"m", b"-o", word.as_bytes()]);
        assert!(said.starts_with(&format!("{word} is no number")), "{said}");
    }
}

#[test]
fn data_only_layers_come_after_two_colons() {
    let paths = |words: &[&[u8]]| {
        let directories = plan(words).unwrap().directories;
        (directories.lowers, directories.data_lowers)
    };
    let expected = (
        vec![PathBuf::from("a"), "b".into()],
        vec![PathBuf::from("c"), "d".into()],
    );
    assert_eq!(paths(&[b"a:b::c::d", b"m"]), expected);
    let options = b"lowerdir=a:b::c,datadir+=d";
    assert_eq!(paths(&[b"-o", options, b"m"]), expected);
    for list in [&b"a::b:c"[..], b"::a", b"a::", b"a:::b", b"a:", b":a"] {
        assert!(plan(&[list, b"m"]).is_err(), "{}", list.escape_ascii());
    }
}
