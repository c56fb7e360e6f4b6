//! What the harness writes, it reads back: generated layers survive the way
//! to each kind of storage.

use overlay_core::layer::Storage as _;
use overlay_core::layer::dir::{Descriptors, DirStorage};
use overlay_core::spec::generate::cases_of_redirects;
use overlay_core::spec::{Dir, Stored, differences, look, view};
use overlay_tests::load;
use overlay_tests::runner::{case_count, root, run, skip};
use overlay_tests::scratch::Scratch;
use overlay_tests::subject::core::storages::{InMemory, Storages};

/// The same as a stack, and layer by layer: nothing is lost that another
/// layer happens to hide.
fn same(written: &[Dir<Stored>], read: &[Dir<Stored>]) -> Result<(), String> {
    let alone = written.iter().zip(read).map(|(one, other)| {
        let one = std::slice::from_ref(one);
        let other = std::slice::from_ref(other);
        differences(&look(&view(one)), &look(&view(other)))
    });
    let together = differences(&look(&view(written)), &look(&view(read)));
    match alone.flatten().chain(together).next() {
        None => Ok(()),
        Some(difference) => Err(difference.to_string()),
    }
}

#[test]
fn layers_on_disk_are_read_back_as_they_were_written() {
    if skip(root()) {
        return;
    }
    run(case_count(50), cases_of_redirects(1..=5), |case| {
        same(&case.layers, &Scratch::new(&case.layers).load())
    });
}

#[test]
fn layers_in_memory_are_read_back_as_they_were_written() {
    run(case_count(200), cases_of_redirects(1..=5), |case| {
        same(&case.layers, &InMemory::new(&case.layers, false).stored())
    });
}

#[test]
fn the_directory_backend_reads_what_lies_on_disk() {
    if skip(root()) {
        return;
    }
    run(case_count(50), cases_of_redirects(1..=5), |case| {
        let scratch = Scratch::new(&case.layers);
        let budget = Descriptors::new(16);
        let read = (0..case.layers.len()).map(|index| {
            let storage =
                DirStorage::open(&scratch.layer(index), &budget).expect("it was just made");
            load::from_storage(&*storage.root(), index)
        });
        same(&case.layers, &read.collect::<Vec<_>>())
    });
}
