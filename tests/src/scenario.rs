//! Small histories as text, run on the model and on every subject that this
//! machine has, each answer given beforehand.
//!
//! A layer is a list of words: `d/` a directory, `d/!` an opaque one, `d/>e` and
//! `d/>/a/b` one with a redirect, `f=text`
//! a file, `f~g` a hard link of `g` (a file or symlink before it), `f-` a whiteout,
//! `f@target` a symlink, `f%` a metacopy, `f%e` and `f%/a/b` one with a
//! redirect. Paths in a layer have no leading slash.
//!
//! A step is `verb arguments: answer`; see [`parse`] for the verbs.

use std::collections::BTreeMap;

use overlay_core::name::NameBuf;
use overlay_core::spec::generate::Case;
use overlay_core::spec::{
    Access, Config, Data, Dir, Id, Leaf, Meta, Metacopy, Model, Object, Op, Outcome, Path, Place,
    Presence, Redirect, RedirectDir, Rename, Rules, Stored, Umask, sized,
};

use crate::check::{Depth, check};
use crate::runner;
use crate::subject::core::Core;
use crate::subject::core::storages::{InMemory, OnDirectories};
use crate::subject::kernel::Kernel;
use crate::subject::mounted::Mounted;
use crate::subject::ours::supports;

/// Runs `steps` on layers (top first, the top one written) and demands the
/// answers given. The kernel's overlayfs has to give them too.
pub fn holds(layers: &[&str], steps: &[&str]) {
    run(layers, steps, true, KernelToo::Yes);
}

/// The same on a stack without a writable layer.
pub fn holds_read_only(layers: &[&str], steps: &[&str]) {
    run(layers, steps, false, KernelToo::Yes);
}

/// The same where the kernel is known to answer otherwise.
pub fn holds_except_on_the_kernel(layers: &[&str], steps: &[&str]) {
    run(layers, steps, true, KernelToo::No);
}

/// The same with `redirect_dir=on`.
pub fn holds_with_redirects(layers: &[&str], steps: &[&str]) {
    let config = Config {
        redirect_dir: RedirectDir::On,
        ..Config::default()
    };
    holds_with(config, layers, steps);
}

/// The same with these options; on our union only if it knows them all.
pub fn holds_with(config: Config, layers: &[&str], steps: &[&str]) {
    run_with(layers, steps, true, config, KernelToo::Yes);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KernelToo {
    Yes,
    No,
}

/// A case from text, the top layer written; the answers are not looked at.
pub fn case(layers: &[&str], steps: &[&str]) -> Case {
    case_with(layers, steps, Config::default())
}

/// The same with these options.
pub fn case_with(layers: &[&str], steps: &[&str], config: Config) -> Case {
    let layers = layers.iter().enumerate();
    let layers: Vec<_> = layers.map(|(index, text)| layer(text, index)).collect();
    Case {
        layers: sized(&layers, config.data_only),
        writable: true,
        config,
        ops: steps.iter().map(|step| parse(step).0).collect(),
    }
}

fn run(layers: &[&str], steps: &[&str], writable: bool, kernel_too: KernelToo) {
    run_with(layers, steps, writable, Config::default(), kernel_too);
}

fn run_with(
    layers: &[&str],
    steps: &[&str],
    writable: bool,
    config: Config,
    kernel_too: KernelToo,
) {
    let case = Case {
        writable,
        ..case_with(layers, steps, config)
    };
    the_model_says(&case, steps);
    let fail = |subject: &str, message: String| panic!("{subject}\n{case}{message}");
    if supports(&config) {
        on_the_engine(&case, &fail);
    }
    if kernel_too == KernelToo::Yes && !runner::skip(Kernel::available()) {
        assert!(config.is_accepted(), "the kernel refuses {config}");
        let mut kernel = Kernel::new(&case.layers, writable, config);
        check(&case, Rules::Kernel, &mut kernel, Depth::EveryOp)
            .unwrap_or_else(|message| fail("the kernel", message));
    }
}

/// Demands the answers given of the specification.
pub fn the_model_says(case: &Case, steps: &[&str]) {
    let mut model = Model::new(&case.layers, case.writable, Rules::Union, case.config);
    for step in steps {
        let (op, expected) = parse(step);
        let found = answer(&model.apply(&op));
        assert_eq!(found, expected, "the model, at: {step}\n{case}");
    }
}

fn on_the_engine(case: &Case, fail: &dyn Fn(&str, String)) {
    let (writable, config) = (case.writable, case.config);
    let storages = InMemory::with(&case.layers, writable, config);
    let mut core = Core::new(Box::new(storages), writable, config);
    check(case, Rules::Union, &mut core, Depth::EveryOp)
        .unwrap_or_else(|message| fail("core in memory", message));
    if !runner::skip(runner::root()) {
        let storages = OnDirectories::with(&case.layers, writable, config);
        let mut core = Core::new(Box::new(storages), writable, config);
        check(case, Rules::Union, &mut core, Depth::EveryOp)
            .unwrap_or_else(|message| fail("core on directories", message));
    }
    if !runner::skip(Mounted::available()) {
        let mut mounted = Mounted::new(&case.layers, writable, config);
        check(case, Rules::Union, &mut mounted, Depth::EveryOp)
            .unwrap_or_else(|message| fail("our mount", message));
    }
}

fn name(text: &str) -> NameBuf {
    NameBuf::new(text).unwrap()
}

fn path(text: &str) -> Path {
    let names = text.split('/').filter(|part| !part.is_empty());
    Path(names.map(name).collect())
}

fn place(text: &str) -> Place {
    let mut names = path(text).0;
    let name = names.pop().unwrap();
    Place {
        parent: Path(names),
        name,
    }
}

/// One layer from its words.
pub fn layer(text: &str, layer: usize) -> Dir<Stored> {
    let mut next = 1;
    let mut fresh = || {
        next += 1;
        Id {
            layer,
            number: next,
        }
    };
    let dir = |id| Dir {
        parts: vec![id],
        ..Dir::new(0, [])
    };
    let mut root = dir(fresh());
    let mut leaves: BTreeMap<&str, Leaf> = BTreeMap::new();
    for word in text.split_whitespace() {
        let leaf = |id, data, mode| Leaf {
            id,
            links: 1,
            data,
            meta: Meta::new(mode),
        };
        let (at, stored) = if let Some((at, target)) = word.split_once("/>") {
            let dir = Dir {
                redirect: Some(redirect(target)),
                ..dir(fresh())
            };
            (at, Stored::Dir(dir))
        } else if let Some((at, target)) = word.split_once('%') {
            let copy = Metacopy {
                id: fresh(),
                links: 1,
                size: 0,
                redirect: (!target.is_empty()).then(|| redirect(target)),
                meta: Meta::new(0o644),
            };
            (at, Stored::Metacopy(copy))
        } else if let Some((at, content)) = word.split_once('=') {
            let file = leaf(fresh(), Data::File(content.into()), 0o644);
            leaves.insert(at, file.clone());
            (at, Stored::Leaf(file))
        } else if let Some((at, target)) = word.split_once('@') {
            let symlink = leaf(fresh(), Data::Symlink(target.into()), 0o777);
            leaves.insert(at, symlink.clone());
            (at, Stored::Leaf(symlink))
        } else if let Some((at, first)) = word.split_once('~') {
            (at, Stored::Leaf(leaves[first].clone()))
        } else if let Some(at) = word.strip_suffix('-') {
            (at, Stored::Whiteout)
        } else if let Some(at) = word.strip_suffix("/!") {
            let opaque = true;
            let dir = Dir {
                opaque,
                ..dir(fresh())
            };
            (at, Stored::Dir(dir))
        } else {
            (word.strip_suffix('/').unwrap(), Stored::Dir(dir(fresh())))
        };
        put(&mut root, &path(at).0, stored);
    }
    let mut links = BTreeMap::new();
    each_leaf(&mut root, &mut |leaf| {
        *links.entry(leaf.id).or_insert(0) += 1
    });
    each_leaf(&mut root, &mut |leaf| leaf.links = links[&leaf.id]);
    root
}

fn redirect(target: &str) -> Redirect {
    match target.starts_with('/') {
        true => Redirect::Path(path(target)),
        false => Redirect::Name(name(target)),
    }
}

fn put(dir: &mut Dir<Stored>, at: &[NameBuf], stored: Stored) {
    match at {
        [] => unreachable!("a word names something"),
        [name] => drop(dir.entries.insert(name.clone(), stored)),
        [parent, below @ ..] => match dir.entries.get_mut(&**parent) {
            Some(Stored::Dir(dir)) => put(dir, below, stored),
            Some(Stored::Leaf(_) | Stored::Metacopy(_) | Stored::Whiteout) | None => {
                panic!("{parent} must come first, as a directory")
            }
        },
    }
}

fn each_leaf(dir: &mut Dir<Stored>, each: &mut dyn FnMut(&mut Leaf)) {
    for entry in dir.entries.values_mut() {
        match entry {
            Stored::Whiteout | Stored::Metacopy(_) => {}
            Stored::Dir(dir) => each_leaf(dir, each),
            Stored::Leaf(leaf) => each(leaf),
        }
    }
}

/// A step: the operation and the answer to expect.
pub(crate) fn parse(step: &str) -> (Op, String) {
    let (call, answer) = step.split_once(':').unwrap();
    let words: Vec<&str> = call.split_whitespace().collect();
    let umask = Umask(0o022);
    let made = |at, object, mode| Op::Make {
        at: place(at),
        object,
        mode,
        umask,
    };
    let moved = |from, to, how| Op::Rename {
        from: place(from),
        to: place(to),
        how,
    };
    let octal = |text| u32::from_str_radix(text, 8).unwrap();
    let slot = |text: &str| text.parse().unwrap();
    let op = match words[..] {
        ["mkdir", at] => made(at, Object::Dir, 0o777),
        ["mkfile", at] => made(at, Object::File, 0o666),
        ["whiteout", at] => {
            let device = overlay_core::FileKind::CharDevice;
            made(at, Object::Special(device, 0), 0o600)
        }
        ["ln", from, to] => Op::Link {
            from: path(from),
            to: place(to),
        },
        ["rm", at] => Op::Unlink { at: place(at) },
        ["rmdir", at] => Op::Rmdir { at: place(at) },
        ["mv", from, to] => moved(from, to, Rename::Replace),
        ["mv-new", from, to] => moved(from, to, Rename::NoReplace),
        ["swap", from, to] => moved(from, to, Rename::Exchange),
        ["append", at, data] => Op::Append {
            path: path(at),
            data: data.into(),
        },
        ["empty", at] => Op::Empty { path: path(at) },
        ["truncate", at, len] => Op::Truncate {
            path: path(at),
            len: len.parse().unwrap(),
        },
        ["read", at] => Op::Read { path: path(at) },
        ["ls", at] => Op::ReadDir { path: path(at) },
        ["stat", at] => Op::Stat { path: path(at) },
        ["chmod", at, mode] => Op::Chmod {
            path: path(at),
            mode: octal(mode),
        },
        ["chown", at, id] => Op::Chown {
            path: path(at),
            uid: Some(id.parse().unwrap()),
            gid: Some(id.parse().unwrap()),
        },
        ["setxattr", at, attribute, value] => Op::SetXattr {
            path: path(at),
            name: attribute.into(),
            value: value.into(),
            how: Presence::Either,
        },
        ["getxattr", at, attribute] => Op::GetXattr {
            path: path(at),
            name: attribute.into(),
        },
        ["open", number, at] => Op::Open {
            slot: slot(number),
            path: path(at),
            access: Access::Read,
        },
        ["open-rw", number, at] => Op::Open {
            slot: slot(number),
            path: path(at),
            access: Access::Write,
        },
        ["read-held", number] => Op::ReadHeld { slot: slot(number) },
        ["write-held", number, data] => Op::WriteHeld {
            slot: slot(number),
            offset: 0,
            data: data.into(),
        },
        ["stat-held", number] => Op::StatHeld { slot: slot(number) },
        ["chmod-held", number, mode] => Op::ChmodHeld {
            slot: slot(number),
            mode: octal(mode),
        },
        ["remount"] => Op::Remount,
        ["rotate"] => Op::Rotate,
        _ => panic!("no such step: {step}"),
    };
    (op, answer.trim().to_owned())
}

/// An outcome in the words of a step.
fn answer(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "ok".into(),
        Outcome::Failed(errno) => errno_name(*errno).into(),
        Outcome::Bytes(bytes) => bytes.escape_ascii().to_string(),
        Outcome::Names(names) => {
            let names = names.iter().map(|name| name.escape_ascii().to_string());
            names.collect::<Vec<_>>().join(" ")
        }
        Outcome::Entries(entries) => {
            let names = entries.keys().map(ToString::to_string);
            names.collect::<Vec<_>>().join(" ")
        }
        Outcome::Sight(sight) => format!(
            "{:04o} {}:{} nlink {}",
            sight.mode, sight.uid, sight.gid, sight.nlink
        ),
    }
}

fn errno_name(errno: rustix::io::Errno) -> &'static str {
    use rustix::io::Errno;
    match errno {
        Errno::NOENT => "ENOENT",
        Errno::EXIST => "EEXIST",
        Errno::NOTDIR => "ENOTDIR",
        Errno::ISDIR => "EISDIR",
        Errno::NOTEMPTY => "ENOTEMPTY",
        Errno::ROFS => "EROFS",
        Errno::XDEV => "EXDEV",
        Errno::PERM => "EPERM",
        Errno::INVAL => "EINVAL",
        Errno::NODATA => "ENODATA",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::LOOP => "ELOOP",
        Errno::BADF => "EBADF",
        Errno::IO => "EIO",
        other => panic!("give {other} a name here"),
    }
}
