//! Few descriptors, many directories.

use std::ops::ControlFlow;
use std::sync::Arc;

use overlay_core::layer::dir::{Descriptors, DirStorage};
use overlay_core::layer::{Storage, WritableNode, WritableStorage};
use overlay_tests::conformance::*;

/// How many of this process' descriptors lead below `path`.
fn descriptors_below(path: &std::path::Path) -> usize {
    let path = path.canonicalize().unwrap();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.starts_with(&path))
        .count()
}

#[test]
fn sixteen_descriptors_serve_thousands_of_directories() {
    let dirs = Dirs::new();
    let storage = dirs.open(16);
    let root = WritableStorage::root(&*storage);
    let mut nodes: Vec<(Arc<dyn WritableNode>, (u64, u64))> = Vec::new();
    for outer in 0..50 {
        let outer = mkdir(&*root, &format!("{outer}"));
        for inner in 0..60 {
            let inner = mkdir(&*outer, &format!("{inner}"));
            let deepest = mkdir(&*inner, "deepest");
            nodes.push((Arc::clone(&deepest), identity(&*deepest)));
        }
    }
    for (number, (node, before)) in nodes.iter().enumerate() {
        write(&**node, "file", &number.to_le_bytes());
        assert_eq!(identity(&**node), *before);
        // The roots, the work area, and what the calls under way have open.
        let open = descriptors_below(&dirs.upper());
        assert!(open <= 16 + 8, "{open} descriptors");
    }
    for (number, (node, _)) in nodes.iter().enumerate().rev() {
        let file = node.lookup(name("file")).unwrap().unwrap().node;
        assert_eq!(read(&*file), number.to_le_bytes());
    }
    drop((nodes, root, storage));
    assert_eq!(descriptors_below(&dirs.upper()), 0);
}

#[test]
fn a_budget_of_one_still_works_with_many_threads() {
    let dirs = Dirs::new();
    let storage = dirs.open(0);
    let root = WritableStorage::root(&*storage);
    let nodes: Vec<_> = (0..20)
        .map(|number| mkdir(&*mkdir(&*mkdir(&*root, &format!("{number}")), "a"), "b"))
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    for node in &nodes {
                        assert!(names(&**node).is_empty());
                        assert!(node.attr().unwrap().kind.is_dir());
                    }
                }
            });
        }
    });
}

#[test]
fn branches_share_one_budget() {
    let dirs = Dirs::new();
    for number in 0..200 {
        std::fs::create_dir(dirs.upper().join(format!("{number}"))).unwrap();
    }
    let budget = Descriptors::new(16);
    let branches: Vec<_> = (0..4)
        .map(|_| DirStorage::open(&dirs.upper(), &budget).unwrap())
        .collect();
    let mut nodes = Vec::new();
    for branch in &branches {
        let root = branch.root();
        root.entries(&mut |entry| {
            let node = root.lookup(entry.name).unwrap().unwrap().node;
            assert!(names(&*node).is_empty());
            nodes.push(node);
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    assert_eq!(nodes.len(), 800);
    // In a private mount, paths begin at the lower's root.
    let alone = std::fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let target = std::fs::read_link(entry.as_ref().unwrap().path());
        target.is_ok_and(|target| {
            let name = target.to_str().and_then(|target| target.strip_prefix('/'));
            name.is_some_and(|name| name.parse::<u32>().is_ok())
        })
    });
    let open = alone.count() + descriptors_below(&dirs.upper());
    assert!((1..=16 + 8).contains(&open), "{open} descriptors");
}

/// The test of `ulimit -n 256`: in a process of its own, for the limit is the
/// process'.
#[test]
fn it_works_with_256_descriptors_and_when_they_run_out() {
    if std::env::var_os("OVERLAY_TEST_FEW_DESCRIPTORS").is_none() {
        let this = std::env::current_exe().unwrap();
        let shell = "ulimit -n 256 && exec \"$0\" --exact --nocapture \
                     budget::it_works_with_256_descriptors_and_when_they_run_out";
        let status = std::process::Command::new("sh")
            .args(["-c", shell])
            .arg(this)
            .env("OVERLAY_TEST_FEW_DESCRIPTORS", "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let dirs = Dirs::new();
    let budgets = [Descriptors::from_rlimit(), Descriptors::new(100_000)];
    for (round, budget) in budgets.iter().enumerate() {
        let (upper, work) = (dirs.upper(), dirs.workdir());
        let storage = overlay_core::layer::dir::DirUpper::open(&upper, &work, budget).unwrap();
        let root = WritableStorage::root(&*storage);
        let nodes: Vec<_> = (0..600)
            .map(|number| {
                let node = mkdir(&*root, &format!("{round}-{number}"));
                write(&*node, "file", b"x");
                node
            })
            .collect();
        for node in &nodes {
            assert_eq!(read(&*find(&**node, "file").node), b"x");
            node.sync().unwrap();
        }
    }
}
