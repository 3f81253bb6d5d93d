//! Compiled pipelines on disk, where the backend hands them out (Vulkan).
//!
//! Only in a folder that was named ([`super::Context::with_pipeline_cache`]): a library does not write files unasked.
//! Whatever goes wrong here costs the time of a compilation and nothing else.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::atomic_file::replace;

/// Bytes of the digest in front of what the driver gave.
const DIGEST: usize = 32;
/// No driver's pipelines for a few dozen kernels are larger.
const LARGEST: u64 = 64 << 20;

/// A device's pipelines and the file that they are kept in.
#[derive(Debug)]
pub(super) struct PipelineCache {
    pub(super) pipelines: wgpu::PipelineCache,
    file: PathBuf,
    /// Contents of the file, digest first.
    stored: Mutex<Vec<u8>>,
}

impl PipelineCache {
    /// Opens the cache of a device in `folder`; `None` on backends without pipeline caches.
    pub(super) fn open(device: &wgpu::Device, folder: &Path) -> Option<PipelineCache> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let key = wgpu::util::pipeline_cache_key(&device.adapter_info())?;
        let file = folder.join(format!("{key}-{}", env!("CARGO_PKG_VERSION")));
        let stored = read(&file).unwrap_or_default();
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("pipelines"),
            data: stored.get(DIGEST..).filter(|data| !data.is_empty()),
            fallback: true,
        };
        // SAFETY: the bytes are what `get_data` gave for a device with the same key: they lie in a file of the user's
        // own whose digest was right. Vulkan has no safe way to hand them to a driver, and the driver itself passes
        // over what another version of it wrote.
        let pipelines = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(PipelineCache { pipelines, file, stored: Mutex::new(stored) })
    }

    /// Writes the pipelines if there are any the file has not.
    pub(super) fn save(&self) {
        let Some(data) = self.pipelines.get_data() else { return };
        let content = [&*Sha256::digest(&data), &data].concat();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if *stored != content && content.len() as u64 <= LARGEST && replace(&self.file, &content).is_ok() {
            *stored = content;
        }
    }
}

/// A file whose digest is right.
fn read(file: &Path) -> Option<Vec<u8>> {
    if std::fs::metadata(file).ok()?.len() > LARGEST {
        return None;
    }
    let content = std::fs::read(file).ok()?;
    let (digest, data) = content.split_at_checked(DIGEST)?;
    (*Sha256::digest(data) == *digest).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kept").join("pipelines");
        assert_eq!(read(&file), None);
        let content = [&*Sha256::digest(b"pipelines"), b"pipelines".as_slice()].concat();
        replace(&file, &content).unwrap();
        assert_eq!(read(&file).as_deref(), Some(&*content));
        for place in 0..content.len() {
            let mut damaged = content.clone();
            damaged[place] ^= 1;
            replace(&file, &damaged).unwrap();
            assert_eq!(read(&file), None, "byte {place}");
            replace(&file, &content[..place]).unwrap();
            assert_eq!(read(&file), None, "{place} bytes");
        }
    }
}
