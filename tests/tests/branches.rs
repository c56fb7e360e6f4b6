//! Stacks in which several branches can be written, and stacks that change
//! while they are in use: what no random history shows as plainly.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use overlay_core::dialect::Heed;
use overlay_core::fs::UnionFs;
use overlay_core::layer::mem::MemStorage;
use overlay_core::layer::{NewKind, RenameMode};
use overlay_core::union::{
    Flow, Handle, Index, Inode, Live, Metacopy, OpenOptions, Options, Others, RedirectDir,
    ShowWhiteouts,
};
use overlay_core::{Caller, Dialect, Errno, Error, Name, Owner, Stack, Store, Union};

const ME: Caller = Caller {
    owner: Owner { uid: 0, gid: 0 },
    umask: 0o022,
};

fn name(name: &str) -> &Name {
    Name::new(name.as_bytes()).unwrap()
}

fn aufs() -> Dialect {
    Dialect::Aufs(Default::default())
}

/// Branches by the access to them: `w` writable, `r` read-only.
struct Home {
    branches: Vec<Arc<MemStorage>>,
    access: Vec<char>,
}

impl Home {
    fn new(access: &str) -> Home {
        Home {
            branches: access.chars().map(|_| MemStorage::new()).collect(),
            access: access.chars().collect(),
        }
    }

    fn stack(&self) -> Stack {
        let mut stack = Stack::new();
        for (branch, access) in self.branches.iter().zip(&self.access) {
            let branch = Arc::clone(branch);
            stack = match access {
                'w' => stack.upper_as(branch, aufs()),
                _ => stack.lower_as(branch, aufs()),
            };
        }
        stack
    }

    fn union(&self, create: &str) -> Arc<Union> {
        let options = Options {
            create: create.parse().unwrap(),
            ..Options::default()
        };
        Union::with_options(self.stack(), options).unwrap()
    }

    /// What a branch stores at a path.
    fn has(&self, branch: usize, path: &str) -> bool {
        let alone = Stack::new().lower(Arc::clone(&self.branches[branch]) as _);
        UnionFs::new(alone).unwrap().exists(path).unwrap()
    }

    /// The branches that store something at a path.
    fn on(&self, path: &str) -> Vec<usize> {
        (0..self.branches.len())
            .filter(|branch| self.has(*branch, path))
            .collect()
    }
}

fn find(union: &Union, path: &str) -> Arc<Inode> {
    let mut at = union.root();
    for part in path.split('/') {
        at = union.lookup(&at, name(part)).unwrap().unwrap().inode;
    }
    at
}

fn open(union: &Union, path: &str, write: bool) -> Handle {
    let options = OpenOptions {
        write,
        ..OpenOptions::default()
    };
    union.open(&find(union, path), options).unwrap()
}

fn content(union: &Union, handle: &Handle) -> Vec<u8> {
    let mut buffer = vec![0; 64];
    let len = union.read(handle, &mut buffer, 0).unwrap();
    buffer.truncate(len);
    buffer
}

#[test]
fn the_policy_says_which_branch_takes_a_new_file() {
    let home = Home::new("www");
    let union = UnionFs::from_union(home.union("rr"));
    for at in 0..6 {
        union.write(format!("f{at}"), b"").unwrap();
    }
    for at in 0..6 {
        assert_eq!(home.on(&format!("f{at}")), [at % 3]);
    }
}

#[test]
fn what_is_on_a_writable_branch_is_changed_where_it_is() {
    let home = Home::new("ww");
    home.branches[1].write("f", b"old").unwrap();
    let union = UnionFs::from_union(home.union("tdp"));
    union.write("f", b"new").unwrap();
    assert_eq!(home.on("f"), [1]);
    assert_eq!(union.read("f").unwrap(), b"new");
}

#[test]
fn a_file_of_a_read_only_branch_is_copied_to_the_nearest_writable_one_above_with_its_parents() {
    let home = Home::new("wwr");
    home.branches[2].mkdir("d").unwrap();
    home.branches[2].mkdir("d/e").unwrap();
    home.branches[2].write("d/e/f", b"old").unwrap();
    let options = Options {
        copy_up: "bu".parse().unwrap(),
        ..Options::default()
    };
    let union = Union::with_options(home.stack(), options).unwrap();
    let before = union.attr(&find(&union, "d/e/f")).unwrap().ino;
    let union = UnionFs::from_union(union);
    union.write("d/e/f", b"new").unwrap();
    assert_eq!(home.on("d/e/f"), [1, 2]);
    assert_eq!(union.read("d/e/f").unwrap(), b"new");
    assert_eq!(union.metadata("d/e/f").unwrap().ino, before);
}

#[test]
fn a_whiteout_goes_where_the_object_is_if_that_can_be_written() {
    let home = Home::new("wwr");
    home.branches[1].write("f", b"").unwrap();
    home.branches[2].write("f", b"").unwrap();
    let union = UnionFs::from_union(home.union("tdp"));
    union.remove_file("f").unwrap();
    assert!(!union.exists("f").unwrap());
    assert_eq!(home.on(".wh.f"), [1]);
    assert_eq!(home.on("f"), [2]);
}

#[test]
fn a_new_file_goes_above_what_would_hide_it() {
    let home = Home::new("wrw");
    home.branches[1].write(".wh.f", b"").unwrap();
    home.branches[1].mkdir("d").unwrap();
    home.branches[1].write("d/.wh..wh..opq", b"").unwrap();
    home.branches[2].mkdir("d").unwrap();
    // A policy that likes the lowest branch.
    home.branches[0].mkdir("e").unwrap();
    let union = UnionFs::from_union(home.union("rr"));
    for path in ["f", "d/f"] {
        union.write(path, b"x").unwrap();
        assert_eq!(union.read(path).unwrap(), b"x");
        assert_eq!(home.on(path), [0]);
    }
}

#[test]
fn a_rename_onto_a_file_of_a_higher_branch_brings_the_file_there() {
    let home = Home::new("ww");
    home.branches[0].write("target", b"old").unwrap();
    home.branches[1].write("source", b"new").unwrap();
    let union = home.union("tdp");
    let number = union.attr(&find(&union, "source")).unwrap().ino;
    let (reads, writes) = (open(&union, "source", false), open(&union, "source", true));
    let root = union.root();
    union
        .rename(
            (&root, name("source")),
            (&root, name("target")),
            RenameMode::Replace,
        )
        .unwrap();
    assert_eq!(home.on("target"), [0]);
    assert_eq!(home.on(".wh.source"), [0], "the original is still below");
    let moved = find(&union, "target");
    assert_eq!(union.attr(&moved).unwrap().ino, number);
    assert!(union.lookup(&root, name("source")).unwrap().is_none());
    // Who has it open goes on with it, and writes to what is seen.
    assert_eq!(union.write(&writes, b"NEW", 0).unwrap(), 3);
    assert_eq!(content(&union, &reads), b"NEW");
    assert_eq!(content(&union, &open(&union, "target", false)), b"NEW");
}

#[test]
fn names_of_one_file_do_not_part_when_one_would_have_to_go_to_another_branch() {
    let home = Home::new("ww");
    home.branches[0].write("target", b"old").unwrap();
    home.branches[1].write("one", b"new").unwrap();
    let union = UnionFs::from_union(home.union("tdp"));
    union.hard_link("one", "two").unwrap();
    assert_eq!(home.on("two"), [1]);
    let refused = union.rename("one", "target").unwrap_err();
    assert_eq!(refused.errno(), Errno::XDEV);
    assert_eq!(union.read("target").unwrap(), b"old");
    assert_eq!(union.metadata("one").unwrap().nlink, 2);
}

#[test]
fn a_directory_of_several_branches_is_renamed_by_copying_it() {
    let home = Home::new("ww");
    for branch in &home.branches {
        branch.mkdir("d").unwrap();
    }
    home.branches[1].mkdir("alone").unwrap();
    home.branches[1].write("alone/f", b"").unwrap();
    let union = UnionFs::from_union(home.union("tdp"));
    let refused = union.rename("d", "e").unwrap_err();
    assert_eq!(refused.errno(), Errno::XDEV);
    union.rename("alone", "moved").unwrap();
    assert_eq!(home.on("moved/f"), [1]);
    assert!(!union.exists("alone").unwrap());
}

#[test]
fn a_directory_that_takes_the_place_of_a_removed_one_shows_nothing_of_it() {
    let home = Home::new("ww");
    home.branches[1].mkdir("d").unwrap();
    home.branches[0].mkdir("d").unwrap();
    home.branches[1].write("d/f", b"").unwrap();
    let union = UnionFs::from_union(home.union("tdp"));
    union.remove_file("d/f").unwrap();
    union.remove_dir("d").unwrap();
    union.create_dir("d").unwrap();
    assert!(union.read_dir("d").unwrap().is_empty());
    union.write("d/g", b"").unwrap();
    assert_eq!(home.on("d/g"), [0]);
}

#[test]
fn a_change_below_shows_in_the_times_of_the_directory() {
    let home = Home::new("ww");
    for branch in &home.branches {
        branch.mkdir("d").unwrap();
    }
    home.branches[1].write("d/f", b"").unwrap();
    let union = UnionFs::from_union(home.union("tdp"));
    let before = union.metadata("d").unwrap().mtime;
    std::thread::sleep(std::time::Duration::from_millis(10));
    union.remove_file("d/f").unwrap();
    assert!(union.metadata("d").unwrap().mtime > before);
}

#[test]
fn branches_come_and_go_while_the_union_is_in_use() {
    let home = Home::new("wrr");
    home.branches[1].write("middle", b"m").unwrap();
    home.branches[2].write("bottom", b"b").unwrap();
    home.branches[2].mkdir("d").unwrap();
    home.branches[2].write("d/f", b"f").unwrap();
    let live = Live::new(Union::new(home.stack()).unwrap());
    let (file, directory) = {
        let now = live.now();
        let file = find(&now, "d/f");
        now.pin(&file);
        (file.number(), find(&now, "d").number())
    };
    let more = MemStorage::new();
    more.mkdir("d").unwrap();
    more.write("d/new", b"").unwrap();
    let middle = live.now().stack().branches()[1].id;
    live.change(|mut stack| {
        stack.remove(middle)?;
        Ok(stack.upper_as(more, aufs()))
    })
    .unwrap();
    let now = live.now();
    assert!(now.lookup(&now.root(), name("middle")).unwrap().is_none());
    assert_eq!(find(&now, "d").number(), directory);
    assert_eq!(find(&now, "d/f").number(), file);
    find(&now, "d/new");
    now.unpin(file, 1);
}

#[test]
fn what_went_with_its_branch_is_another_object_when_that_comes_back() {
    let home = Home::new("wr");
    home.branches[1].mkdir("d").unwrap();
    for path in ["f", "d/f"] {
        home.branches[1].write(path, b"").unwrap();
    }
    let live = Live::new(Union::new(home.stack()).unwrap());
    let paths = ["f", "d", "d/f"];
    let pinned = paths.map(|path| {
        let now = live.now();
        let inode = find(&now, path);
        now.pin(&inode);
        inode.number()
    });
    let below = live.now().stack().branches()[1].id;
    live.change(|mut stack| stack.remove(below).map(|()| stack))
        .unwrap();
    let back = Arc::clone(&home.branches[1]);
    live.change(|stack| Ok(stack.lower_as(back, aufs())))
        .unwrap();
    let now = live.now();
    let listed = |path: &str| {
        let (dir, wanted) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = match dir {
            "" => now.root(),
            dir => find(&now, dir),
        };
        let mut number = None;
        let handle = now.open_dir(&dir).unwrap();
        now.read_dir(&handle, 0, &mut |entry| {
            if *entry.name == *name(wanted) {
                number = Some(entry.ino);
            }
            Flow::Continue
        })
        .unwrap();
        number.unwrap()
    };
    for (path, old) in paths.into_iter().zip(pinned) {
        assert!(now.known(old).is_none(), "{path}");
        assert!(now.recall(old).unwrap().is_none(), "{path}");
        let listed = listed(path);
        let number = find(&now, path).number();
        assert_ne!(number, old, "{path}");
        assert_eq!(listed, number, "{path}");
        now.unpin(old, 1);
        assert_eq!(find(&now, path).number(), number, "{path}");
    }
}

/// Nothing holds the objects between one look and the next.
#[test]
fn regression_numbers_stay_over_changes_when_nobody_knows_the_objects_any_more() {
    let home = Home::new("wwr");
    home.branches[1].write("below", b"old").unwrap();
    home.branches[2].mkdir("d").unwrap();
    home.branches[2].write("f", b"old").unwrap();
    let live = Live::new(home.union("ff"));
    let numbers = || ["d", "f", "below"].map(|path| find(&live.now(), path).number());
    let write = |path: &str| drop(open(&live.now(), path, true));
    let make = |dir: &str, new: &str| {
        let now = live.now();
        let made = now.create(&find(&now, dir), name(new), NewKind::Regular, 0o644, &ME);
        drop(made.unwrap());
    };
    let before = numbers();
    make("d", "x");
    write("f");
    assert_eq!(numbers(), before);
    let [first, second] = [0, 1].map(|at| live.now().stack().branches()[at].id);
    let freeze = |branch| {
        live.change(|mut stack| {
            let frozen = stack.branch(branch).map(|branch| branch.storage.frozen());
            stack.set_access(branch, frozen.unwrap(), Heed::Marks)?;
            Ok(stack)
        })
        .unwrap();
    };
    freeze(first);
    assert_eq!(numbers(), before, "first");
    make("d", "y");
    write("below");
    for round in 0..3 {
        let more = MemStorage::new();
        live.change(|stack| Ok(stack.lower_as(more, aufs())))
            .unwrap();
        assert_eq!(numbers(), before, "{round}");
    }
    freeze(second);
    assert_eq!(numbers(), before, "second");
    let last = live.now().stack().branches().last().unwrap().id;
    live.change(|mut stack| stack.remove(last).map(|()| stack))
        .unwrap();
    assert_eq!(numbers(), before, "last");
    // The copy goes, and what it was a copy of is another object.
    live.change(|mut stack| stack.remove(first).map(|()| stack))
        .unwrap();
    let after = numbers();
    assert_eq!(after[0], before[0], "the directory has other parts");
    assert_eq!(after[2], before[2]);
}

/// A name of a lower file with several is an inode of its own, and when it is
/// copied it shows the number of the copy: from then on for good.
#[test]
fn regression_a_copied_name_of_several_shows_its_number_over_changes_and_copies() {
    let home = Home::new("wr");
    let below = UnionFs::new(Stack::new().upper(Arc::clone(&home.branches[1]) as _)).unwrap();
    below.write("f", b"old").unwrap();
    below.hard_link("f", "link").unwrap();
    let live = Live::new(home.union("tdp"));
    let shown = || {
        let now = live.now();
        now.attr(&find(&now, "f")).unwrap().ino
    };
    let write = || drop(open(&live.now(), "f", true));
    let original = shown();
    let known = find(&live.now(), "f");
    live.now().pin(&known);
    write();
    let copied = shown();
    assert_ne!(copied, original);
    let more = MemStorage::new();
    live.change(|stack| Ok(stack.lower_as(more, aufs())))
        .unwrap();
    assert_eq!(shown(), copied);
    assert_eq!(find(&live.now(), "f").number(), known.number());
    let (frozen, top) = (live.now().stack().branches()[0].id, MemStorage::new());
    live.change(|mut stack| {
        let storage = stack.branch(frozen).map(|branch| branch.storage.frozen());
        stack.set_access(frozen, storage.unwrap(), Heed::Marks)?;
        stack.insert(0, Store::Writable(top), aufs(), Heed::Marks);
        Ok(stack)
    })
    .unwrap();
    assert_eq!(shown(), copied);
    write();
    assert_eq!(shown(), copied, "of a copy of the copy");
    live.now().unpin(known.number(), 1);
    drop(known);
    assert_eq!(shown(), copied, "when it was forgotten");
}

#[test]
fn a_branch_with_open_files_stays() {
    let home = Home::new("wr");
    home.branches[1].mkdir("d").unwrap();
    home.branches[1].write("d/f", b"old").unwrap();
    home.branches[0].write("g", b"").unwrap();
    let live = Live::new(Union::new(home.stack()).unwrap());
    let reads = open(&live.now(), "d/f", false);
    let writes = open(&live.now(), "g", true);
    let ids: Vec<_> = live.now().stack().branches().iter().map(|b| b.id).collect();
    let remove = |id| live.change(move |mut stack| stack.remove(id).map(|()| stack));
    assert_eq!(remove(ids[1]), Err(Error::InUse("d/f".into())));
    let freeze = || {
        live.change(|mut stack| {
            let frozen = stack.branch(ids[0]).unwrap().storage.frozen();
            stack.set_access(ids[0], frozen, Default::default())?;
            Ok(stack)
        })
    };
    assert_eq!(freeze(), Err(Error::InUse("g".into())));
    drop(writes);
    freeze().unwrap();
    let refused = live
        .now()
        .create(&live.now().root(), name("x"), NewKind::Regular, 0o644, &ME);
    assert_eq!(refused.unwrap_err(), Error::ReadOnly);
    drop(reads);
    remove(ids[1]).unwrap();
    assert!(
        live.now()
            .lookup(&live.now().root(), name("d"))
            .unwrap()
            .is_none()
    );
}

#[test]
fn what_is_open_follows_its_file_over_a_change_and_a_copy_up() {
    let home = Home::new("r");
    home.branches[0].write("f", b"old").unwrap();
    let live = Live::new(Union::new(home.stack()).unwrap());
    let reads = open(&live.now(), "f", false);
    live.change(|mut stack| {
        let top = overlay_core::stack::Store::Writable(MemStorage::new());
        stack.insert(0, top, aufs(), Default::default());
        Ok(stack)
    })
    .unwrap();
    let now = live.now();
    let writes = open(&now, "f", true);
    now.write(&writes, b"new", 0).unwrap();
    assert_eq!(content(&now, &reads), b"new");
    // And one whose name means something else now goes on as it is.
    drop(now);
    let over = MemStorage::new();
    over.write("f", b"over").unwrap();
    live.change(|mut stack| {
        let top = overlay_core::stack::Store::ReadOnly(over);
        stack.insert(0, top, aufs(), Default::default());
        Ok(stack)
    })
    .unwrap();
    let now = live.now();
    assert_eq!(content(&now, &open(&now, "f", false)), b"over");
    assert_eq!(content(&now, &reads), b"new");
    now.write(&writes, b"more", 0).unwrap();
    assert_eq!(content(&now, &reads), b"more");
    assert_eq!(now.attr(&reads.inode()).unwrap().size, 4);
}

#[test]
fn marks_that_do_not_count_hide_nothing_and_are_not_seen() {
    let (top, below) = (MemStorage::new(), MemStorage::new());
    top.write(".wh.f", b"").unwrap();
    top.mkdir("d").unwrap();
    top.write("d/.wh..wh..opq", b"").unwrap();
    below.mkdir("d").unwrap();
    for path in ["f", "d/f"] {
        below.write(path, b"x").unwrap();
    }
    let seen = |stack| {
        let union = UnionFs::new(stack).unwrap();
        let all = union.walk("/").unwrap();
        all.len() // with the root
    };
    let (with, without) = (top.clone(), top);
    let counted = Stack::new().lower_as(with, aufs()).lower(below.clone());
    assert_eq!(seen(counted), 2);
    let ignored = Stack::new().plain_as(without, aufs()).lower(below);
    assert_eq!(seen(ignored), 4);
}

#[test]
fn whiteouts_are_shown_where_that_is_asked_for_and_still_hide() {
    let (top, below) = (MemStorage::new(), MemStorage::new());
    top.write(".wh.f", b"").unwrap();
    below.write("f", b"x").unwrap();
    below.write("g", b"x").unwrap();
    let options = Options {
        whiteouts: ShowWhiteouts::AsTheyAre,
        ..Options::default()
    };
    let stack = Stack::new().lower_as(top, aufs()).lower_as(below, aufs());
    let written = stack.clone().upper_as(MemStorage::new(), aufs());
    let union = UnionFs::from_union(Union::with_options(stack, options).unwrap());
    let names: Vec<String> = union
        .read_dir("/")
        .unwrap()
        .into_iter()
        .map(|entry| entry.name.into_string().unwrap())
        .collect();
    assert_eq!(names, [".wh.f", "g"]);
    assert!(union.exists(".wh.f").unwrap());
    assert!(!union.exists("f").unwrap());
    let refused = Union::with_options(written, options).unwrap_err();
    assert_eq!(refused.errno(), Errno::OPNOTSUPP);
}

#[test]
fn what_others_change_is_found_by_the_next_look_up_where_they_may() {
    let (top, below) = (MemStorage::new(), MemStorage::new());
    below.mkdir("d").unwrap();
    below.write("d/f", b"below").unwrap();
    let options = Options {
        others: Others::Write,
        ..Options::default()
    };
    let stack = Stack::new().upper(top.clone()).lower(below);
    let union = Union::with_options(stack, options).unwrap();
    let d = find(&union, "d");
    // A directory that comes between, with a file over the one that is known.
    top.mkdir("d").unwrap();
    top.write("d/f", b"above").unwrap();
    assert_eq!(find(&union, "d").number(), d.number());
    assert_eq!(content(&union, &open(&union, "d/f", false)), b"above");
    // A copy that goes.
    let other = UnionFs::new(Stack::new().upper(top)).unwrap();
    other.remove_dir_all("d").unwrap();
    assert_eq!(content(&union, &open(&union, "d/f", false)), b"below");
    let union = UnionFs::from_union(union);
    union.write("d/f", b"ours").unwrap();
    other.remove_file("d/f").unwrap();
    assert_eq!(union.read("d/f").unwrap(), b"below");
}

#[test]
fn a_stack_with_several_writable_branches_refuses_what_lies_elsewhere() {
    let home = Home::new("ww");
    for (option, options) in [
        (
            "redirect_dir=on",
            Options {
                redirect_dir: RedirectDir::On,
                ..Options::default()
            },
        ),
        (
            "metacopy=on",
            Options {
                metacopy: Metacopy::On,
                ..Options::default()
            },
        ),
        (
            "index=on",
            Options {
                index: Index::On,
                ..Options::default()
            },
        ),
    ] {
        let refused = Union::with_options(home.stack(), options).unwrap_err();
        assert_eq!(refused.errno(), Errno::OPNOTSUPP, "{option}");
        assert!(refused.to_string().contains(option), "{refused}");
    }
    // One that another union made is not followed.
    let (top, below) = (MemStorage::new(), MemStorage::new());
    below.mkdir("old").unwrap();
    below.write("old/f", b"").unwrap();
    {
        let options = Options {
            redirect_dir: RedirectDir::On,
            ..Options::default()
        };
        let stack = Stack::new().upper(top.clone()).lower(below.clone());
        let union = UnionFs::from_union(Union::with_options(stack, options).unwrap());
        union.rename("old", "new").unwrap();
    }
    let stack = Stack::new()
        .upper(MemStorage::new())
        .upper(MemStorage::new())
        .lower(top)
        .lower(below);
    let union = UnionFs::new(stack).unwrap();
    assert_eq!(union.read_dir("new").unwrap_err().errno(), Errno::PERM);
}
