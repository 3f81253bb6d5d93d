//! `tagwave embed --pca`: principal components of a run's features.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tagwave::pca::{Loss, Moments};
use tagwave::sinks::{ArrayFile, Row, Sink, write_array};

/// Sink that forwards rows and fits principal components to their features; writes the components at the end.
pub(super) struct WithPca {
    inner: Box<dyn Sink>,
    output: PathBuf,
    count: usize,
    moments: Option<Moments>,
    /// Features for the second pass, in an unnamed temporary file.
    kept: BufWriter<File>,
    report: Option<String>,
}

impl WithPca {
    /// Fits `count` components to the rows of `inner`, whose file is `output`.
    pub(super) fn new(inner: Box<dyn Sink>, output: &Path, count: usize) -> io::Result<WithPca> {
        let folder = output.parent().filter(|parent| !parent.as_os_str().is_empty());
        let kept = BufWriter::new(tempfile::tempfile_in(folder.unwrap_or(Path::new(".")))?);
        Ok(WithPca { inner, output: output.to_path_buf(), count, moments: None, kept, report: None })
    }

    /// Report, once finished.
    pub(super) fn report(&self) -> Option<&str> {
        self.report.as_deref()
    }

    fn push(&mut self, features: &[f32]) -> io::Result<()> {
        let moments = match &mut self.moments {
            Some(moments) => moments,
            none => none.insert(Moments::new(features.len()).map_err(io::Error::other)?),
        };
        moments.push(features).map_err(io::Error::other)?;
        features.iter().try_for_each(|value| self.kept.write_all(&value.to_le_bytes()))
    }

    /// Second pass: projects every row, computes the reconstruction error and writes the files.
    fn fit(&mut self) -> io::Result<String> {
        let Some(moments) = &self.moments else {
            return Err(io::Error::other("no features to fit components to"));
        };
        let found = moments.components(self.count).map_err(io::Error::other)?;
        let dimensions = found.mean.len();
        self.kept.seek(SeekFrom::Start(0))?;
        let mut kept = BufReader::new(self.kept.get_ref());
        let mut coordinates = ArrayFile::create(&self.beside("pca.npy"))?;
        let mut loss = Loss::default();
        let mut bytes = vec![0; dimensions * size_of::<f32>()];
        for _ in 0..moments.rows() {
            kept.read_exact(&mut bytes)?;
            let row: Vec<f32> =
                bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
            let projected = found.project(&row);
            loss.push(&row, &found.recover(&projected));
            coordinates.push(&singles(&projected))?;
        }
        coordinates.finish()?;
        let (k, d) = (self.count as u64, dimensions as u64);
        write_array(&self.beside("pca.components.npy"), &[k, d], &singles(&found.directions.concat()))?;
        write_array(&self.beside("pca.mean.npy"), &[d], &singles(&found.mean))?;
        write_array(&self.beside("pca.variance.npy"), &[k], &singles(&found.variances))?;
        let explained = if found.total_variance > 0.0 {
            100.0 * found.variances.iter().sum::<f64>() / found.total_variance
        } else {
            100.0
        };
        let zeros =
            if loss.zeros == 0 { String::new() } else { format!(", without {} zero vectors", loss.zeros) };
        Ok(format!(
            "pca: {k} of {d} components of {} rows explain {explained:.2} % of the variance\n\
             pca: reconstruction error {:.6}, the mean of |recovered - original| / |original|{zeros}",
            moments.rows(),
            loss.mean()
        ))
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.output.with_extension(extension)
    }
}

fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

impl Sink for WithPca {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        if let Ok(found) = &row.outcome {
            found.features().try_for_each(|features| self.push(features))?;
        }
        self.inner.row(row)
    }

    fn finish(&mut self) -> io::Result<()> {
        // The features are kept even if fitting fails.
        self.inner.finish()?;
        self.report = Some(self.fit()?);
        Ok(())
    }

    fn interrupt(&mut self) -> io::Result<&'static str> {
        self.inner.interrupt()
    }

    fn has_messages(&self) -> bool {
        self.inner.has_messages()
    }
}
