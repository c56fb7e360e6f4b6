//! Databases in a lower layer: whoever has one open from before the first
//! write sees every later one. Where a stale descriptor is left, SQLite and
//! rpm corrupt what they hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::kernel::KernelMount;
use common::{Scene, can_mount, eventually, is_mounted, skipped};

/// What a stack with a work directory of its own is mounted with.
const LAYERS: &str = "lowerdir=@/l,upperdir=@/u,workdir=@/w";

fn has_sqlite() -> bool {
    let found = Command::new("sqlite3").arg("-version").output().is_ok();
    if !found {
        skipped("sqlite3 is not installed");
    }
    found
}

/// A process of `sqlite3` with a database open, which answers one question
/// after the other.
struct Sqlite {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Sqlite {
    fn open(database: &Path) -> Sqlite {
        let mut child = Command::new("sqlite3")
            .args(["-batch", "-bail"])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut sqlite = Sqlite {
            child,
            input,
            output,
        };
        sqlite.ask(".timeout 60000\n");
        sqlite
    }

    /// All that it says to `words`, in one line.
    fn ask(&mut self, words: &str) -> String {
        const END: &str = "end of the answer";
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{words}\n.print {END}").unwrap();
        let mut answer = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            assert!(read > 0, "sqlite3 ended at: {words}");
            match line.trim_end() {
                END => return answer.join(" "),
                line => answer.push(line.to_owned()),
            }
        }
    }

    fn count(&mut self) -> u64 {
        let answer = self.ask("SELECT count(*) || ' ' || total(length(text)) FROM t;");
        let (count, bytes) = answer.split_once(' ').unwrap();
        let count: u64 = count.parse().unwrap();
        let bytes: f64 = bytes.parse().unwrap();
        // A transaction is seen whole or not at all.
        assert!((bytes - count as f64 * 500.0).abs() < 0.5, "{answer}");
        count
    }

    /// Adds `rows` rows in one transaction.
    fn add(&mut self, rows: u64) {
        let answer = self.ask(&format!(
            "BEGIN IMMEDIATE; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             LIMIT {rows}) INSERT INTO t(text) SELECT hex(randomblob(250)) FROM n; COMMIT;"
        ));
        assert_eq!(answer, "");
    }

    fn check(&mut self) {
        assert_eq!(self.ask("PRAGMA integrity_check;"), "ok");
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.input = None;
        // It ends with its input; that it failed was seen in its answers.
        self.child.wait().unwrap();
    }
}

/// Rows at the beginning: some pages of the B-tree.
const FIRST: u64 = 200;

/// Makes `l/db`, closed properly.
fn database(scene: &Scene, mode: &str) {
    let mut sqlite = Sqlite::open(&scene.at("l/db"));
    sqlite.ask(&format!("PRAGMA journal_mode={mode};"));
    sqlite.ask("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX i ON t(text);");
    sqlite.add(FIRST);
}

/// Three readers from before the first write, two writers; first in turns,
/// then all at once. Returns how many rows there must be.
fn read_and_write(database: &Path) -> u64 {
    let mut readers: Vec<Sqlite> = (0..3).map(|_| Sqlite::open(database)).collect();
    for reader in &mut readers {
        assert_eq!(reader.count(), FIRST);
    }
    // A copy-up of the attributes alone comes first, where there is such.
    fs::set_permissions(database, fs::Permissions::from_mode(0o600)).unwrap();
    for reader in &mut readers {
        assert_eq!(reader.count(), FIRST);
    }
    let mut writers: Vec<Sqlite> = (0..2).map(|_| Sqlite::open(database)).collect();
    let mut rows = FIRST;
    for round in 0..6 {
        let turn = round % writers.len();
        writers[turn].add(3);
        rows += 3;
        for reader in &mut readers {
            assert_eq!(reader.count(), rows, "after commit {round}");
        }
    }
    readers[0].check();

    let committed = AtomicU64::new(rows);
    let writing = AtomicU64::new(writers.len() as u64);
    thread::scope(|scope| {
        for mut writer in writers {
            let (committed, writing) = (&committed, &writing);
            scope.spawn(move || {
                let _writing = Writing(writing);
                for _ in 0..8 {
                    writer.add(2);
                    committed.fetch_add(2, Ordering::SeqCst);
                }
            });
        }
        for reader in &mut readers {
            let (committed, writing) = (&committed, &writing);
            scope.spawn(move || {
                let mut before = 0;
                loop {
                    let done = writing.load(Ordering::SeqCst) == 0;
                    let at_least = committed.load(Ordering::SeqCst).max(before);
                    before = reader.count();
                    assert!(before >= at_least, "{before} rows of {at_least}");
                    if done {
                        break;
                    }
                    reader.check();
                    // So that writers get their turn on a busy machine.
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
    });
    let rows = committed.into_inner();
    for reader in &mut readers {
        assert_eq!(reader.count(), rows);
        reader.check();
    }
    rows
}

/// Readers go on until there are none of these, failed ones included.
struct Writing<'a>(&'a AtomicU64);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn all_is_there(database: &Path, rows: u64) {
    let mut sqlite = Sqlite::open(database);
    assert_eq!(sqlite.count(), rows);
    sqlite.check();
}

fn sqlite_with(mode: &str, options: &str) {
    let scene = Scene::new();
    fs::create_dir(scene.at("w")).unwrap();
    database(&scene, mode);
    // With an index, another name below sees it all, too.
    fs::hard_link(scene.at("l/db"), scene.at("l/d/db")).unwrap();
    let below = fs::read(scene.at("l/db")).unwrap();
    let words = format!("{LAYERS}{options}").replace('@', scene.root().to_str().unwrap());
    let mounted = scene.mount(["-o", &words, "m"]);
    let rows = read_and_write(&mounted.at("db"));
    drop(mounted);
    eventually("unmounted", || !is_mounted(&scene.at("m")));
    let mounted = scene.mount(["-o", &words, "m"]);
    all_is_there(&mounted.at("db"), rows);
    if options.contains("index=on") {
        all_is_there(&mounted.at("d/db"), rows);
    }
    drop(mounted);
    assert!(fs::read(scene.at("l/db")).unwrap() == below);
}

const OPTIONS: [&str; 4] = ["", ",metacopy=on", ",index=on", ",metacopy=on,index=on"];

#[test]
fn sqlite_readers_from_before_the_first_write_see_every_commit() {
    if can_mount() && has_sqlite() {
        OPTIONS
            .iter()
            .for_each(|options| sqlite_with("delete", options));
    }
}

#[test]
fn sqlite_readers_with_a_write_ahead_log_see_every_commit() {
    if can_mount() && has_sqlite() {
        OPTIONS
            .iter()
            .for_each(|options| sqlite_with("wal", options));
    }
}

/// A layer may be a copy of a system that was running.
#[test]
fn sqlite_recovers_a_write_ahead_log_that_lies_in_a_lower_layer() {
    if !can_mount() || !has_sqlite() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.at("live")).unwrap();
    let mut live = Sqlite::open(&scene.at("live/db"));
    live.ask("PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0;");
    live.ask("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX i ON t(text);");
    live.add(FIRST);
    for name in ["db", "db-wal", "db-shm"] {
        fs::copy(
            scene.at(format!("live/{name}")),
            scene.at(format!("l/{name}")),
        )
        .unwrap();
    }
    drop(live);
    assert!(fs::metadata(scene.at("l/db-wal")).unwrap().len() > 0);
    let mounted = scene.mount_all();
    let rows = read_and_write(&mounted.at("db"));
    all_is_there(&mounted.at("db"), rows);
}

/// The first bytes of a file, mapped and shared.
struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    #[allow(unsafe_code)]
    fn new(file: &File, len: usize, protection: i32) -> Mapping {
        let fd = file.as_raw_fd();
        // SAFETY: a new mapping, wherever the kernel likes, of a descriptor
        // that `file` keeps open during the call.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        let at = at.cast();
        Mapping { at, len }
    }

    #[allow(unsafe_code)]
    fn get(&self, index: usize) -> u8 {
        assert!(index < self.len);
        // SAFETY: inside the mapping, which lives as long as `self`; others
        // write to it, hence volatile.
        unsafe { self.at.add(index).read_volatile() }
    }

    #[allow(unsafe_code)]
    fn set(&self, index: usize, byte: u8) {
        assert!(index < self.len);
        // SAFETY: inside the mapping, which lives as long as `self` and was
        // made for writing by the callers that write.
        unsafe { self.at.add(index).write_volatile(byte) }
    }

    #[allow(unsafe_code)]
    fn sync(&self) {
        // SAFETY: the whole of a live mapping.
        let done = unsafe { libc::msync(self.at.cast(), self.len, libc::MS_SYNC) };
        assert_eq!(done, 0);
    }
}

impl Drop for Mapping {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the whole of a live mapping, which nobody uses any more.
        let done = unsafe { libc::munmap(self.at.cast(), self.len) };
        assert_eq!(done, 0);
    }
}

const SIZE: usize = 3 * 4096;

/// What a reader with a descriptor and a mapping from before the copy-up sees
/// of what a writer does afterwards.
fn seen(path: &Path) -> Vec<(&'static str, bool)> {
    let reader = File::open(path).unwrap();
    let old = Mapping::new(&reader, SIZE, libc::PROT_READ);
    assert_eq!((old.get(0), old.get(4096)), (b'.', b'.'));
    let by_descriptor = |index: usize| {
        let mut byte = [0];
        reader.read_exact_at(&mut byte, index as u64).unwrap();
        byte[0]
    };
    let mut seen = Vec::new();

    let writer = OpenOptions::new().read(true).write(true).open(path);
    let writer = writer.unwrap();
    writer.write_all_at(b"1", 0).unwrap();
    seen.push(("a write, by the descriptor", by_descriptor(0) == b'1'));
    seen.push(("a write, by the mapping", old.get(0) == b'1'));

    let mapped = Mapping::new(&writer, SIZE, libc::PROT_READ | libc::PROT_WRITE);
    mapped.set(4096, b'2');
    seen.push((
        "a mapped write, by the descriptor",
        by_descriptor(4096) == b'2',
    ));
    seen.push(("a mapped write, by the mapping", old.get(4096) == b'2'));
    mapped.sync();
    seen.push((
        "a synced one, by the descriptor",
        by_descriptor(4096) == b'2',
    ));
    seen.push(("a synced one, by the mapping", old.get(4096) == b'2'));

    writer.write_all_at(b"3", 1).unwrap();
    seen.push((
        "a later write, by the writer's mapping",
        mapped.get(1) == b'3',
    ));
    let new = Mapping::new(&reader, SIZE, libc::PROT_READ);
    seen.push(("all of it, by a new mapping", {
        [new.get(0), new.get(1), new.get(4096)] == *b"132"
    }));
    writer.set_len(2 * SIZE as u64).unwrap();
    let size = reader.metadata().unwrap().len();
    seen.push(("a new size, by the descriptor", size == 2 * SIZE as u64));
    seen
}

#[test]
fn rpm_readers_see_by_descriptor_and_mapping_at_least_what_the_kernel_shows() {
    if !can_mount() {
        return;
    }
    for options in OPTIONS {
        let scene = |layers: &str| -> (Scene, String) {
            let scene = Scene::new();
            fs::create_dir(scene.at("w")).unwrap();
            fs::write(scene.at("l/Packages"), vec![b'.'; SIZE]).unwrap();
            let redirects = ",redirect_dir=on";
            (scene, format!("{layers}{redirects}{options}"))
        };
        let (ground, words) = scene(LAYERS);
        let kernel = KernelMount::new(&ground, &words);
        let theirs = seen(&kernel.at("Packages"));
        drop(kernel);
        let (ground, words) = scene(LAYERS);
        let words = words.replace('@', ground.root().to_str().unwrap());
        let mounted = ground.mount(["-o", &words, "m"]);
        let path: PathBuf = mounted.at("Packages");
        let ours = seen(&path);
        println!("{options}: kernel {theirs:?}, here {ours:?}");
        for ((what, by_kernel), (_, here)) in theirs.iter().zip(&ours) {
            assert!(
                *here || !by_kernel,
                "{options}: only the kernel shows {what}"
            );
            // One inode of FUSE has one page cache, whatever lies below.
            assert!(*here, "{options}: {what}");
        }
        let below = fs::read(ground.at("l/Packages")).unwrap();
        assert!(below.iter().all(|byte| *byte == b'.'));
    }
}
