//! Roofline plot as SVG: performance of each kernel against the limit of the device at its arithmetic intensity.

use std::fmt::Write;

use tagwave::lab::{Measurement, Peaks};
use tagwave::tensor::DType;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 560.0;
const MARGIN: f64 = 60.0;
/// Operations per byte at the left and right edge, as powers of ten.
const INTENSITY: [f64; 2] = [-2.0, 4.0];
/// Fraction of the arithmetic peak at the lower edge, as a power of ten.
const LOWEST: f64 = -5.0;

/// Measurement of a kernel on a layer at a batch size.
pub(super) struct BenchRow {
    pub(super) layer: String,
    pub(super) batch: usize,
    pub(super) precision: DType,
    pub(super) found: Measurement,
}

/// Draws the plot.
pub(super) fn svg(device: &str, peaks: Peaks, rows: &[BenchRow]) -> String {
    let across = |intensity: f64| {
        let share = (intensity.log10() - INTENSITY[0]) / (INTENSITY[1] - INTENSITY[0]);
        MARGIN + share.clamp(0.0, 1.0) * (WIDTH - 2.0 * MARGIN)
    };
    let up = |gflops: f64| {
        let share = ((gflops / peaks.gflops).log10() - LOWEST) / (0.5 - LOWEST);
        HEIGHT - MARGIN - share.clamp(0.0, 1.0) * (HEIGHT - 2.0 * MARGIN)
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">{}: {:.1} GFLOP/s, {:.1} GB/s</text>\n\
         <text x=\"{MARGIN}\" y=\"{}\">operations per byte, from 0.01 to 10,000; each vertical step is a factor of ten</text>\n",
        escape(device),
        peaks.gflops,
        peaks.gbytes,
        HEIGHT - 20.0,
    );
    let bend = peaks.gflops / peaks.gbytes;
    let left = 10f64.powf(INTENSITY[0]);
    let roof = [
        (across(left), up(peaks.gbytes * left)),
        (across(bend), up(peaks.gflops)),
        (WIDTH - MARGIN, up(peaks.gflops)),
    ];
    let points: Vec<_> = roof.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(text, "<polyline points=\"{}\" fill=\"none\" stroke=\"black\"/>", points.join(" "));
    for power in 0..5 {
        let gflops = peaks.gflops / 10f64.powi(power);
        let y = up(gflops);
        let right = WIDTH - MARGIN;
        let _ = writeln!(
            text,
            "<line x1=\"{MARGIN}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"
        );
        let _ = writeln!(text, "<text x=\"4\" y=\"{y:.1}\">{gflops:.3}</text>");
    }
    for row in rows {
        let found = &row.found;
        let intensity = found.flops as f64 / found.bytes.max(1) as f64;
        let hue =
            row.layer.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 360;
        let _ = writeln!(
            text,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"hsl({hue},70%,45%)\"><title>{} batch {} {} {}: {:.2} \
             GFLOP/s</title></circle>",
            across(intensity),
            up(found.gflops()),
            escape(&row.layer),
            row.batch,
            row.precision,
            escape(&found.config.to_string()),
            found.gflops(),
        );
    }
    text + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
