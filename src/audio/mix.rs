//! Mixing of channels to mono.

/// Mixes interleaved channels to mono: their mean. Replaces `out`.
pub(crate) fn mix(interleaved: &[f32], channels: usize, out: &mut Vec<f32>) {
    out.clear();
    match channels {
        1 => out.extend_from_slice(interleaved),
        2 => out.extend(interleaved.as_chunks::<2>().0.iter().map(|[l, r]| 0.5 * l + 0.5 * r)),
        _ => out.extend(
            interleaved
                .chunks_exact(channels)
                .map(|x| (x.iter().map(|&x| f64::from(x)).sum::<f64>() / channels as f64) as f32),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_averaged() {
        let mut out = vec![9.0];
        mix(&[1.0, -1.0, 0.5, 0.25], 2, &mut out);
        assert_eq!(out, [0.0, 0.375]);
        mix(&[1.0, 2.0, 6.0], 3, &mut out);
        assert_eq!(out, [3.0]);
    }
}
