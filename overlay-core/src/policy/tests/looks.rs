//! What policies ask, and how often.

use super::with_low;
use super::world::{Branch, chooser, file, id, later, ro, rw, stack};
use crate::policy::{Arguments, CREATE, Place};

fn looks(branches: &[Branch]) -> Vec<u32> {
    branches.iter().map(|branch| branch.looks.get()).collect()
}

#[test]
fn a_policy_without_seconds_never_looks_at_the_free_space() {
    for row in CREATE.iter().filter(|row| row.arguments == Arguments::None) {
        let branches = stack([rw(1), rw(2).bare(), ro(), rw(3)]);
        let chooser = chooser(row.name);
        chooser.create(&branches, &file()).unwrap();
        assert_eq!(looks(&branches), [0, 0, 0, 0], "{}", row.name);
    }
}

#[test]
fn a_look_is_good_for_its_seconds_and_no_longer() {
    for row in CREATE.iter().filter(|row| row.arguments != Arguments::None) {
        let branches = stack([rw(1), rw(2), ro(), rw(3)]);
        let chooser = chooser(&with_low(row.name, row.arguments, 2));
        let start = file();
        for (seconds, expected) in [(0, 1), (29, 1), (30, 2), (59, 2), (60, 3)] {
            chooser.create(&branches, &later(start, seconds)).unwrap();
            let expected = [expected, expected, 0, expected];
            assert_eq!(looks(&branches), expected, "{} at {seconds}", row.name);
        }
    }
}

#[test]
fn with_no_seconds_every_request_looks() {
    let branches = stack([rw(1), rw(2)]);
    let chooser = chooser("mfs:0");
    let place = file();
    assert_eq!(chooser.create(&branches, &place).unwrap(), Some(id(1)));
    branches[1].set_available(Some(0));
    assert_eq!(chooser.create(&branches, &place).unwrap(), Some(id(0)));
    assert_eq!(looks(&branches), [2, 2]);
}

#[test]
fn within_its_seconds_a_choice_stays() {
    let branches = stack([rw(1), rw(2)]);
    let chooser = chooser("mfs:10");
    let start = file();
    assert_eq!(chooser.create(&branches, &start).unwrap(), Some(id(1)));
    branches[1].set_available(Some(0));
    let chosen = chooser.create(&branches, &later(start, 9)).unwrap();
    assert_eq!(chosen, Some(id(1)));
    let chosen = chooser.create(&branches, &later(start, 10)).unwrap();
    assert_eq!(chosen, Some(id(0)));
}

#[test]
fn a_new_branch_is_looked_at_at_once() {
    let mut branches = stack([rw(1), rw(2)]);
    let chooser = chooser("mfs");
    let start = file();
    chooser.create(&branches, &start).unwrap();
    branches = stack(branches.into_iter().chain([rw(3)]));
    assert_eq!(chooser.create(&branches, &start).unwrap(), Some(id(2)));
    branches.pop();
    assert_eq!(chooser.create(&branches, &start).unwrap(), Some(id(1)));
}

#[test]
fn a_branch_that_failed_is_left_until_the_next_look() {
    // Its quota is used up, which its free space does not tell.
    let branches = stack([rw(1), rw(900)]);
    let chooser = chooser("mfs:30");
    let start = file();
    let again = Place {
        failed: &[id(1)],
        ..start
    };
    assert_eq!(chooser.create(&branches, &start).unwrap(), Some(id(1)));
    assert_eq!(chooser.create(&branches, &again).unwrap(), Some(id(0)));
    let next = chooser.create(&branches, &later(start, 29)).unwrap();
    assert_eq!(next, Some(id(0)), "no file is tried there first");
    let next = chooser.create(&branches, &later(start, 30)).unwrap();
    assert_eq!(next, Some(id(1)));
}

#[test]
fn a_branch_that_does_not_tell_its_space_comes_last_but_comes() {
    let branches = stack([rw(1), rw(900)]);
    branches[1].set_available(None);
    for row in CREATE
        .iter()
        .filter(|row| row.arguments == Arguments::Seconds)
    {
        let chooser = chooser(row.name);
        let chosen = chooser.create(&branches, &file()).unwrap();
        assert_eq!(chosen, Some(id(0)), "{}", row.name);
        let again = Place {
            failed: &[id(0)],
            ..file()
        };
        let chosen = chooser.create(&branches, &again).unwrap();
        assert_eq!(chosen, Some(id(1)), "{}", row.name);
    }
}

#[test]
fn who_finds_the_parent_at_once_asks_no_further() {
    for name in ["tdp", "epff"] {
        let branches = stack([rw(1), rw(2), rw(3)]);
        chooser(name).create(&branches, &file()).unwrap();
        let asked: u32 = branches.iter().map(|branch| branch.lookups.get()).sum();
        assert_eq!(asked, 1, "{name}");
    }
    for name in ["ff", "rr", "rand", "mfs", "lus"] {
        let branches = stack([rw(1), rw(2), rw(3)]);
        chooser(name).create(&branches, &file()).unwrap();
        let asked: u32 = branches.iter().map(|branch| branch.lookups.get()).sum();
        assert_eq!(asked, 0, "{name}");
    }
}
