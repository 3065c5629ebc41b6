//! Buffers that end where memory ends: an unmapped page right behind the last byte, and one right
//! before the first. A kernel that reads or writes a byte too many is killed here.
#![allow(unsafe_code, reason = "unmapped pages")]

use ciphermill_cipher::cpu::{CbcStream, CounterWidth, Data, Kernel};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::{bytes, kernels, secret};

const PAGE: usize = 4096;

/// Two pages between two that may not be touched.
struct Guarded(*mut u8);

impl Guarded {
    fn new() -> Guarded {
        let whole = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new memory, nobody else's.
        unsafe {
            let start = mmap_anonymous(std::ptr::null_mut(), 4 * PAGE, whole, MapFlags::PRIVATE);
            let start = start.expect("memory").cast::<u8>();
            mprotect(start.cast(), PAGE, MprotectFlags::empty()).expect("guard");
            mprotect(start.add(3 * PAGE).cast(), PAGE, MprotectFlags::empty()).expect("guard");
            Guarded(start)
        }
    }

    /// The first `length` bytes, or the last.
    fn bytes(&mut self, length: usize, at_end: bool) -> &mut [u8] {
        assert!(length <= 2 * PAGE);
        let skipped = if at_end { 2 * PAGE - length } else { 0 };
        // SAFETY: inside the two pages; borrowed as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(PAGE + skipped), length) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and borrowed by nobody.
        let _ = unsafe { munmap(self.0.cast(), 4 * PAGE) };
    }
}

#[test]
fn no_kernel_touches_a_byte_outside() {
    let (mut one, mut two) = (Guarded::new(), Guarded::new());
    for kernel in kernels() {
        for length in (0..=1200).chain([2047, 4097, 8191, 8192]) {
            for at_end in [true, false] {
                let (from, to) = (one.bytes(length, at_end), two.bytes(length, at_end));
                touch_all(kernel, from, to);
            }
        }
    }
}

fn touch_all(kernel: &'static dyn Kernel, from: &mut [u8], to: &mut [u8]) {
    let key_bytes = [16, 24, 32][from.len() % 3];
    let key = secret(&bytes(key_bytes, 1));
    let cipher = kernel.key(&key).expect("key");
    let gcm = kernel.gcm(&key).expect("key");
    let mut state = [0; 16];
    cipher.ctr([0xff; 16], CounterWidth::Bits128, (&mut *from).into());
    cipher.ctr(
        [1; 16],
        CounterWidth::Bits32,
        Data::new(from, to).expect("equal"),
    );
    gcm.encrypt([2; 16], &mut state, Data::new(from, to).expect("equal"));
    gcm.decrypt([2; 16], &mut state, (&mut *to).into());
    gcm.ghash(&mut state, from);
    let whole = from.len() - from.len() % 16;
    // At the end of the pages the blocks must end there too.
    let (from, to) = if from.len() == whole {
        (from, to)
    } else {
        (&mut from[..whole], &mut to[..whole])
    };
    cipher.cbc_decrypt(&[3; 16], to);
    cipher.cbc_encrypt(&mut state, Data::new(from, to).expect("equal"));
    let mut streams = [
        CbcStream {
            key: cipher.as_ref(),
            chain: [4; 16],
            data: from.into(),
        },
        CbcStream {
            key: cipher.as_ref(),
            chain: [5; 16],
            data: to.into(),
        },
    ];
    kernel.cbc_encrypt(&mut streams);
}
