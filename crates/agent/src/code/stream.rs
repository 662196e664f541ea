//! What `git fast-import` is told, to make two trees: that of the index upon the
//! commit, and that of the work tree upon the index.

use super::source::Content;

/// What `git fast-import` is told.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) blobs: Vec<u8>,
    marks: usize,
    /// From the commit to the index.
    pub(super) index: Steps,
    /// From the index to the work tree.
    pub(super) work: Steps,
}

/// What leads from one tree to the next. What goes makes room for what comes: a file
/// may become a directory.
#[derive(Default)]
pub(super) struct Steps {
    removed: Vec<u8>,
    written: Vec<u8>,
}

impl Stream {
    pub(super) fn write(&mut self, path: &[u8], content: Content) {
        let (mode, bytes) = match content {
            Content::File {
                bytes,
                executable: false,
            } => ("100644", bytes),
            Content::File { bytes, .. } => ("100755", bytes),
            Content::Link(target) => ("120000", target.into_bytes()),
        };
        self.marks += 1;
        let head = format!("blob\nmark :{}\ndata {}\n", self.marks, bytes.len());
        self.blobs.extend_from_slice(head.as_bytes());
        self.blobs.extend_from_slice(&bytes);
        self.blobs.push(b'\n');
        self.work.write(path, mode, &format!(":{}", self.marks));
    }
}

impl Steps {
    pub(super) fn remove(&mut self, path: &[u8]) {
        self.removed.extend_from_slice(b"D ");
        quote(&mut self.removed, path);
    }

    pub(super) fn write(&mut self, path: &[u8], mode: &str, what: &str) {
        self.written
            .extend_from_slice(format!("M {mode} {what} ").as_bytes());
        quote(&mut self.written, path);
    }

    pub(super) fn say(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.removed);
        out.extend_from_slice(&self.written);
        out.push(b'\n');
    }
}

/// A path as `git fast-import` reads any.
fn quote(out: &mut Vec<u8>, path: &[u8]) {
    out.push(b'"');
    for byte in path {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(*byte),
        }
    }
    out.extend_from_slice(b"\"\n");
}
