#![allow(clippy::unwrap_used)]
use super::*;
use std::fs;
use std::process::Command;

#[test]
fn others_are_told_by_name_and_oneself_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let held = fs::File::open(dir.path()).unwrap();
    let watcher = Watcher::new().unwrap();
    if !watcher.add(held.as_fd(), 7).unwrap() {
        eprintln!("SKIPPED: the filesystem tells no changes");
        return;
    }
    fs::write(dir.path().join("own"), b"").unwrap();
    let touch = Command::new("touch").arg(dir.path().join("other")).status();
    assert!(touch.unwrap().success());
    let mut changes = Vec::new();
    while changes.is_empty() {
        watcher
            .wait(Duration::from_secs(1), &mut |change| changes.push(change))
            .unwrap();
    }
    let (directory, name) = (7, Name::new(b"other").unwrap().to_owned());
    assert_eq!(changes[0], Change::Entry { directory, name });
    let own = Name::new(b"own").unwrap();
    let tells_own = |change: &Change| match change {
        Change::Entry { name, .. } => **name == *own,
        Change::Content { name, .. } => name.as_deref() == Some(own),
        Change::Anything => true,
    };
    assert!(!changes.iter().any(tells_own));
}
