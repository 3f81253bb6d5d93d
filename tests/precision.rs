//! Accuracy of f16 as selected by `--precision auto`: every model with every compatibility that allows f16, from files to
//! scores.
#![cfg(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "small"))]

mod common;

use tagwave::audio::Source;
use tagwave::models::{self, Compat};
use tagwave::tagger::{Tagger, TaggerBuilder};
use tagwave::tensor::{DType, HostTensor};
use tagwave::test_cases::{Tolerance, compare};
use tagwave::weights::Locator;

const CLIPS: [&str; 4] = ["cute", "actionable", "dubstep", "thejazzpiano"];

#[test]
fn f16_scores_stay_within_the_tolerance_wherever_they_are_said_to_fit() {
    let (Some(gpu), Some(weights)) = (common::gpu(), common::fixture("weights")) else { return };
    if !gpu.summary().limits.f16 {
        return println!("f16: not run on this adapter");
    }
    let files = CLIPS.map(|clip| common::fixture(&format!("audio/bensound-{clip}.mp3")));
    let Some(files) = files.into_iter().collect::<Option<Vec<_>>>() else { return };
    for model in models::all() {
        for compat in [Compat::Corrected, Compat::Original].into_iter().filter(|compat| compat.fits_f16()) {
            let locator = Locator { search: vec![weights.clone()], ..Locator::default() };
            let builder =
                Tagger::builder().model(model.name()).compat(compat).locator(locator).gpu(gpu.clone());
            let scores = |builder: TaggerBuilder| -> HostTensor {
                let tracks =
                    builder.build().unwrap().tag_batch(files.iter().map(Source::path).collect::<Vec<_>>());
                let rows: Vec<f32> = tracks.into_iter().flat_map(|track| track.unwrap().scores).collect();
                HostTensor::new([rows.len()], rows).unwrap()
            };
            let (single, half) = (scores(builder.clone()), scores(builder.precision(DType::F16)));
            let difference = compare(&half, &single, Tolerance { absolute: 5e-3, relative: 0.0 });
            println!("{} {} f16: {difference}", model.name(), compat.as_str());
            // A difference of nothing would mean that nothing was stored as f16.
            assert!(difference.within && difference.largest > 0.0, "{} f16: {difference}", model.name());
        }
    }
}
