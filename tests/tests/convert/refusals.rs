//! What the new form cannot express refuses the conversion, before anything is
//! changed, and is named.

use overlay_core::convert::Effect;
use overlay_core::layer::SetXattr;
use overlay_core::{Name, NameBuf};

use super::*;

/// The notes of a kind that refuses or drops, in words.
fn noted(storage: &Arc<MemStorage>, forms: (Form, Form)) -> Vec<(Kind, String)> {
    let mut notes = Vec::new();
    let root = Storage::root(&**storage);
    let surveyed = conversion(forms).survey(&root, &mut |event| {
        if let Event::Noted(note) = event {
            notes.push((note.kind, note.path.escape_ascii().to_string()));
        }
        ControlFlow::Continue(())
    });
    surveyed.unwrap();
    notes.sort();
    notes
}

fn set(storage: &MemStorage, name: &str, attribute: &[u8], value: &[u8]) {
    let root = WritableStorage::root(storage);
    let name = NameBuf::new(name).unwrap();
    let node = root.lookup_writable(&name).unwrap().unwrap().node;
    node.set_xattr(attribute, value, SetXattr::Any).unwrap();
}

/// One note refuses, and nothing has changed.
fn refused(storage: &Arc<MemStorage>, forms: (Form, Form), kind: Kind, path: &str) {
    let mut refuses = noted(storage, forms);
    refuses.retain(|(kind, _)| kind.effect() == Effect::Refuses);
    assert_eq!(refuses, [(kind, path.to_owned())]);
    let before = all(storage);
    match convert(storage, forms) {
        Err(Failure::Refused(summary)) => assert_eq!(summary.refused, 1),
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(difference(&before, &all(storage)), "");
}

#[test]
fn what_overlayfs_cannot_say_is_refused() {
    let plink = branch(".wh..wh.plnk/ .wh..wh.plnk/12.34=");
    refused(&plink, TO_OVERLAY, Kind::PseudoLinks, ".wh..wh.plnk");
    refused(&branch(".wh..wh..opq="), TO_OVERLAY, Kind::RootOpaque, "");
    let named = branch(".wh.d/ .wh.d/f=");
    refused(&named, TO_OVERLAY, Kind::WhiteoutDirectory, ".wh.d");
    refused(&branch("x-"), TO_OVERLAY, Kind::DeviceWhiteout, "x");
    for mark in ["opaque", "overlay.opaque", "origin"] {
        let storage = branch("d/");
        let name = ["trusted.overlay.", mark].concat();
        set(&storage, "d", name.as_bytes(), b"y");
        refused(&storage, TO_OVERLAY, Kind::OverlayAttribute, "d");
    }
}

/// It would count while the branch is half-way, and hide what was to be seen.
#[test]
fn a_mark_of_another_namespace_is_refused_where_it_is_none() {
    for forms in [TO_OVERLAY, TO_AUFS] {
        for name in ["user.overlay.opaque", "user.fuseoverlayfs.opaque"] {
            let storage = branch("d/");
            set(&storage, "d", name.as_bytes(), b"y");
            refused(&storage, forms, Kind::OverlayAttribute, "d");
        }
        let storage = branch("d/");
        set(&storage, "d", b"user.overlay.origin", b"y");
        convert(&storage, forms).unwrap();
        assert!(
            all(&storage)[&b"d"[..]]
                .xattrs
                .contains_key(&b"user.overlay.origin"[..])
        );
    }
    for to in [Form::Overlay, Form::Aufs] {
        let storage = branch("d/ d/f=");
        set(&storage, "d", b"user.fuseoverlayfs.opaque", b"y");
        let below = scenario::layer("d/ d/g=", 1);
        let before = seen(&*Storage::root(&*storage), &below);
        convert(&storage, (Form::Containers, to)).unwrap();
        assert_eq!(seen(&*Storage::root(&*storage), &below).len(), before.len());
        let left = &all(&storage)[&b"d"[..]].xattrs;
        assert!(!left.contains_key(&b"user.fuseoverlayfs.opaque"[..]));
    }
}

#[test]
fn what_aufs_cannot_say_is_refused() {
    let long = "n".repeat(243);
    refused(&branch(&format!("{long}=")), TO_AUFS, Kind::LongName, &long);
    refused(&branch(&format!("{long}-")), TO_AUFS, Kind::LongName, &long);
    refused(&branch(".wh.x="), TO_AUFS, Kind::ReservedName, ".wh.x");
    for (mark, kind) in [
        ("redirect", Kind::Redirect),
        ("metacopy", Kind::Metacopy),
        ("overlay.opaque", Kind::EscapedAttribute),
    ] {
        let storage = branch("f=1");
        set(
            &storage,
            "f",
            ["trusted.overlay.", mark].concat().as_bytes(),
            b"x",
        );
        refused(&storage, TO_AUFS, kind, "f");
    }
    let longest = "n".repeat(242);
    let storage = branch(&format!("{longest}-"));
    convert(&storage, TO_AUFS).unwrap();
    assert!(all(&storage).contains_key([b".wh.", longest.as_bytes()].concat().as_slice()));
}

#[test]
fn what_is_dropped_is_named() {
    let storage = branch(
        "f=1 .wh.f= p/ p/.wh..wh..opq= p/.wh.q= .wh.t=text .wh..wh.orph/ .wh..wh.orph/1= .wh..wh.a.12ab=",
    );
    let expected = [
        (Kind::WhiteoutBeside, ".wh.f"),
        (Kind::WhiteoutInOpaque, "p/.wh.q"),
        (Kind::WhiteoutContent, ".wh.t"),
        (Kind::Temporary, ".wh..wh.a.12ab"),
        (Kind::Orphan, ".wh..wh.orph"),
        (Kind::Whiteout, ".wh.t"),
        (Kind::Opaque, "p"),
    ];
    let expected = expected.map(|(kind, path)| (kind, path.to_owned()));
    assert_eq!(noted(&storage, TO_OVERLAY), expected);
    let summary = convert(&storage, TO_OVERLAY).unwrap();
    assert_eq!(
        (summary.dropped, summary.whiteouts, summary.opaque),
        (5, 1, 1)
    );
    assert_eq!(all(&storage).len(), 4, "the root, f, p and t");

    let storage = branch("f=1 d/");
    for (name, mark) in [
        ("f", "origin"),
        ("f", "nlink"),
        ("f", "protattr"),
        ("d", "impure"),
    ] {
        let attribute = ["trusted.overlay.", mark].concat();
        set(&storage, name, attribute.as_bytes(), b"y");
    }
    let expected = [
        (Kind::Origin, "f"),
        (Kind::Impure, "d"),
        (Kind::LinkCount, "f"),
        (Kind::Protection, "f"),
    ];
    let expected = expected.map(|(kind, path)| (kind, path.to_owned()));
    assert_eq!(noted(&storage, TO_AUFS), expected);
    convert(&storage, TO_AUFS).unwrap();
    assert!(all(&storage)[&b"f"[..]].xattrs.is_empty());
}

#[test]
fn there_is_nothing_to_convert_between_one_form_and_itself() {
    for form in [Form::Aufs, Form::Overlay] {
        let same = Conversion::new(form, form, Namespace::Trusted);
        assert!(matches!(same, Err(Failure::SameForm(_))));
    }
    let into = Conversion::new(Form::Aufs, Form::Containers, Namespace::Trusted);
    assert!(matches!(into, Err(Failure::IntoContainers)));
}

#[test]
fn another_conversion_than_the_one_begun_is_refused() {
    let storage = branch("f=1");
    let root = WritableStorage::root(&*storage);
    let record = b"trusted.overlay.ufs.convert";
    root.set_xattr(record, b"aufs overlay 0.0 0.0", SetXattr::Any)
        .unwrap();
    match convert(&storage, TO_AUFS) {
        Err(Failure::Begun(begun)) => assert_eq!(begun, conversion(TO_OVERLAY)),
        outcome => panic!("{outcome:?}"),
    }
    assert!(convert(&storage, TO_OVERLAY).unwrap().resumed);
    root.set_xattr(record, b"copying", SetXattr::Any).unwrap();
    let outcome = convert(&storage, TO_OVERLAY);
    assert!(matches!(outcome, Err(Failure::UnfinishedCopy)));
    root.remove_xattr(record).unwrap();
    let mark = Name::new(b".wh..wh.convert").unwrap();
    materialize::in_storage(&*root, &scenario::layer(".wh..wh.convert/", 0));
    assert!(root.attr_of(mark).unwrap().is_some());
    let outcome = convert(&storage, TO_OVERLAY);
    assert!(matches!(outcome, Err(Failure::LostRecord)));
}

#[test]
fn a_look_changes_nothing_and_ends_when_its_caller_has_enough() {
    let storage = branch("d/ d/.wh.x= .wh.y=");
    let before = all(&storage);
    let root = Storage::root(&*storage);
    let summary = conversion(TO_OVERLAY).survey(&root, &mut silent).unwrap();
    assert_eq!((summary.whiteouts, summary.refused), (2, 0));
    let stopped = conversion(TO_OVERLAY).survey(&root, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Failure::Stopped)));
    assert_eq!(difference(&before, &all(&storage)), "");
}
