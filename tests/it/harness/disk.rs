//! Disks that fill up and break: real file systems, small enough to be filled, mounted for one test.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A small file system in memory, seen by those alone who enter it. It needs no rights, and is gone with its holder.
pub struct SmallDisk {
    holder: Child,
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `size` (as tmpfs understands it) over the folder `at`.
    pub fn mount(at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        let script = r#"mount -t tmpfs -o "size=$1,mode=700" tmpfs "$2" && echo ready && exec cat"#;
        let mut holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script, "sh", size])
            .arg(at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "a file system could not be mounted: these tests need user namespaces");
        Self { holder, at: at.to_owned() }
    }

    /// The wrapper behind which a command sees the disk.
    pub fn enter(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", &holder].map(str::to_owned).into()
    }

    /// The disk's own folder, as others can reach it.
    pub fn path(&self) -> PathBuf {
        let inside = self.at.strip_prefix("/").unwrap();
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(inside)
    }

    /// Mounts it again with other options.
    pub fn remount(&self, options: &str) {
        let mut command = self.enter();
        command.extend(["mount", "-o", options].map(str::to_owned));
        let status = Command::new(&command[0]).args(&command[1..]).arg(&self.at).status().unwrap();
        assert!(status.success());
    }

    /// Writes until nothing more goes onto it.
    pub fn fill(&self) {
        let mut filler = fs::File::create(self.path().join("filler")).unwrap();
        let block = [b'x'; 4096];
        while filler.write_all(&block).is_ok() {}
    }

    /// Takes away what [`SmallDisk::fill`] has written.
    pub fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// An ext4 in a file, which can be made to fail as a dying disk does. Only root can mount it.
pub struct FailingDisk {
    image: PathBuf,
    at: PathBuf,
    mounted: bool,
}

impl FailingDisk {
    /// Makes one over the folder `at`.
    pub fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let image = at.with_extension("ext4");
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), image.as_ref()]);
        let mut disk = Self { image, at: at.to_owned(), mounted: false };
        disk.mount_again();
        disk
    }

    /// Has the file system meet an error: from then on it is read-only, whoever has files open on it.
    pub fn fail(&self) {
        let source = Command::new("findmnt").args(["-no", "SOURCE"]).arg(&self.at).output().unwrap().stdout;
        let source = String::from_utf8(source).unwrap();
        let device = source.trim().strip_prefix("/dev/").unwrap();
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    }

    /// Repairs it, as an operator would once the server is gone.
    pub fn repair(&mut self) {
        run("umount", &[self.at.as_ref()]);
        self.mounted = false;
        // 1: errors were found and mended.
        let code = Command::new("fsck.ext4").arg("-fy").arg(&self.image).output().unwrap().status.code();
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
        self.mount_again();
    }

    fn mount_again(&mut self) {
        run("mount", &["-o".as_ref(), "loop,errors=remount-ro".as_ref(), self.image.as_ref(), self.at.as_ref()]);
        self.mounted = true;
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        }
    }
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said} (a failing disk needs root and loop devices)");
}
