//! The rules of the semantics, smallest cases first.

use super::*;

fn name(text: &str) -> NameBuf {
    NameBuf::new(text).expect("tests use valid names")
}

fn dir(entries: impl IntoIterator<Item = (&'static str, Stored)>) -> Dir<Stored> {
    Dir::new(
        1,
        entries
            .into_iter()
            .map(|(text, stored)| (name(text), stored)),
    )
}

fn file(content: &str) -> Stored {
    Stored::file(2, content.into())
}

/// The paths that `layers` show.
fn shows(layers: &[Dir<Stored>]) -> Vec<String> {
    look(&view(layers))
        .keys()
        .skip(1)
        .map(Path::to_string)
        .collect()
}

#[test]
fn the_topmost_entry_wins() {
    let layers = [
        dir([("a", file("top"))]),
        dir([("a", file("low")), ("b", file(""))]),
    ];
    assert_eq!(shows(&layers), ["/a", "/b"]);
    let Visible::Leaf(a) = &view(&layers).entries[&name("a")] else {
        panic!("a is a file");
    };
    assert_eq!(a.data, Data::File(b"top".to_vec()));
}

#[test]
fn directories_merge() {
    let layers = [
        dir([("d", Stored::Dir(dir([("x", file(""))])))]),
        dir([("d", Stored::Dir(dir([("y", file(""))])))]),
    ];
    assert_eq!(shows(&layers), ["/d", "/d/x", "/d/y"]);
}

#[test]
fn a_whiteout_hides_all_below_it() {
    let low = dir([("a", Stored::Dir(dir([("x", file(""))])))]);
    assert!(shows(&[dir([("a", Stored::Whiteout)]), low.clone()]).is_empty());
    let over = dir([("a", Stored::Dir(dir([])))]);
    assert_eq!(shows(&[over, dir([("a", Stored::Whiteout)]), low]), ["/a"]);
}

#[test]
fn a_file_between_two_directories_ends_the_search() {
    let layers = [
        dir([("a", Stored::Dir(dir([("top", file(""))])))]),
        dir([("a", file(""))]),
        dir([("a", Stored::Dir(dir([("low", file(""))])))]),
    ];
    assert_eq!(shows(&layers), ["/a", "/a/top"]);
}

#[test]
fn an_opaque_directory_hides_all_below_it() {
    let opaque = Dir {
        opaque: true,
        ..dir([("top", file(""))])
    };
    let layers = [
        dir([("a", Stored::Dir(opaque))]),
        dir([("a", Stored::Dir(dir([("low", file(""))])))]),
    ];
    assert_eq!(shows(&layers), ["/a", "/a/top"]);
}
