//! The randomness that libraries ask the system for, drawn from a seed instead.
//!
//! Owns the symbol `getrandom` of every program that links this crate: the order of hash maps, tokio's and `rand`'s
//! generators follow from it, so that a seed repeats a run. Invariant: before [`seed`] it is the kernel's own; after it, what
//! a thread draws depends on the seed and on its own draws before, never on what other threads do at the same time. The
//! crate `ring` asks the kernel by itself and stays random: keys differ between runs, lengths and times do not.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the threads begin that did not call [`seed`]. Zero: nobody has given a seed.
static OTHERS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// How far this thread has come. Zero: it has not drawn yet.
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Draws everything from `seed` from now on. Threads that have drawn before keep what they have: call it first, and
/// once in a process, on the thread that is to be repeated.
pub fn seed(seed: u64) {
    OTHERS.store(mixed(!seed) | 1, Ordering::SeqCst);
    STATE.set(mixed(seed) | 1);
}

/// SplitMix64's output function (Steele, Lea, Flood 2014).
const fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn draw() -> u64 {
    let state = if STATE.get() == 0 { OTHERS.load(Ordering::SeqCst) } else { STATE.get() };
    STATE.set(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
    mixed(state)
}

/// Fills `buffer` as getrandom(2) does.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
#[expect(unsafe_code, reason = "a C symbol is defined, and C's buffer filled")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if OTHERS.load(Ordering::SeqCst) == 0 {
        // SAFETY: the caller's promise is the kernel's condition.
        let written = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return isize::try_from(written).unwrap_or(-1);
    }
    // SAFETY: the caller promises that the buffer can be written.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    for chunk in buffer.chunks_mut(8) {
        chunk.copy_from_slice(&draw().to_le_bytes()[..chunk.len()]);
    }
    isize::try_from(length).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    /// There is one seed in a process: one test at a time gives it.
    static SEEDING: Mutex<()> = Mutex::new(());

    fn order() -> Vec<u32> {
        let map: HashMap<u32, ()> = (0..100).map(|n| (n, ())).collect();
        map.into_keys().collect()
    }

    #[test]
    fn a_seed_gives_hash_maps_their_order() {
        let _alone = SEEDING.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |seed| {
            super::seed(seed);
            std::thread::spawn(order).join().expect("no panic")
        };
        let first = fresh(7);
        assert_eq!(first, fresh(7));
        assert_ne!(first, fresh(8));
    }

    #[test]
    fn what_a_thread_draws_does_not_depend_on_other_threads() {
        let _alone = SEEDING.lock().unwrap_or_else(PoisonError::into_inner);
        let run = |others| {
            std::thread::spawn(move || {
                super::seed(7);
                for _ in 0..others {
                    std::thread::spawn(order).join().expect("no panic");
                }
                order()
            })
            .join()
            .expect("no panic")
        };
        assert_eq!(run(0), run(3));
    }
}
