//! From a request's path to an open file below a directory, and never beside it: the
//! kernel resolves the path beneath the directory's descriptor (`openat2`), so that no
//! `..`, no symbolic link and no race leads out. Blocking: for helper threads.

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A file that was found, open.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: File,
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: u64,
}

/// Why there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// 404; also for what leads out of the directory, which nobody is told of.
    NotThere,
    /// It is a directory: the path must end in a slash.
    Directory,
    /// 500: the machine, not the request.
    Broken,
}

/// The path below the directory that a canonical request path names, decoded. `None`:
/// it names nothing that is served: a byte that no name holds, or a hidden file.
pub(crate) fn relative_path(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.strip_prefix(b"/").unwrap_or(path).iter();
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    while let Some(&byte) = rest.next() {
        let decoded = match byte {
            b'%' => (digit(rest.next())? << 4 | digit(rest.next())?) as u8,
            byte => byte,
        };
        if decoded == 0 || decoded == b'\\' || (decoded == b'/' && byte == b'%') {
            return None;
        }
        out.push(decoded);
    }
    let mut names = out.split(|byte| *byte == b'/');
    let is_hidden = names.any(|name| name.starts_with(b".") && name != b".well-known");
    (!is_hidden).then_some(out)
}

/// Opens a directory to serve from.
pub(super) fn open_root(root: &Path) -> Result<OwnedFd, Missing> {
    openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(missing)
}

/// Opens the regular file of that relative path.
pub(super) fn open_file(root: impl AsFd, path: &[u8]) -> Result<Found, Missing> {
    // A pipe must not be waited for, a terminal not become ours.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let path = if path.is_empty() { b"." } else { path };
    let fd = open_beneath(root, path, flags).map_err(missing)?;
    let stat = fstat(&fd).map_err(missing)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let modified =
                (stat.st_mtime as u64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as u64);
            Ok(Found { file: File::from(fd), size: stat.st_size as u64, modified })
        }
        FileType::Directory => Err(Missing::Directory),
        _ => Err(Missing::NotThere),
    }
}

#[cfg(target_os = "linux")]
fn open_beneath(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&root, path, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or where a sandbox forbids the call.
        Err(Errno::NOSYS | Errno::PERM) => walk(root, path, flags),
        // A directory above was moved meanwhile.
        Err(Errno::AGAIN) => openat2(&root, path, flags, Mode::empty(), resolve),
        result => result,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    walk(root, path, flags)
}

/// Name by name, following no symbolic link.
fn walk(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        if name == b".." {
            return Err(Errno::XDEV);
        }
        let flags = if names.peek().is_some() { OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC } else { flags };
        let directory = at.as_ref().map_or(root.as_fd(), |fd| fd.as_fd());
        at = Some(openat(directory, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

fn missing(error: Errno) -> Missing {
    match error {
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO => Missing::Broken,
        _ => Missing::NotThere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_decoded_once_and_hidden_names_are_not_there() {
        assert_eq!(relative_path(b"/a%20b/c.txt").as_deref(), Some(&b"a b/c.txt"[..]));
        assert_eq!(relative_path(b"/.well-known/x").as_deref(), Some(&b".well-known/x"[..]));
        for path in
            [&b"/%00"[..], b"/a%2fb", b"/a%5cb", b"/.git/config", b"/a/.env", b"/..", b"/%2e%2e/x", b"/%2", b"/%zz"]
        {
            assert_eq!(relative_path(path), None, "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        let base = std::env::temp_dir().join(format!("tidegate-files-{}", std::process::id()));
        let root = base.join("root");
        std::fs::create_dir_all(root.join("sub")).expect("a temporary folder");
        std::fs::write(base.join("secret"), "s").expect("written");
        std::fs::write(root.join("file"), "file").expect("written");
        symlink(base.join("secret"), root.join("absolute")).expect("linked");
        symlink("../secret", root.join("relative")).expect("linked");
        symlink("../..", root.join("sub/up")).expect("linked");
        symlink("../file", root.join("sub/inside")).expect("linked");
        let fd = open_root(&root).expect("it is there");
        let open = |path: &str| open_file(&fd, path.as_bytes()).map(|found| found.size);
        assert_eq!(open("file"), Ok(4));
        assert_eq!(open("sub/inside"), Ok(4));
        for path in ["../secret", "sub/../../secret", "absolute", "relative", "sub/up/secret", "/etc/passwd", "none"] {
            assert_eq!(open(path), Err(Missing::NotThere), "{path}");
            let walked = walk(&fd, path.as_bytes(), OFlags::RDONLY);
            assert!(walked.is_err(), "{path}");
        }
        assert_eq!(open("sub"), Err(Missing::Directory));
        assert_eq!(open("file/x"), Err(Missing::NotThere));
        std::fs::remove_dir_all(&base).expect("removed");
    }
}
