//! Histories of operations on the engine in memory, against the model.
//!
//! Each byte or two of the input is a choice, so a small change of the input
//! is a small change of the case.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use overlay_core::NameBuf;
use overlay_core::attr::Timestamp;
use overlay_core::spec::generate::Case;
use overlay_core::spec::{Access, Config, Object, Op, Path, Place, Presence, Rename, Rules, Umask};
use overlay_tests::check::{Depth, check};
use overlay_tests::scenario::layer;
use overlay_tests::subject::core::Core;
use overlay_tests::subject::core::storages::InMemory;

/// All names that there are, parents first.
const PATHS: &[&str] = &["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/a/b"];
const MODES: &[u32] = &[0o755, 0o644, 0, 0o2775, 0o6711, 0o1777];
const ATTRIBUTES: &[&[u8]] = &[b"user.a", b"trusted.t", b"trusted.overlay.opaque"];

/// More cost time and find no more.
const MOST_OPS: usize = 40;

fuzz_target!(|input: &[u8]| {
    // An input that ends early is a shorter case: the choices left are zeros.
    let Ok(case) = case(&mut Unstructured::new(input)) else {
        return;
    };
    let storages = InMemory::new(&case.layers, case.writable);
    let mut core = Core::new(Box::new(storages), case.writable, case.config);
    if let Err(message) = check(&case, Rules::Union, &mut core, Depth::EveryOp) {
        panic!("{case}{message}");
    }
});

fn case(input: &mut Unstructured<'_>) -> Result<Case> {
    let layers = (0..input.int_in_range(1..=4)?)
        .map(|index| Ok(layer(&words(input)?, index)))
        .collect::<Result<_>>()?;
    let writable = input.ratio(15, 16)?;
    let mut ops = Vec::new();
    while !input.is_empty() && ops.len() < MOST_OPS {
        ops.push(op(input)?);
    }
    Ok(Case {
        layers,
        writable,
        config: Config::default(),
        ops,
    })
}

/// A layer in the words of `overlay_tests::scenario`.
fn words(input: &mut Unstructured<'_>) -> Result<String> {
    let mut words = Vec::new();
    let mut dirs = vec![""];
    let mut file: Option<&&str> = None;
    for path in PATHS {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !dirs.contains(&parent) {
            continue;
        }
        let word = match input.int_in_range(0..=9)? {
            0..=2 => continue,
            3..=4 => {
                dirs.push(path);
                format!("{path}/")
            }
            5 => {
                dirs.push(path);
                format!("{path}/!")
            }
            6 => format!("{path}-"),
            7 => format!("{path}@target"),
            8 if file.is_some() => format!("{path}~{}", file.unwrap_or(path)),
            _ => {
                file = Some(path);
                format!("{path}=content")
            }
        };
        words.push(word);
    }
    Ok(words.join(" "))
}

fn path(input: &mut Unstructured<'_>) -> Result<Path> {
    Ok(split(input.choose(PATHS)?))
}

fn split(path: &str) -> Path {
    let names = path.split('/').map(NameBuf::new);
    Path(
        names
            .collect::<std::result::Result<_, _>>()
            .expect("PATHS are valid"),
    )
}

fn place(input: &mut Unstructured<'_>) -> Result<Place> {
    let Path(mut names) = path(input)?;
    let name = names.pop().expect("PATHS are not empty");
    Ok(Place {
        parent: Path(names),
        name,
    })
}

fn op(input: &mut Unstructured<'_>) -> Result<Op> {
    let umask = Umask(0o022);
    let data = b"data".to_vec();
    let slot = usize::from(input.arbitrary::<bool>()?);
    let offset = *input.choose(&[0, 2, 4096])?;
    Ok(match input.int_in_range(0..=24)? {
        0..=1 => Op::Make {
            at: place(input)?,
            object: Object::Dir,
            mode: *input.choose(MODES)?,
            umask,
        },
        2 => Op::Make {
            at: place(input)?,
            object: input
                .choose(&[Object::File, Object::Symlink(b"target".to_vec())])?
                .clone(),
            mode: *input.choose(MODES)?,
            umask,
        },
        3 => Op::Create {
            slot,
            at: place(input)?,
            mode: *input.choose(MODES)?,
            umask,
        },
        4 => Op::Link {
            from: path(input)?,
            to: place(input)?,
        },
        5..=6 => Op::Unlink { at: place(input)? },
        7..=8 => Op::Rmdir { at: place(input)? },
        9..=12 => Op::Rename {
            from: place(input)?,
            to: place(input)?,
            how: *input.choose(&[Rename::Replace, Rename::NoReplace, Rename::Exchange])?,
        },
        13 => Op::Write {
            path: path(input)?,
            offset,
            data,
        },
        14 => Op::Truncate {
            path: path(input)?,
            len: offset,
        },
        15 => Op::Chmod {
            path: path(input)?,
            mode: *input.choose(MODES)?,
        },
        16 => Op::Chown {
            path: path(input)?,
            uid: Some(7),
            gid: *input.choose(&[None, Some(8)])?,
        },
        17 => Op::SetMtime {
            path: path(input)?,
            mtime: Timestamp {
                sec: 1_000_000_000,
                nsec: 0,
            },
        },
        18 => Op::SetXattr {
            path: path(input)?,
            name: input.choose(ATTRIBUTES)?.to_vec(),
            value: b"y".to_vec(),
            how: *input.choose(&[Presence::Either, Presence::Create, Presence::Replace])?,
        },
        19 => Op::RemoveXattr {
            path: path(input)?,
            name: input.choose(ATTRIBUTES)?.to_vec(),
        },
        20 => Op::Open {
            slot,
            path: path(input)?,
            access: *input.choose(&[Access::Read, Access::Write])?,
        },
        21 => Op::WriteHeld { slot, offset, data },
        22 => Op::ReadHeld { slot },
        23 => Op::ChmodHeld { slot, mode: 0o600 },
        _ => Op::Remount,
    })
}
