//! Sockets and TUN devices in other network namespaces.
//!
//! Owns what needs `unsafe`: setns(2), the ioctl TUNSETIFF, and waiting for a device with tokio. Does not own what is done with
//! the devices. Invariant: only a thread of this crate's own changes its namespace, and it ends right after; what it opened
//! stays in the namespace in which it was opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Does `work` in the network namespace that lies at `namespace`.
///
/// # Errors
/// When the namespace cannot be entered, or `work` fails.
pub fn within<T: Send>(
    namespace: &Path,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            enter(&File::open(namespace)?)?;
            work()
        });
        entered.join().unwrap_or_else(|_| Err(io::Error::other("the work panicked")))
    })
}

/// Makes the TUN device `name` in `namespace`: what it reads are the IP packets that leave by it, what is written arrives. It
/// does not block, and the device goes when the file is closed.
///
/// # Errors
/// When the system refuses.
pub fn tun(namespace: &Path, name: &str) -> io::Result<File> {
    within(namespace, || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open("/dev/net/tun")?;
        attach(&file, name)?;
        Ok(file)
    })
}

/// A device of which one task at a time takes packets.
#[derive(Debug)]
pub struct Device(AsyncFd<File>);

impl Device {
    /// Lets the current runtime wait for packets of `file`, which [`tun`] has made.
    ///
    /// # Errors
    /// When the system refuses.
    #[expect(unsafe_code, reason = "tokio cannot know that a file keeps its descriptor")]
    pub fn new(file: File) -> io::Result<Self> {
        // SAFETY: a `File` owns its descriptor until it is dropped, and always tells the same one.
        let registered = unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) };
        registered.map(Self).map_err(io::Error::from)
    }

    /// Takes the next packet that leaves by the device.
    ///
    /// # Errors
    /// When the device is gone.
    pub async fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(taken) = ready.try_io(|device| device.get_ref().read(buffer)) {
                return taken;
            }
        }
    }

    /// Lets a packet arrive.
    ///
    /// # Errors
    /// When the device is down or gone, or has no room.
    pub fn give(&self, packet: &[u8]) -> io::Result<()> {
        self.0.get_ref().write(packet).map(drop)
    }
}

#[expect(unsafe_code, reason = "setns has no safe form in the standard library")]
fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the calling thread has only begun.
    let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The kernel's `struct ifreq` as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

#[expect(unsafe_code, reason = "an ioctl has no safe form")]
fn attach(file: &File, name: &str) -> io::Result<()> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: 0, rest: [0; 22] };
    if name.len() >= request.name.len() {
        return Err(io::Error::other(format!("a device name of {} bytes is too long", name.len())));
    }
    for (to, from) in request.name.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    request.flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI)
        .map_err(|_| io::Error::other("flags do not fit"))?;
    // SAFETY: the request has the kernel's layout and size, and lives until the call is over.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_of_the_kernels() {
        assert_eq!(size_of::<Request>(), size_of::<libc::ifreq>());
    }

    #[test]
    fn a_namespace_that_is_not_there_is_an_error() {
        let missing = Path::new("/proc/self/ns/none");
        assert!(within(missing, || Ok(())).is_err());
    }
}
