//! Joint stereo: middle and side to left and right, and intensity stereo (ISO 11172-3, 2.4.3.4; ISO 13818-3, 2.4.3.2).

use super::header::Layer3Header;
use super::scale::{ScaleFactors, bands, exp2_quarters};
use super::side::{GranuleInfo, LINES};

/// Turns lines as coded into those of left and right. Where the frame has middle and side, both are already scaled by
/// `1/sqrt(2)`.
pub(super) fn to_left_right(
    header: &Layer3Header,
    info: &GranuleInfo,
    positions: &ScaleFactors,
    lines: &mut [[f32; LINES]; 2],
) {
    if !header.joint.intensity {
        if header.joint.middle_side {
            middle_side(lines, 0, LINES);
        }
        return;
    }
    let bands: Vec<_> = bands(header, info.block).enumerate().collect();
    let coded = |start: usize, end: usize| lines[1][start..end].iter().any(|&line| line != 0.0);
    // Intensity begins above the last band that the second channel has lines in: for each window of its own, and for
    // long bands of mixed blocks above all windows.
    let mut is_coded = [false; 3];
    let mut is_intensity = vec![false; bands.len()];
    for &(i, band) in bands.iter().rev() {
        let found = coded(band.start, band.end);
        match band.window {
            Some(window) => {
                is_coded[window] |= found;
                is_intensity[i] = !is_coded[window];
            }
            None => {
                is_coded = [is_coded.contains(&true) | found; 3];
                is_intensity[i] = !is_coded[0];
            }
        }
    }
    for &(i, band) in &bands {
        // The last band has the position of the one before: the same window of a short block.
        let last = if info.block.is_short() { 36 } else { 21 };
        let back = if band.window.is_some() { 3 } else { 1 };
        let is_last = band.end == LINES || i >= last;
        let place = if is_last { i.saturating_sub(back) } else { i };
        let ratios = if is_intensity[i] { ratios(header, info, positions, place) } else { None };
        match ratios {
            Some(ratios) => intensity(header, lines, (band.start, band.end), ratios),
            None if header.joint.middle_side => middle_side(lines, band.start, band.end),
            None => {}
        }
    }
}

/// Factors of left and right for the position of a band; `None` if it has none.
fn ratios(
    header: &Layer3Header,
    info: &GranuleInfo,
    positions: &ScaleFactors,
    place: usize,
) -> Option<[f32; 2]> {
    let position = positions.factors[place];
    if header.is_mpeg1 {
        if position >= 7 {
            return None;
        }
        let angle = f64::from(position) * std::f64::consts::PI / 12.0;
        let (sin, cos) = angle.sin_cos();
        return Some([(sin / (sin + cos)) as f32, (cos / (sin + cos)) as f32]);
    }
    if position == positions.largest[place] && position > 0 {
        return None;
    }
    let steps = if info.scale_code & 1 == 1 { 2 } else { 1 };
    let factor = exp2_quarters(-(i32::from(position.div_ceil(2)) * steps));
    Some(if position & 1 == 1 { [factor, 1.0] } else { [1.0, factor] })
}

fn intensity(
    header: &Layer3Header,
    [left, right]: &mut [[f32; LINES]; 2],
    (start, end): (usize, usize),
    ratios: [f32; 2],
) {
    // Lines of the first channel were scaled as middle.
    let undone = if header.joint.middle_side { std::f32::consts::SQRT_2 } else { 1.0 };
    let [to_left, to_right] = ratios.map(|ratio| ratio * undone);
    for (left, right) in left[start..end].iter_mut().zip(&mut right[start..end]) {
        (*left, *right) = (*left * to_left, *left * to_right);
    }
}

fn middle_side([left, right]: &mut [[f32; LINES]; 2], start: usize, end: usize) {
    for (left, right) in left[start..end].iter_mut().zip(&mut right[start..end]) {
        (*left, *right) = (*left + *right, *left - *right);
    }
}
