//! One test for each policy: what its row of the table says.

use super::world::{chooser, file, first, ro, rw, spread, stack, tried};
use crate::attr::FileKind;
use crate::policy::{CREATE, Place};

#[test]
fn every_policy_has_a_test_of_its_name() {
    let tests = include_str!("each.rs");
    for row in CREATE {
        let test = format!("\nfn {}_", row.name);
        assert!(tests.contains(&test), "{} has no test here", row.name);
    }
}

#[test]
fn tdp_takes_the_highest_branch_with_the_parent_or_the_nearest_writable_above_it() {
    let with_parent = stack([rw(9).bare(), rw(1), rw(500)]);
    assert_eq!(first("tdp", &with_parent), Some(1));
    let read_only = stack([rw(1), rw(2).bare(), ro(), rw(500)]);
    assert_eq!(first("tdp", &read_only), Some(0));
    let read_only = stack([rw(1).bare(), rw(2).bare(), ro(), rw(500)]);
    assert_eq!(first("tdp", &read_only), Some(1));
    // The parent's own place is read-only, and nothing lies above it.
    assert_eq!(first("tdp", &stack([ro(), rw(500)])), None);
    assert_eq!(tried("tdp", &with_parent), [1], "there is no second place");
}

#[test]
fn rr_takes_turns_and_directories_take_none() {
    let branches = stack([rw(0), ro(), rw(1), rw(2)]);
    assert_eq!(
        spread("rr", &branches, 30),
        [(0, 10), (2, 10), (3, 10)].into()
    );
    let chooser = chooser("rr");
    let directory = Place {
        kind: FileKind::Directory,
        ..file()
    };
    for expected in [10, 30, 40, 10] {
        for place in [directory, directory, file()] {
            let chosen = chooser.create(&branches, &place).unwrap();
            assert_eq!(chosen.unwrap().0, expected);
        }
    }
    assert_eq!(tried("rr", &branches), [0, 2, 3], "around the ring");
}

#[test]
fn mfs_takes_the_most_free_and_of_equals_the_lowest() {
    assert_eq!(
        first("mfs", &stack([rw(5), rw(7).bare(), ro(), rw(6)])),
        Some(1)
    );
    assert_eq!(first("mfs", &stack([rw(5), rw(7), rw(7), rw(6)])), Some(2));
    assert_eq!(
        tried("mfs", &stack([rw(5), rw(7), rw(7), rw(6)])),
        [2, 1, 3, 0]
    );
}

#[test]
fn mfsrr_takes_turns_when_even_the_most_free_is_low() {
    let branches = stack([rw(99), rw(100), ro(), rw(100)]);
    assert_eq!(spread("mfsrr:100", &branches, 30), [(3, 30)].into());
    assert_eq!(
        spread("mfsrr:101", &branches, 30),
        [(0, 10), (1, 10), (3, 10)].into()
    );
}

#[test]
fn tdmfs_fills_from_the_top_and_ends_as_mfs() {
    let branches = stack([ro(), rw(10).bare(), rw(50), rw(90)]);
    assert_eq!(first("tdmfs:10", &branches), Some(1));
    assert_eq!(first("tdmfs:11", &branches), Some(2));
    assert_eq!(first("tdmfs:51", &branches), Some(3));
    assert_eq!(first("tdmfs:1000", &branches), Some(3));
    assert_eq!(tried("tdmfs:0", &branches), [1, 2, 3]);
}

#[test]
fn pmfs_takes_the_most_free_with_the_parent_and_of_equals_the_highest() {
    let branches = stack([rw(5), rw(900).bare(), rw(7), rw(7)]);
    assert_eq!(first("pmfs", &branches), Some(2));
    assert_eq!(
        tried("pmfs", &branches),
        [2, 3, 0],
        "never without the parent"
    );
    // As tdp where no writable branch has it.
    let read_only = stack([rw(1).bare(), ro(), rw(900).bare()]);
    assert_eq!(first("pmfs", &read_only), Some(0));
}

#[test]
fn pmfsrr_leaves_the_parent_when_its_branches_are_low() {
    let branches = stack([rw(5), rw(900).bare(), rw(50)]);
    assert_eq!(first("pmfsrr:50", &branches), Some(2));
    assert_eq!(first("pmfsrr:51", &branches), Some(1));
    assert_eq!(
        spread("pmfsrr:901", &branches, 9),
        [(0, 3), (1, 3), (2, 3)].into()
    );
    assert_eq!(tried("pmfsrr:50", &branches), [2, 1, 0]);
}

#[test]
fn ff_takes_the_first() {
    let branches = stack([ro(), rw(0).bare(), rw(900)]);
    assert_eq!(first("ff", &branches), Some(1));
    assert_eq!(tried("ff", &branches), [1, 2]);
}

#[test]
fn epff_takes_the_first_with_the_parent() {
    let branches = stack([rw(1).bare(), ro(), rw(2), rw(3)]);
    assert_eq!(first("epff", &branches), Some(2));
    assert_eq!(tried("epff", &branches), [2, 3]);
    assert_eq!(first("epff", &stack([ro(), rw(2).bare()])), Some(1));
}

#[test]
fn epmfs_takes_the_most_free_with_the_parent_or_of_all() {
    let branches = stack([rw(5), rw(900).bare(), rw(7), rw(7)]);
    assert_eq!(first("epmfs", &branches), Some(2));
    let read_only = stack([ro(), rw(1).bare(), rw(900).bare()]);
    assert_eq!(first("epmfs", &read_only), Some(2));
}

#[test]
fn lfs_takes_the_least_free() {
    let branches = stack([rw(5), rw(3).bare(), ro(), rw(4)]);
    assert_eq!(tried("lfs", &branches), [1, 3, 0]);
}

#[test]
fn eplfs_takes_the_least_free_with_the_parent() {
    let branches = stack([rw(5), rw(3).bare(), ro(), rw(4)]);
    assert_eq!(tried("eplfs", &branches), [3, 0]);
}

#[test]
fn lus_takes_the_one_with_the_fewest_bytes_used() {
    // 900 of 1000 used, 50 of 60, 70 of 100.
    let branches = stack([rw(100), rw(10).of(60).bare(), rw(30).of(100)]);
    assert_eq!(tried("lus", &branches), [1, 2, 0]);
}

#[test]
fn eplus_takes_the_one_with_the_fewest_bytes_used_and_the_parent() {
    let branches = stack([rw(100), rw(10).of(60).bare(), rw(30).of(100)]);
    assert_eq!(tried("eplus", &branches), [2, 0]);
}

#[test]
fn lup_takes_the_one_with_the_smallest_share_used() {
    let branches = stack([rw(100), rw(10).of(60).bare(), rw(30).of(100), rw(0).of(0)]);
    assert_eq!(tried("lup", &branches), [2, 1, 0, 3]);
}

#[test]
fn rand_takes_any() {
    let spread = spread("rand", &stack([rw(0), ro(), rw(1), rw(2).bare()]), 3000);
    assert_eq!(spread.len(), 3);
    assert!(spread.values().all(|n| *n > 900), "{spread:?}");
}

#[test]
fn eprand_takes_any_with_the_parent() {
    let spread = spread("eprand", &stack([rw(0), ro(), rw(1), rw(2).bare()]), 2000);
    assert_eq!(spread.len(), 2);
    assert!(spread.values().all(|n| *n > 900), "{spread:?}");
}

#[test]
fn pfrd_takes_any_by_its_share_of_what_is_free() {
    let spread = spread("pfrd", &stack([rw(100), rw(300).bare(), rw(0)]), 4000);
    assert!((900..1100).contains(&spread[&0]), "{spread:?}");
    assert_eq!(spread.get(&2), None, "nothing is free there");
    assert_eq!(tried("pfrd", &stack([rw(0), rw(0)])).len(), 2);
}

#[test]
fn eppfrd_takes_any_by_its_share_with_the_parent() {
    let branches = stack([rw(100), rw(900).bare(), rw(300)]);
    let spread = spread("eppfrd", &branches, 4000);
    assert!((900..1100).contains(&spread[&0]), "{spread:?}");
    assert_eq!(spread.get(&1), None, "the parent is missing there");
}

#[test]
fn newest_takes_the_one_whose_parent_changed_last() {
    let branches = stack([
        rw(1).modified(5),
        rw(1).modified(9).bare(),
        ro().modified(10),
        rw(1).modified(7),
        rw(1).modified(7),
    ]);
    assert_eq!(tried("newest", &branches), [3, 4, 0]);
    assert_eq!(first("newest", &stack([ro(), rw(1).bare()])), Some(1));
}
