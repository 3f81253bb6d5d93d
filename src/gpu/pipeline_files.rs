//! Compiled pipelines in files: the only file access of `gpu`, and only in a folder that the caller named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Context;
use super::cache::{LARGEST, PipelineCache, PipelineStore};
use crate::atomic_file::replace;

#[derive(Debug)]
struct PipelineFile(PathBuf);

impl PipelineStore for PipelineFile {
    fn load(&self) -> Option<Vec<u8>> {
        let size = std::fs::metadata(&self.0).ok()?.len();
        if size > LARGEST as u64 { None } else { std::fs::read(&self.0).ok() }
    }

    fn save(&self, content: &[u8]) -> bool {
        replace(&self.0, content).is_ok()
    }
}

impl Context {
    /// The same device with its compiled pipelines kept in `folder`, where its backend hands them out and
    /// `PIPELINE_CACHE` is enabled; elsewhere nothing changes.
    #[must_use]
    pub fn with_pipeline_cache(mut self, folder: &Path) -> Context {
        let file = PipelineCache::key(&self.device).map(|key| PipelineFile(folder.join(key)));
        self.cache = file.map(|file| Arc::new(PipelineCache::new(&self.device, Box::new(file))));
        self
    }
}
