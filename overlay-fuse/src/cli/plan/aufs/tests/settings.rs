//! Everything but branches.

use super::*;

#[test]
fn without_words_all_is_as_in_aufs() {
    let usual = mount("br:/a");
    let expected = AufsMount {
        branches: usual.branches.clone(),
        ..AufsMount::default()
    };
    assert_eq!(usual, expected);
    assert_eq!((usual.dir_wh, usual.rd_cache), (3, 10));
    assert_eq!(
        (usual.udba, usual.opaque),
        (Udba::Reval, Opaque::Whiteouted)
    );
    assert_eq!(usual.create.to_string(), "tdp");
    assert_eq!(usual.copy_up.to_string(), "tdp");
}

#[test]
fn each_word_sets_what_it_names() {
    let set = |list: &str| mount(&format!("br:/a,{list}"));
    assert_eq!(
        set("create=pmfsrr:1M:5").create.to_string(),
        "pmfsrr:1048576:5"
    );
    assert_eq!(set("create_policy=round-robin").create.to_string(), "rr");
    for name in ["cpup", "copyup", "copyup_policy"] {
        assert_eq!(set(&format!("{name}=bup")).copy_up.to_string(), "bup");
    }
    assert_eq!(set(r"xino=/x\,y").xino, Xino::File("/x,y".into()));
    assert_eq!(set("noxino").xino, Xino::Off);
    assert_eq!(set("noplink").pseudo_links, Switch::Off);
    assert_eq!(set("udba=none").udba, Udba::None);
    for notify in ["notify", "fsnotify", "inotify"] {
        assert_eq!(set(&format!("udba={notify}")).udba, Udba::Notify);
    }
    for always in ["a", "always"] {
        assert_eq!(set(&format!("diropq={always}")).opaque, Opaque::Always);
    }
    for whiteouted in ["w", "whiteouted"] {
        let set = set(&format!("diropq=a,diropq={whiteouted}"));
        assert_eq!(set.opaque, Opaque::Whiteouted);
    }
    assert_eq!(set("dirwh=0").dir_wh, 0);
    assert_eq!(set("rdcache=3600").rd_cache, 3600);
    assert_eq!(set("shwh").show_whiteouts, Switch::On);
    assert_eq!(set("sum").sum, Sum::All);
    assert_eq!(set("wsum").sum, Sum::Writable);
    assert_eq!(set("noacl").acl, Switch::Off);
    assert_eq!(set("nowarn_perm").warn_perm, Switch::Off);
    for verbose in ["verbose", "v"] {
        assert_eq!(set(verbose).verbose, Switch::On);
    }
}

#[test]
fn every_setting_can_be_taken_back() {
    let back = "create=mfs,create=tdp,cpup=bu,cpup=tdp,noplink,plink,udba=none,udba=reval,\
                diropq=a,diropq=w,dirwh=9,dirwh=3,rdcache=1,rdcache=10,shwh,noshwh,sum,nosum,noacl,acl,nowarn_perm,warn_perm,v,q";
    assert_eq!(mount(&format!("br:/a,{back}")), mount("br:/a"));
    for quiet in ["noverbose", "quiet", "q", "silent"] {
        assert_eq!(mount(&format!("br:/a,v,{quiet}")), mount("br:/a"));
    }
}

#[test]
fn words_without_an_effect_say_so() {
    let names = ["dio", "notrunc_xino", "notrunc_xib", "dirperm1", "nodirren"];
    let anyway = names.map(Word::Anyway);
    assert_eq!(
        words("dio,notrunc_xino,,notrunc_xib,dirperm1,nodirren,"),
        anyway
    );
    let accepted = OPTIONS
        .iter()
        .filter(|row| matches!(row.here, Here::Accepted(_)));
    assert_eq!(accepted.count(), anyway.len());
}

#[test]
fn values_that_cannot_be_are_answered() {
    for (list, answer) in [
        (
            "create=mfsrr",
            "create=mfsrr cannot be: mfsrr needs to know how many bytes",
        ),
        ("create=all", "on one branch, not on several: write ff"),
        ("create=x", r#""x" is no policy: write tdp, rr, mfs"#),
        ("cpup=rr", r#""rr" is no policy: write tdp, bup or bu"#),
        (
            "udba=always",
            "udba=always is unknown: write none, reval, notify",
        ),
        (
            "diropq=x",
            "diropq=x is unknown: write a, always, w or whiteouted",
        ),
        (
            "dirwh=-1",
            "dirwh=-1 cannot be: write a number from 0 to 4294967295",
        ),
        ("dirwh=", "the option dirwh has no value: write dirwh=N"),
        ("rdcache=3601", "write a number from 0 to 3600"),
        (
            "rdcache",
            "the option rdcache has no value: write rdcache=SEC",
        ),
        ("xino=", "the option xino has no value: write xino=PATH"),
        ("noplink=1", r#"the option "noplink=1" takes no value"#),
        ("dio=1", r#"the option "dio=1" takes no value"#),
        ("udba:none", r#"option "udba:none" is not known"#),
        ("plonk", r#"option "plonk" is not known"#),
        ("lowerdir=/a", r#"option "lowerdir=/a" is not known"#),
    ] {
        let told = refusal(list);
        assert!(told.contains(answer), "{list}: {told}");
    }
}

#[test]
fn what_is_refused_is_refused_by_name_with_a_reason() {
    for row in OPTIONS {
        let Here::Refused(why) = row.here else {
            continue;
        };
        assert!(matches!(row.meaning, Meaning::Refused), "{:?}", row.names);
        for name in row.names {
            let word = match row.value {
                "" => (*name).to_owned(),
                _ => format!("{name}=1"),
            };
            let told = refusal(&word);
            assert_eq!(told, format!("option {word:?} is not supported: {why}"));
            assert!(told.contains("leave it out"), "{told}");
        }
    }
}

#[test]
fn every_name_of_the_table_is_read() {
    for row in OPTIONS {
        for name in row.names {
            let value = match (row.value, &row.meaning) {
                ("", _) => String::new(),
                (_, Meaning::Refused) => continue,
                ("INDEX:BRANCH", _) => ":0:/a".into(),
                ("DIR=PERMISSION", _) => ":/a=ro".into(),
                (_, Meaning::Branches(_)) => ":/a".into(),
                ("POLICY", _) => "=tdp".into(),
                ("N" | "SEC", _) => "=7".into(),
                (choices, _) => format!("={}", choices.split('|').next().unwrap()),
            };
            if !matches!(row.meaning, Meaning::Refused) {
                assert_eq!(words(&format!("{name}{value}")).len(), 1, "{name}");
            }
        }
    }
}
