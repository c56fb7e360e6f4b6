//! What comes back is what was there, to the byte.

use overlay_core::spec::generate::{Case, cases};
use overlay_tests::branches::Writer;
use overlay_tests::runner::{case_count, run};

use super::*;

/// There and back again, and what the branch shows in between.
fn comes_back(case: &Case, writer: Writer) -> Result<(), String> {
    let (layer, below) = (&case.layers[0], &case.layers[1]);
    let aufs = branches::aufs(layer, writer);
    let storage = stored(&aufs);
    let before = all(&storage);
    let shown = seen(&*Storage::root(&*storage), below);
    let failed = |failure: Failure| failure.to_string();
    convert(&storage, TO_OVERLAY).map_err(failed)?;
    let overlay = load::from_storage(&*Storage::root(&*storage), 0);
    let names = overlay_names(&overlay);
    if names.iter().any(|name| name.starts_with(b".wh.")) {
        return Err(format!("names of AuFS are left: {names:?}"));
    }
    let now = seen(&*Storage::root(&*storage), below);
    if now != shown {
        return Err(format!("it shows something else:\n{shown:#?}\n{now:#?}"));
    }
    convert(&storage, TO_AUFS).map_err(failed)?;
    match difference(&before, &all(&storage)) {
        same if same.is_empty() => Ok(()),
        differs => Err(differs),
    }
}

fn overlay_names(dir: &Dir<Stored>) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for (name, entry) in &dir.entries {
        names.push(name.as_bytes().to_vec());
        if let Stored::Dir(below) = entry {
            names.extend(overlay_names(below));
        }
    }
    names
}

#[test]
fn a_branch_of_aufs_comes_back_byte_by_byte() {
    run(case_count(300), cases(2..=2, 0), |case| {
        comes_back(case, Writer::Aufs)
    });
}

#[test]
fn an_unpacked_archive_comes_back_byte_by_byte() {
    run(case_count(300), cases(2..=2, 0), |case| {
        comes_back(case, Writer::Archive)
    });
}

/// Nothing is remembered of a branch that AuFS never wrote.
#[test]
fn an_overlay_branch_comes_back_with_the_same_marks() {
    run(case_count(200), cases(2..=2, 0), |case| {
        let layer = branches::expressible(&case.layers[0]);
        let storage = stored(&layer);
        let before = all(&storage);
        convert(&storage, TO_AUFS).map_err(|failure| failure.to_string())?;
        let root = Storage::root(&*storage);
        for own in [".wh..wh.aufs", ".wh..wh.plnk", ".wh..wh.orph"] {
            let name = overlay_core::NameBuf::new(own).unwrap();
            root.attr_of(&name).unwrap().ok_or(own)?;
        }
        convert(&storage, TO_OVERLAY).map_err(|failure| failure.to_string())?;
        let mut after = all(&storage);
        let memory = &b"trusted.overlay.ufs.aufs"[..];
        after.get_mut(&b""[..]).unwrap().xattrs.remove(memory);
        match difference(&before, &after) {
            same if same.is_empty() => Ok(()),
            differs => Err(differs),
        }
    });
}

#[test]
fn whiteouts_and_opaque_directories_change_their_looks() {
    let storage = branch("d/ d/.wh..wh..opq= d/f=1 .wh.gone= .wh..wh.aufs=");
    convert(&storage, TO_OVERLAY).unwrap();
    let tree = all(&storage);
    let paths: Vec<_> = tree
        .keys()
        .map(|path| path.escape_ascii().to_string())
        .collect();
    assert_eq!(paths, ["", "d", "d/f", "gone"]);
    assert_eq!(tree[&b"d"[..]].xattrs[&b"trusted.overlay.opaque"[..]], b"y");
    assert_eq!(tree[&b"gone"[..]].rdev, 0);
    convert(&storage, TO_AUFS).unwrap();
    let tree = all(&storage);
    assert!(tree.contains_key(&b".wh.gone"[..]) && tree.contains_key(&b"d/.wh..wh..opq"[..]));
    assert!(!tree.contains_key(&b"gone"[..]));
}

#[test]
fn what_stands_beside_its_whiteout_stays_and_hides_the_same() {
    for forms in [
        (Form::Containers, Form::Overlay),
        (Form::Containers, Form::Aufs),
    ] {
        let storage = branch("f=1 .wh.f= d/ d/g=1 .wh.d= e- e2/ e2/x- .wh.z=");
        let below = scenario::layer("f=2 d/ d/h=2 e=2 e2/ e2/x=2 e2/y=2 z=2", 1);
        let before = seen(&*Storage::root(&*storage), &below);
        convert(&storage, forms).unwrap();
        assert_eq!(seen(&*Storage::root(&*storage), &below), before);
        let tree = all(&storage);
        assert!(!tree.contains_key(&b".wh.f"[..]) && !tree.contains_key(&b".wh.d"[..]));
    }
}
