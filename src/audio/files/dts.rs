//! Detection of DTS streams stored as 16-bit samples, as on DTS CDs.

/// Number of samples per channel that are searched.
const SEARCHED: usize = 1 << 17;
/// Required number of sync words: a single one may be a coincidence.
const SYNCS: usize = 2;
/// Sync words of a DTS frame as pairs of 16-bit words: 16-bit and 14-bit streams in both byte orders (ETSI TS 102 114,
/// 5.3).
const SYNC_PAIRS: [[u16; 2]; 4] = [[0x7ffe, 0x8001], [0xfe7f, 0x0180], [0x1fff, 0xe800], [0xff1f, 0x00e8]];

/// Detector of DTS frames in decoded samples.
#[derive(Clone, Debug, Default)]
pub(super) struct DtsDetector {
    searched: usize,
    found: usize,
    last: u16,
}

impl DtsDetector {
    /// True once the samples so far hold a DTS stream. Interleaved samples of two channels in -1..1.
    pub(super) fn find(&mut self, interleaved: &[f32]) -> bool {
        if self.searched < SEARCHED {
            self.searched += interleaved.len() / 2;
            for &sample in interleaved {
                let word = (sample * 32_768.0) as i16 as u16;
                self.found += usize::from(SYNC_PAIRS.contains(&[self.last, word]));
                self.last = word;
            }
        }
        self.found >= SYNCS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sync_words_are_a_stream() {
        let samples =
            |words: &[u16]| words.iter().map(|&w| f32::from(w as i16) / 32_768.0).collect::<Vec<_>>();
        for pair in SYNC_PAIRS {
            let mut frame = vec![0u16; 1024];
            frame[..2].copy_from_slice(&pair);
            let mut detector = DtsDetector::default();
            assert!(!detector.find(&samples(&frame)));
            assert!(detector.find(&samples(&frame)));
        }
        let music: Vec<f32> = (0..99_999).map(|i| (i as f32 * 0.1).sin()).collect();
        assert!(!DtsDetector::default().find(&music));
    }
}
