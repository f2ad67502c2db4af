//! The randomness and the time that libraries ask the system for, given by a simulation instead.
//!
//! Owns the symbols `getrandom`, `syscall` and `clock_gettime` of every program that links this crate. By the first one ask hash
//! maps for their order, tokio and `rand`; by the second one asks `ring`, for keys and all that TLS draws: what a corrupted or
//! late packet is taken for depends on its very bytes. By the third one the standard library asks for every `Instant` and
//! `SystemTime`. So a seed repeats a run to the byte, on a busy machine as on an idle one. Invariants: before [`seed`] and
//! [`set_clocks`] all are the system's own; after them, what a thread draws and reads depends on the seed and on its own draws
//! and settings before, never on what other threads or programs do at the same time; what one symbol gives does not depend on how
//! often another is asked.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_long, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

/// Where the threads begin that did not call [`seed`]. Zero: nobody has given a seed.
static OTHERS: AtomicU64 = AtomicU64::new(0);

/// Sets the second symbol's draws apart from the first one's.
const APART: u64 = 0x6a09_e667_f3bc_c908;

thread_local! {
    /// How far this thread has come by the first symbol. Zero: it has not drawn yet.
    static STATE: Cell<u64> = const { Cell::new(0) };
    /// How far it has come by the second.
    static KEYS: Cell<u64> = const { Cell::new(0) };
    /// What its wall clock and its other clocks read; none while they are the system's.
    static CLOCKS: Cell<Option<(Duration, Duration)>> = const { Cell::new(None) };
}

/// Draws everything from `seed` from now on. Threads that have drawn before keep what they have: call it first, and
/// once in a process, on the thread that is to be repeated.
pub fn seed(seed: u64) {
    OTHERS.store(mixed(!seed) | 1, Ordering::SeqCst);
    STATE.set(mixed(seed) | 1);
    KEYS.set(mixed(seed ^ APART) | 1);
}

/// Has this thread's clocks stand at these times from now on: its wall clock so long after 1970, all others so long after the
/// start of a machine. They move when they are set again, and not otherwise.
pub fn set_clocks(wall: Duration, others: Duration) {
    CLOCKS.set(Some((wall, others)));
}

/// SplitMix64's output function (Steele, Lea, Flood 2014).
const fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Whether a seed has been given.
fn is_seeded() -> bool {
    OTHERS.load(Ordering::SeqCst) != 0
}

fn draw(state: &Cell<u64>, begin: u64) -> u64 {
    let at = if state.get() == 0 { begin } else { state.get() };
    state.set(at.wrapping_add(0x9e37_79b9_7f4a_7c15));
    mixed(at)
}

fn fill(buffer: &mut [u8], mut draw: impl FnMut() -> u64) {
    for chunk in buffer.chunks_mut(8) {
        chunk.copy_from_slice(&draw().to_le_bytes()[..chunk.len()]);
    }
}

/// Fills `buffer` as getrandom(2) does.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
#[expect(unsafe_code, reason = "a C symbol is defined, and C's buffer filled")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    if !is_seeded() {
        // SAFETY: the caller's promise is the kernel's condition.
        let written = unsafe { real_syscall()(libc::SYS_getrandom, buffer, length, flags) };
        return isize::try_from(written).unwrap_or(-1);
    }
    // SAFETY: the caller promises that the buffer can be written.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    let begin = OTHERS.load(Ordering::SeqCst);
    fill(buffer, || STATE.with(|state| draw(state, begin)));
    isize::try_from(length).unwrap_or(-1)
}

type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;
type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

/// The C library's own function, behind the one defined here. No lock guards it, for a lock's own wait is a system call.
#[expect(unsafe_code, reason = "a C symbol is looked up")]
fn real(name: &CStr, found: &AtomicPtr<c_void>) -> *mut c_void {
    let mut function = found.load(Ordering::Acquire);
    if function.is_null() {
        // SAFETY: the name ends with a zero.
        function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        assert!(!function.is_null(), "this C library has no {name:?}");
        found.store(function, Ordering::Release);
    }
    function
}

#[expect(unsafe_code, reason = "a C symbol is used")]
fn real_syscall() -> Syscall {
    static FOUND: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    // SAFETY: the C library's function of this name has this type.
    unsafe { std::mem::transmute::<*mut c_void, Syscall>(real(c"syscall", &FOUND)) }
}

#[expect(unsafe_code, reason = "a C symbol is used")]
fn real_clock_gettime() -> ClockGettime {
    static FOUND: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    // SAFETY: the C library's function of this name has this type.
    unsafe { std::mem::transmute::<*mut c_void, ClockGettime>(real(c"clock_gettime", &FOUND)) }
}

/// What a clock of this thread reads, if it is not the system's.
fn read(clock: libc::clockid_t) -> Option<Duration> {
    let (wall, others) = CLOCKS.get()?;
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Some(wall),
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_BOOTTIME => Some(others),
        // How much a process or a thread has worked is nobody's to set.
        _ => None,
    }
}

/// Reads a clock as `clock_gettime(2)` does.
///
/// # Safety
/// `time` must be valid for writes.
#[expect(unsafe_code, reason = "a C symbol is defined, and C's structure written")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let Some(at) = read(clock) else {
        // SAFETY: the caller's promise is handed on.
        return unsafe { real_clock_gettime()(clock, time) };
    };
    // SAFETY: the caller promises that it can be written.
    let time = unsafe { &mut *time };
    time.tv_sec = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    time.tv_nsec = at.subsec_nanos().into();
    0
}

/// Makes a system call as syscall(2) does, but for getrandom(2) once there is a seed. C declares it with any number of arguments;
/// on Linux, those of x86-64 and AArch64 are passed as seven of a fixed number are.
///
/// # Safety
/// As that of the system call.
#[expect(unsafe_code, reason = "a C symbol is defined, and C's buffer filled")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    if number != libc::SYS_getrandom || !is_seeded() {
        // SAFETY: the caller's promise is handed on.
        return unsafe { real_syscall()(number, a, b, c, d, e, f) };
    }
    // SAFETY: the caller promises that the buffer, the first argument, can be written.
    let buffer = unsafe { std::slice::from_raw_parts_mut(a as *mut u8, b) };
    let begin = OTHERS.load(Ordering::SeqCst) ^ APART;
    fill(buffer, || KEYS.with(|state| draw(state, begin)));
    c_long::try_from(b).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};
    use std::time::{Duration, Instant, SystemTime};

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

    /// Asks the kernel as `ring` does.
    #[expect(unsafe_code, reason = "the symbol is called as a library would")]
    fn key() -> [u8; 20] {
        let mut key = [0; 20];
        // SAFETY: the buffer has this length.
        let written = unsafe { libc::syscall(libc::SYS_getrandom, key.as_mut_ptr(), key.len(), 0) };
        assert_eq!(written, 20);
        key
    }

    #[test]
    fn keys_follow_from_the_seed_and_shift_no_other_draw() {
        let _alone = SEEDING.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |seed, keys| {
            let run = move || {
                super::seed(seed);
                ((0..keys).map(|_| key()).collect::<Vec<_>>(), order())
            };
            std::thread::spawn(run).join().expect("no panic")
        };
        let (keys, first) = fresh(7, 2);
        assert_ne!(keys[0], keys[1]);
        assert_eq!(fresh(7, 2), (keys.clone(), first.clone()));
        assert_ne!(fresh(8, 2).0, keys);
        assert_eq!(fresh(7, 0).1, first);
        // Other calls reach the kernel, and its errors the caller.
        #[expect(unsafe_code, reason = "the symbol is called as a library would")]
        // SAFETY: neither call reads or writes memory.
        let (own, wrong) = unsafe { (libc::syscall(libc::SYS_getpid), libc::syscall(-1)) };
        assert_eq!(u32::try_from(own), Ok(std::process::id()));
        assert_eq!(wrong, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS));
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

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the machine's clocks are what is looked at")]
    fn a_threads_clocks_stand_where_they_are_set_and_those_of_others_go_on() {
        let wall = || SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let (before, second) = (wall(), Duration::from_secs(1));
        std::thread::spawn(move || {
            super::set_clocks(second, second);
            let begun = Instant::now();
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!((wall(), begun.elapsed()), (second, Duration::ZERO));
            super::set_clocks(3 * second, 7 * second);
            assert_eq!((wall(), begun.elapsed()), (3 * second, 6 * second));
            let others = std::thread::spawn(move || {
                let begun = Instant::now();
                std::thread::sleep(Duration::from_millis(2));
                (wall(), begun.elapsed())
            });
            let (wall, elapsed) = others.join().expect("no panic");
            assert!(wall >= before && elapsed >= Duration::from_millis(2), "{wall:?} {elapsed:?}");
        })
        .join()
        .expect("no panic");
    }
}
