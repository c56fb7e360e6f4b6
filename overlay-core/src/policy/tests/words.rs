//! Words and back, and what is said to those who mistype.

use super::with_low;
use crate::policy::{
    Arguments, COPY_UP, CREATE, CopyUpPolicy, CreatePolicy, REFUSED, SECONDS, SECONDS_MAX,
};

fn create(word: &str) -> CreatePolicy {
    word.parse()
        .unwrap_or_else(|error| panic!("{word}: {error}"))
}

fn refusal(word: &str) -> String {
    let parsed = word.parse::<CreatePolicy>();
    parsed.expect_err(word).to_string()
}

#[test]
fn every_policy_is_read_and_written_back() {
    for row in CREATE {
        for name in [row.name, row.long].into_iter().filter(|n| !n.is_empty()) {
            let policy = create(&with_low(name, row.arguments, 5));
            assert_eq!(policy.rule(), row.rule);
            assert_eq!(policy.seconds(), SECONDS);
            assert_eq!(create(&policy.to_string()), policy);
        }
        if row.arguments == Arguments::None {
            continue;
        }
        let word = with_low(row.name, row.arguments, 5) + ":7";
        let policy = create(&word);
        assert_eq!((policy.seconds(), policy.to_string()), (7, word));
        assert_ne!(policy, create(&with_low(row.name, row.arguments, 5)));
    }
    for row in COPY_UP {
        for name in [row.name, row.long] {
            let policy: CopyUpPolicy = name.parse().unwrap();
            assert_eq!(policy.rule(), row.rule);
            assert_eq!(policy.to_string(), row.name);
        }
    }
}

#[test]
fn the_defaults_are_those_of_aufs() {
    assert_eq!(CreatePolicy::default(), create("tdp"));
    assert_eq!(CopyUpPolicy::default(), "tdp".parse().unwrap());
}

#[test]
fn names_are_there_once() {
    let names: Vec<&str> = CREATE
        .iter()
        .flat_map(|row| [row.name, row.long])
        .chain(REFUSED.iter().map(|refused| refused.name))
        .filter(|name| !name.is_empty())
        .collect();
    for (at, name) in names.iter().enumerate() {
        assert!(!names[..at].contains(name), "{name}");
    }
    for (at, row) in CREATE.iter().enumerate() {
        let same = |other: &&crate::policy::CreateRow| other.rule == row.rule;
        assert_eq!(CREATE.iter().position(|other| same(&other)), Some(at));
    }
}

#[test]
fn watermarks_take_units() {
    assert_eq!(create("mfsrr:0").low(), 0);
    assert_eq!(create("mfsrr:1k").low(), 1024);
    assert_eq!(create("tdmfs:3M:9").low(), 3 << 20);
    assert_eq!(create("pmfsrr:2G").low(), 2 << 30);
    assert_eq!(create("pmfsrr:1T").low(), 1 << 40);
    assert_eq!(create("mfsrr:18446744073709551615").low(), u64::MAX);
}

#[test]
fn what_is_wrong_is_answered_with_what_is_right() {
    for (word, answer) in [
        ("", r#""" is no policy: write tdp, rr, mfs, "#),
        ("mfs2", r#""mfs2" is no policy: write tdp, rr, mfs, "#),
        ("most-free", " lup, rand, eprand, pfrd, eppfrd or newest"),
        ("mfsrr", "write mfsrr:BYTES, for example mfsrr:100M"),
        ("rr:3", r#"rr has nothing after "rr": leave ":3" out"#),
        (
            "mfs:3:4",
            r#"mfs has nothing after "mfs[:SEC]": leave ":4""#,
        ),
        ("tdmfs:3:4:5", r#"leave ":5" out"#),
        ("mfs:", r#""" is no number of seconds from 0 to 3600"#),
        ("mfs:3601", "from 0 to 3600: write one, for example 30"),
        ("mfs:-1", r#""-1" is no number of seconds"#),
        ("mfsrr:", r#""" is no number of bytes"#),
        ("mfsrr:M", r#""M" is no number of bytes"#),
        ("mfsrr:010", r#""010" is no number of bytes"#),
        ("mfsrr:+5", r#""+5" is no number of bytes"#),
        (
            "mfsrr:16777216T",
            "K, M, G or T may follow, for example 100M",
        ),
        (
            "all",
            "an object lies on one branch, not on several: write ff",
        ),
        ("mspmfs", "there is no half-shared path: write epmfs"),
    ] {
        let told = refusal(word);
        assert!(told.contains(answer), "{word}: {told}");
    }
    let told = "up".parse::<CopyUpPolicy>().unwrap_err().to_string();
    assert_eq!(told, r#""up" is no policy: write tdp, bup or bu"#);
    assert!(create(&format!("mfs:{SECONDS_MAX}")).seconds() == SECONDS_MAX);
}

#[test]
fn every_refusal_names_a_policy_that_works() {
    for refused in REFUSED {
        assert!(refusal(refused.name).contains(refused.why));
        if let Some((_, instead)) = refused.why.split_once("write ") {
            create(instead);
        }
    }
}
