//! Bytes of open files.

use overlay_core::Errno;
use overlay_core::layer::{Access, OpenFile, SeekTo, SyncWhat};
use overlay_tests::conformance::*;
use overlay_tests::contract;

const KEEP_SIZE: u32 = 0x01;
const PUNCH_HOLE: u32 = 0x02;
const ZERO_RANGE: u32 = 0x10;

fn bytes(file: &dyn OpenFile) -> Vec<u8> {
    let mut bytes = vec![0xee; file.attr().unwrap().size as usize + 10];
    let len = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(len);
    bytes
}

contract! {
    fn a_read_is_short_only_at_the_end(subject) {
        let node = write(&*subject.root, "file", b"0123456789");
        let file = node.open(Access::Read).unwrap();
        let mut buf = [0; 4];
        assert_eq!(file.read_at(&mut buf, 3).unwrap(), 4);
        assert_eq!(&buf, b"3456");
        assert_eq!(file.read_at(&mut buf, 8).unwrap(), 2);
        assert_eq!(file.read_at(&mut buf, 10).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
        assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    }

    fn a_write_beyond_the_end_leaves_zeros(subject) {
        let file = write(&*subject.root, "file", b"ab").open(Access::Write).unwrap();
        assert_eq!(file.write_at(b"cd", 5).unwrap(), 2);
        assert_eq!(bytes(&*file), b"ab\0\0\0cd");
        assert_eq!(file.write_at(b"", 100).unwrap(), 0);
        assert_eq!(file.attr().unwrap().size, 7);
    }

    fn large_writes_are_whole_and_read_back(subject) {
        let file = write(&*subject.root, "file", b"").open(Access::Write).unwrap();
        let data: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(file.write_at(&data, 4095).unwrap(), data.len());
        assert_eq!(bytes(&*file)[4095..], data);
    }

    fn a_file_open_for_reading_takes_no_write(subject) {
        let file = write(&*subject.root, "file", b"x").open(Access::Read).unwrap();
        assert_eq!(errno(file.write_at(b"y", 0)), Errno::BADF);
        assert_eq!(errno(file.set_len(0)), Errno::INVAL);
        assert_eq!(errno(file.allocate(0, 0, 10)), Errno::BADF);
    }

    fn set_len_cuts_and_grows_with_zeros(subject) {
        let file = write(&*subject.root, "file", b"0123456789").open(Access::Write).unwrap();
        file.set_len(4).unwrap();
        file.set_len(8).unwrap();
        assert_eq!(bytes(&*file), b"0123\0\0\0\0");
        file.set_len(0).unwrap();
        assert_eq!(bytes(&*file), b"");
        assert_eq!(errno(file.set_len(u64::MAX)), match file.fd() {
            // The kernel takes the length as signed.
            Some(_) => Errno::INVAL,
            None => Errno::FBIG,
        });
    }

    fn data_and_holes_are_found(subject) {
        const FAR: u64 = 1 << 20;
        let file = write(&*subject.root, "file", &[1; 4096]).open(Access::Write).unwrap();
        file.write_at(&[2; 4096], FAR).unwrap();
        file.set_len(2 * FAR).unwrap();
        let seek = |offset, to| file.seek(offset, to).unwrap();
        assert_eq!(seek(0, SeekTo::Data), 0);
        assert_eq!(seek(10, SeekTo::Data), 10);
        let hole = seek(0, SeekTo::Hole);
        assert!((4096..FAR).contains(&hole));
        assert_eq!(seek(hole, SeekTo::Hole), hole);
        assert_eq!(seek(hole, SeekTo::Data), FAR);
        let last = seek(FAR, SeekTo::Hole);
        assert!((FAR + 4096..2 * FAR).contains(&last));
        for (offset, to) in [
            (last, SeekTo::Data),
            (2 * FAR, SeekTo::Data),
            (2 * FAR, SeekTo::Hole),
            (3 * FAR, SeekTo::Hole),
        ] {
            assert_eq!(errno(file.seek(offset, to)), Errno::NXIO);
        }
        assert!(file.attr().unwrap().blocks * 512 < FAR);
    }

    fn the_end_of_a_file_is_a_hole(subject) {
        let file = write(&*subject.root, "file", &[1; 5000]).open(Access::Write).unwrap();
        assert_eq!(file.seek(0, SeekTo::Hole).unwrap(), 5000);
        let empty = write(&*subject.root, "empty", b"").open(Access::Read).unwrap();
        assert_eq!(errno(empty.seek(0, SeekTo::Data)), Errno::NXIO);
        assert_eq!(errno(empty.seek(0, SeekTo::Hole)), Errno::NXIO);
    }

    fn allocate_grows_keeps_punches_and_zeroes(subject) {
        let file = write(&*subject.root, "file", &[7; 10_000]).open(Access::Write).unwrap();
        file.allocate(KEEP_SIZE, 0, 50_000).unwrap();
        assert_eq!(file.attr().unwrap().size, 10_000);
        file.allocate(0, 0, 20_000).unwrap();
        assert_eq!(file.attr().unwrap().size, 20_000);
        file.allocate(PUNCH_HOLE | KEEP_SIZE, 100, 8092).unwrap();
        if let Err(error) = file.allocate(ZERO_RANGE, 9000, 100) {
            // As tmpfs: then nothing has changed.
            assert_eq!(error.errno(), Errno::OPNOTSUPP);
            skipped("a part: no FALLOC_FL_ZERO_RANGE here");
            file.write_at(&[0; 100], 9000).unwrap();
        }
        let seen = bytes(&*file);
        assert!(seen[..100].iter().all(|byte| *byte == 7));
        assert!(seen[100..8192].iter().all(|byte| *byte == 0));
        assert!(seen[8192..9000].iter().all(|byte| *byte == 7));
        assert!(seen[9000..9100].iter().all(|byte| *byte == 0));
        assert!(seen[9100..10_000].iter().all(|byte| *byte == 7));
        assert_eq!(errno(file.allocate(0, 0, 0)), Errno::INVAL);
        assert_eq!(errno(file.allocate(PUNCH_HOLE, 0, 10)), Errno::OPNOTSUPP);
    }

    fn copy_range_copies_until_the_end_of_the_source(subject) {
        let from = write(&*subject.root, "from", &[3; 300_000]).open(Access::Read).unwrap();
        let to = write(&*subject.root, "to", b"").open(Access::Write).unwrap();
        let mut at = 0;
        loop {
            let copied = to.copy_range(at + 5, &*from, at, u64::MAX >> 2).unwrap();
            if copied == 0 {
                break;
            }
            at += copied;
        }
        assert_eq!(at, 300_000);
        assert_eq!(bytes(&*to)[5..], bytes(&*from));
        assert_eq!(to.copy_range(0, &*from, 1 << 40, 10).unwrap(), 0);
        assert_eq!(to.copy_range(0, &*from, 0, 0).unwrap(), 0);
    }

    fn copy_range_crosses_backends(subject) {
        let other = Subject::memory();
        let from = write(&*other.root, "from", &[9; 200_000]).open(Access::Read).unwrap();
        let to = write(&*subject.root, "to", b"").open(Access::Write).unwrap();
        assert_eq!(to.copy_range(0, &*from, 0, 200_000).unwrap(), 200_000);
        assert_eq!(bytes(&*to), bytes(&*from));
        assert!(!to.reflink(&*from).unwrap());
    }

    fn copy_range_within_a_file_refuses_an_overlap(subject) {
        let file = write(&*subject.root, "file", b"0123456789").open(Access::Write).unwrap();
        assert_eq!(errno(file.copy_range(2, &*file, 0, 5)), Errno::INVAL);
        assert_eq!(file.copy_range(10, &*file, 0, 5).unwrap(), 5);
        assert_eq!(bytes(&*file), b"012345678901234");
    }

    fn a_reflink_shares_all_or_nothing(subject) {
        let from = write(&*subject.root, "from", &[4; 8192]).open(Access::Read).unwrap();
        let to = write(&*subject.root, "to", b"before").open(Access::Write).unwrap();
        match to.reflink(&*from).unwrap() {
            true => assert_eq!(bytes(&*to), bytes(&*from)),
            false => assert_eq!(bytes(&*to), b"before"),
        }
    }

    fn sync_takes_files_and_directories_and_all_else(subject) {
        let file = write(&*subject.root, "file", b"x");
        let open = file.open(Access::Write).unwrap();
        open.sync(SyncWhat::Data).unwrap();
        open.sync(SyncWhat::All).unwrap();
        subject.root.sync().unwrap();
        for (number, kind) in KINDS.into_iter().enumerate() {
            make(&*subject.root, &format!("object-{number}"), kind).sync().unwrap();
        }
    }

    fn a_write_tells_its_time_and_a_read_does_not(subject) {
        let node = write(&*subject.root, "file", b"x");
        let before = node.attr().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        fill(&*node, b"y");
        let after = node.attr().unwrap();
        assert!(after.mtime > before.mtime && after.ctime > before.ctime);
    }
}
