//! Measurement of the frozen batch statistics of compact_cnn.

use crate::error::{Cause, Error};
use crate::executor::blocking::Run;
use crate::gpu::{Context, Executor, Options};
use crate::models::compact::{Config, LayerStatistics, Statistics};
use crate::models::{Architecture, Compat, Starts};
use crate::tensor::HostTensor;
use crate::weights::Weights;

/// Measures mean and variance of each channel of each convolution over a corpus of clips of equal length (348,000
/// samples at 12 kHz each), as if the corpus were one batch in which each clip is normalised by its own maximum.
///
/// A block can be measured only after the blocks before it, so there is one pass over the corpus per block; the
/// spectrograms are kept in memory, half a megabyte per clip. `progress` is called with the pass, from 0, and the number
/// of clips done.
///
/// # Errors
/// No clips, weights that lack an array, errors of the device.
pub fn measure_statistics(
    weights: &Weights,
    clips: impl IntoIterator<Item = Vec<f32>>,
    gpu: &Context,
    mut progress: impl FnMut(usize, usize),
) -> Result<Statistics, Error> {
    let config = Config::default();
    let options = Options { max_batch: 1, ..Options::default() };
    let whole = config.build(weights, Compat::Corrected, Starts::Samples)?;
    let executor = Executor::new(gpu, &whole.tapped(&["input"])?.only_outputs(&["input"]), &options)?;
    let mut mels = Vec::new();
    for clip in clips {
        let length = clip.len();
        let mut outputs = executor.run(HostTensor::new([1, length], clip)?)?;
        mels.extend(outputs.pop());
        progress(0, mels.len());
    }
    if mels.is_empty() {
        return Err(Cause::NoClips.into());
    }
    let mut measured = Statistics::default();
    for pass in 1..=config.pools.len() {
        let plan = config.build_statistics(weights, &measured)?.fused();
        let executor = Executor::new(gpu, &plan, &options)?;
        let mut rows = Vec::new();
        for mel in &mels {
            let outputs = executor.run(mel.clone())?;
            rows.push(outputs[0].row(0).to_vec());
            progress(pass, rows.len());
        }
        measured.layers.push(combine(&rows));
    }
    Ok(measured)
}

/// Combines the statistics of parts of equal size; each row has all means, then all variances.
fn combine(rows: &[Vec<f32>]) -> LayerStatistics {
    let channels = rows.first().map_or(0, Vec::len) / 2;
    let count = rows.len() as f64;
    let mean_of = |value: &dyn Fn(&Vec<f32>) -> f64| rows.iter().map(value).sum::<f64>() / count;
    let (mut mean, mut variance) = (Vec::new(), Vec::new());
    for c in 0..channels {
        let centre = mean_of(&|row| f64::from(row[c]));
        let variance_c = mean_of(&|row| f64::from(row[channels + c]) + (f64::from(row[c]) - centre).powi(2));
        mean.push(centre as f32);
        variance.push(variance_c as f32);
    }
    LayerStatistics { mean, variance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_whole() {
        // 1, 3 and 5, 9: mean 4.5, variance of the four values 8.75.
        let pooled = combine(&[vec![2.0, 1.0], vec![7.0, 4.0]]);
        assert_eq!(pooled, LayerStatistics { mean: vec![4.5], variance: vec![8.75] });
    }
}
