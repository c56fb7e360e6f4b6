//! The manual pages are in step with the commands: every option that works is
//! explained there with its value, every one that is refused is named, and
//! nothing else is.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory;

use super::options::{GROUPS, Meaning, MountOption};
use crate::cli::Args;
use crate::cli::ufs::Args as Ufs;

const UFSMOUNT: &str = include_str!("../../../../docs/man/ufsmount.1");
const UFS: &str = include_str!("../../../../docs/man/ufs.1");
const BRANCH: &str = include_str!("../../../../docs/man/ufs-branch.1");
const CHECK: &str = include_str!("../../../../docs/man/ufs-check.1");
const CONVERT: &str = include_str!("../../../../docs/man/ufs-convert.1");
const PLINK: &str = include_str!("../../../../docs/man/ufs-plink.8");

/// The lines after the heading `heading`, up to the next one of its kind.
fn part<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    let kind = &heading[..3];
    let after = page.lines().skip_while(|line| *line != heading).skip(1);
    let section = |line: &&str| !line.starts_with(kind) && !line.starts_with(".Sh");
    let lines: Vec<&str> = after.take_while(section).collect();
    assert!(!lines.is_empty(), "the page has no {heading:?}");
    lines
}

/// How an option is written in the source of a page.
fn written(option: &MountOption) -> String {
    match option.value {
        "" => format!("Cm {}", option.name),
        value => format!("Cm {} Ns = Ns Ar {value}", option.name),
    }
}

#[test]
fn the_manual_explains_every_option_in_its_group_and_no_other() {
    for group in GROUPS {
        let works = |option: &&MountOption| !matches!(option.meaning, Meaning::Refused(_));
        let expected: BTreeSet<String> = group.options.iter().filter(works).map(written).collect();
        if expected.is_empty() {
            continue;
        }
        let lines = part(UFSMOUNT, &format!(".Ss {}", group.title));
        let items = lines.iter().filter_map(|line| line.strip_prefix(".It "));
        let items = items.flat_map(|item| item.split(" , "));
        let explained: BTreeSet<String> = items
            .filter(|item| item.starts_with("Cm "))
            .map(str::to_owned)
            .collect();
        assert_eq!(explained, expected, "{}", group.title);
    }
}

#[test]
fn the_manual_names_every_option_that_is_refused() {
    let all = GROUPS.iter().flat_map(|group| group.options);
    let refused: BTreeSet<&str> = all
        .filter(|option| matches!(option.meaning, Meaning::Refused(_)))
        .map(|option| option.name)
        .collect();
    let lines = part(UFSMOUNT, ".Sh DIAGNOSTICS");
    let list = lines
        .into_iter()
        .skip_while(|line| !line.contains("are refused"));
    let named: BTreeSet<&str> = list
        .filter_map(|line| line.strip_prefix(".Cm ")?.split(' ').next())
        .collect();
    assert_eq!(named, refused);
}

/// `Fl` for each option of the command line that is shown.
fn flags(command: &clap::Command) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        flags.extend(arg.get_long().map(|long| format!("Fl -{long}")));
        flags.extend(arg.get_short().map(|short| format!("Fl {short}")));
    }
    flags
}

fn explained(lines: &[&str]) -> BTreeSet<String> {
    let items = lines.iter().filter_map(|line| line.strip_prefix(".It "));
    let items = items.flat_map(|item| item.split(" , "));
    let flag = |item: &str| {
        let mut words = item.split(' ');
        (words.next() == Some("Fl")).then(|| format!("Fl {}", words.next().unwrap()))
    };
    items.filter_map(flag).collect()
}

#[test]
fn the_manuals_explain_every_flag_and_every_command() {
    let mut ufsmount = Args::command();
    ufsmount.build();
    assert_eq!(explained(&part(UFSMOUNT, ".Sh OPTIONS")), flags(&ufsmount));
    let mut command = Ufs::command();
    command.build();
    let lines = part(UFS, ".Sh DESCRIPTION");
    assert_eq!(explained(&lines), flags(&command));
    for (name, page) in [("check", CHECK), ("convert", CONVERT)] {
        let command = command.find_subcommand(name).unwrap();
        assert_eq!(explained(&part(page, ".Sh OPTIONS")), flags(command));
    }
    // Their flags are those of their own commands.
    for (name, page) in [("branch", BRANCH), ("plink", PLINK)] {
        let command = command.find_subcommand(name).unwrap();
        let own: BTreeSet<String> = command.get_subcommands().flat_map(flags).collect();
        assert_eq!(explained(&part(page, ".Sh OPTIONS")), own);
        let named = part(page, ".Sh DESCRIPTION");
        for task in command
            .get_subcommands()
            .filter(|task| task.get_name() != "help")
        {
            let mut items = named.iter().filter_map(|line| line.strip_prefix(".It Cm "));
            let is_named = items.any(|item| {
                let mut names = item.split(" , ").map(|name| name.trim_start_matches("Cm "));
                names.any(|name| name == task.get_name())
            });
            assert!(is_named, "{}", task.get_name());
        }
    }
    for command in command.get_subcommands() {
        let item = format!(".It Cm {}", command.get_name());
        assert!(lines.iter().any(|line| line.starts_with(&item)), "{item}");
    }
}

/// Says aloud that a check did not run; where `CI` is set that is a failure.
fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let found = command.status().is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
        assert!(
            std::env::var_os("CI").is_none(),
            "nothing may skip in CI: {program}"
        );
    }
    found
}

#[test]
fn the_manuals_are_without_fault() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    for page in [
        "ufsmount.1",
        "ufs.1",
        "ufs-branch.1",
        "ufs-check.1",
        "ufs-convert.1",
        "ufs-plink.8",
    ] {
        let page = pages.join(page);
        for words in [
            &["mandoc", "-T", "lint", "-W", "style"][..],
            &["man", "--warnings", "-l"],
        ] {
            if !has(words[0]) {
                continue;
            }
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg(&page);
            command
                .env("MANWIDTH", "80")
                .env("LC_ALL", "C.UTF-8")
                .env("PAGER", "cat");
            let output = command.output().unwrap();
            let mut told = String::from_utf8_lossy(&output.stderr).into_owned();
            match words[0] {
                // It tells faults where `man` has the page.
                "mandoc" => told += &String::from_utf8_lossy(&output.stdout),
                _ => assert!(output.status.success(), "{words:?}: {output:?}"),
            }
            // Which manuals this machine has is no fault of ours.
            let about_others = ["outdated mandoc.db", "referenced manual not found"];
            let faults: Vec<&str> = told
                .lines()
                .filter(|line| !about_others.iter().any(|other| line.contains(other)))
                .collect();
            assert!(faults.is_empty(), "{words:?}: {faults:#?}");
        }
    }
}
