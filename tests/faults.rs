//! Faults of settings, devices and threads: each is an error that says what to do, and nothing hangs.

mod common;

use common::seeded::{labels, tiny};
use tagwave::Error;
use tagwave::error::ErrorKind;
use tagwave::problems::synthetic_clip;
use tagwave::tagger::{Device, Outputs, Tagger};
use tagwave::tags::Selection;

#[test]
fn labels_are_as_many_as_scores() {
    let builder = || Tagger::builder().device(Device::Cpu);
    for count in [10, 60] {
        let (model, weights) = tiny(count);
        // The model's own list has 50.
        let error = builder().build_from(model, &weights).unwrap_err();
        assert!(
            matches!(error, Error::Labels { scores, labels: 50, .. } if scores == count),
            "{count}: {error}"
        );
        assert_eq!(error.kind(), ErrorKind::Input);
        let text = error.to_string();
        assert!(
            text.contains(&count.to_string()) && text.contains("50") && text.contains("labels"),
            "{text}"
        );
        let (model, weights) = tiny(count);
        let tagger = builder().labels(labels(count)).build_from(model, &weights).unwrap();
        let track = tagger.tag_samples(&synthetic_clip(12_000), 12_000).unwrap();
        let tags = tagger.tags(&track, Selection::Top(100));
        assert_eq!((track.scores.len(), tags.len()), (count, count));
        for tag in &tags {
            let index: usize = tag.label.strip_prefix("label ").unwrap().parse().unwrap();
            assert_eq!(tag.score, track.scores[index]);
        }
    }
    // Labels that fit nothing, also where no scores are asked for; features need none.
    let (model, weights) = tiny(10);
    let error =
        builder().labels(labels(9)).outputs(Outputs::Embedding).build_from(model, &weights).unwrap_err();
    assert!(matches!(error, Error::Labels { scores: 10, labels: 9, .. }), "{error}");
    let (model, weights) = tiny(10);
    assert!(builder().outputs(Outputs::Embedding).build_from(model, &weights).is_ok());
    let error = builder().labels(labels(49)).build().unwrap_err();
    assert!(matches!(error, Error::Labels { scores: 50, labels: 49, .. }), "{error}");
}
