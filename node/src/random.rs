//! Random numbers of the operating system, drawn in blocks.

use std::cell::RefCell;

thread_local! {
    static BLOCK: RefCell<(usize, [u8; 256])> = const { RefCell::new((256, [0; 256])) };
}

/// Fills an array with random bytes.
///
/// # Panics
///
/// If the operating system has no random numbers: a node cannot go on without.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    getrandom::fill(&mut out).expect("the operating system gives random numbers");
    out
}

/// A random number, cheap enough for every address.
pub(crate) fn u64() -> u64 {
    BLOCK.with_borrow_mut(|(used, block)| {
        if *used + 8 > block.len() {
            *block = bytes();
            *used = 0;
        }
        let mut out = [0; 8];
        out.copy_from_slice(&block[*used..*used + 8]);
        block[*used..*used + 8].fill(0);
        *used += 8;
        u64::from_le_bytes(out)
    })
}
